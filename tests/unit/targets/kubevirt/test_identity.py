"""Who somebody is, as an API server says. The server here is a double (`tests.api_server`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.kubevirt.api import Cluster, connect
from kubeferry.targets.kubevirt.identity import User, audience_of, myself, of_token, token_for
from tests.api_server import ACCOUNT, USERS, ApiServer, login, serving

DOCUMENT = "d" * 64


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as told:
        yield told


@pytest.fixture
def clusters(server: ApiServer, tmp_path: Path) -> Iterator[dict[str, Cluster]]:
    opened = {token: connect(str(login(tmp_path, server, token)), None) for token in (*USERS, "wrong")}
    yield opened
    for cluster in opened.values():
        cluster.close()


def test_the_server_names_the_user_and_its_log_what_was_approved(
    server: ApiServer, clusters: dict[str, Cluster]
) -> None:
    user = myself(clusters["ann-s"], DOCUMENT)
    assert (user.name, user.groups, user.review) == ("ann@example.org", ("ops", "system:authenticated"), "self")
    assert user.server == server.url.removeprefix("http://")
    assert parse_qs(urlsplit(server.asked[0][0]).query) == {"fieldManager": [f"kubeferry-approval-{DOCUMENT}"]}
    assert len(f"kubeferry-approval-{DOCUMENT}") <= 128, "what an API server takes"
    assert "ann-s" not in json.dumps(user.facts()), "nothing that lets anybody in"


def test_a_service_account_proves_it_with_a_token_for_this_document_alone(
    server: ApiServer, clusters: dict[str, Cluster]
) -> None:
    user = myself(clusters["account-s"], DOCUMENT)
    token = token_for(clusters["account-s"], user, DOCUMENT)
    assert server.asked[-1][1]["spec"] == {"audiences": [audience_of(DOCUMENT)], "expirationSeconds": 600}
    reviewed = of_token(clusters["pipeline-s"], f"{token}\n", DOCUMENT)
    assert (reviewed.name, reviewed.review) == (ACCOUNT, "token")
    for wrong, document in ((token, "e" * 64), ("ann-s", DOCUMENT), ("", DOCUMENT)):
        with pytest.raises(TargetRefused, match="not good for this approval"):
            of_token(clusters["pipeline-s"], wrong, document)


def test_a_person_has_no_token_made(clusters: dict[str, Cluster]) -> None:
    assert token_for(clusters["ann-s"], myself(clusters["ann-s"], DOCUMENT), DOCUMENT) == ""
    half = User("system:serviceaccount:apps", (), "", "", "self", "")
    assert token_for(clusters["ann-s"], half, DOCUMENT) == ""


def test_who_may_not_review_is_told_so(server: ApiServer, clusters: dict[str, Cluster]) -> None:
    server.may_review = False
    with pytest.raises(TargetRefused, match="refused") as caught:
        of_token(clusters["pipeline-s"], "any", DOCUMENT)
    assert "tokenreviews" in caught.value.why


def test_wrong_credentials_are_nobody(clusters: dict[str, Cluster]) -> None:
    with pytest.raises(TargetUnavailable, match="does not accept our credentials"):
        myself(clusters["wrong"], DOCUMENT)


@pytest.mark.parametrize("told", [None, {}, {"username": ""}, ["ann"]])
def test_a_server_that_names_nobody_is_told(
    clusters: dict[str, Cluster], monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    monkeypatch.setattr(Cluster, "ask", lambda *_a, **_k: {"status": {"userInfo": told}})
    with pytest.raises(TargetRefused, match="does not say who this is"):
        myself(clusters["ann-s"], DOCUMENT)
