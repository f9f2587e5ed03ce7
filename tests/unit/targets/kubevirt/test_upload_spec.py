"""Uploads in words: manifests, where to send, and how far one got."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kubeferry.documents import MoverResult, TargetConfig
from kubeferry.targets.kubevirt import claims
from kubeferry.targets.kubevirt import upload_spec as spec

Make = Any
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_the_data_volume_is_the_claim_with_an_upload_as_its_source(make: Make) -> None:
    entry = make.entry()
    claim = claims.planned_claim(entry, entry.disks[0])
    volume = spec.data_volume(claim)
    assert volume["spec"] == {"source": {"upload": {}}, "pvc": claim["spec"]}
    assert volume["metadata"]["labels"] == claim["metadata"]["labels"]
    assert volume["metadata"]["annotations"] == claim["metadata"]["annotations"] | {spec.BIND: ""}


@pytest.mark.parametrize(
    ("asked", "told", "url"),
    [
        (None, "cdi.example", "https://cdi.example/v1beta1/upload"),
        (None, "https://cdi.example:8443", "https://cdi.example:8443/v1beta1/upload"),
        ("https://own.example", "cdi.example", "https://own.example/v1beta1/upload"),
        ("https://own.example/", None, "https://own.example/v1beta1/upload"),
        ("https://own.example/cdi/upload", None, "https://own.example/cdi/upload"),
    ],
)
def test_the_address_is_the_configurations_or_cdis(asked: str | None, told: str | None, url: str) -> None:
    config = TargetConfig(kind="kubevirt", upload_url=asked)
    found = spec.proxy_of(config, [{"status": {"uploadProxyURL": told}}])
    assert found == spec.Proxy(url)


def test_nobody_tells_an_address() -> None:
    config = TargetConfig(kind="kubevirt")
    assert spec.proxy_of(config, []) is None
    assert spec.proxy_of(config, [{"metadata": {}}]) is None


@pytest.mark.parametrize("url", ["http://cdi.example", "https://user:pw@cdi.example", "cdi.example", "https://"])
def test_an_address_that_is_no_https_or_holds_a_password_is_no_configuration(url: str) -> None:
    with pytest.raises(ValueError, match=r"uploadUrl|upload_url"):
        TargetConfig(kind="kubevirt", upload_url=url)


@pytest.mark.parametrize(
    ("text", "pem"), [(PEM, PEM), (base64.b64encode(PEM.encode()).decode(), PEM), ("no base64!", None), ("", None)]
)
def test_authorities_come_as_pem_or_packed(text: str, pem: str | None) -> None:
    status = {"uploadProxyURL": "cdi.example", "uploadProxyCA": text}
    found = spec.proxy_of(TargetConfig(kind="kubevirt"), [{"status": status}])
    assert found is not None
    assert found.authorities == pem


@pytest.mark.parametrize(
    ("volume", "fresh"),
    [
        (None, False),
        ({"metadata": {}, "spec": {"source": {"upload": {}}}}, True),
        ({"metadata": {}, "spec": {"source": {"upload": {}}}, "status": {"phase": "UploadReady"}}, True),
        ({"metadata": {}, "spec": {"source": {"upload": {}}}, "status": {"phase": "Succeeded"}}, False),
        ({"metadata": {"annotations": {spec.BEGUN: "job"}}, "spec": {"source": {"upload": {}}}}, False),
        ({"metadata": {"deletionTimestamp": "now"}, "spec": {"source": {"upload": {}}}}, False),
        ({"metadata": {}, "spec": {"source": {"blank": {}}}}, False),
    ],
)
def test_only_what_nothing_was_sent_to_can_be_sent_to(volume: dict[str, Any] | None, fresh: bool) -> None:
    assert spec.is_fresh(volume) is fresh


def test_a_claim_is_marked_only_where_our_data_volume_made_it(make: Make) -> None:
    entry = make.entry()
    wanted = spec.data_volume(claims.planned_claim(entry, entry.disks[0]))
    there = {"metadata": {"uid": "u1", "labels": wanted["metadata"]["labels"]}}
    claim = {"metadata": {"ownerReferences": [{"uid": "u1"}], "labels": {}}}
    assert spec.made_for(claim, there, wanted)
    assert not spec.made_for(claim, None, wanted)
    assert not spec.made_for({"metadata": {"labels": {}}}, there, wanted), "another one's claim"
    assert not spec.made_for(claim, {"metadata": {"uid": "u1", "labels": {}}}, wanted), "another one's DataVolume"
    marked = {"metadata": claim["metadata"] | {"labels": wanted["metadata"]["labels"]}}
    assert not spec.made_for(marked, there, wanted), "it is marked already"


def test_the_claim_remembers_what_filled_it() -> None:
    result = MoverResult(name="job", action="copy", ok=True, root="ab" * 32, size_bytes=5)
    said = result.model_dump_json(by_alias=True, exclude_defaults=True)
    assert spec.filled_by({"metadata": {"annotations": {spec.FILLED: said}}}) == result
    assert spec.filled_by({"metadata": {"annotations": {spec.FILLED: "{"}}}) is None
    assert spec.filled_by({"metadata": {}}) is None
    assert spec.filled_by(None) is None


def test_what_is_too_large_is_told_for_each_disk(make: Make) -> None:
    config = TargetConfig(kind="kubevirt", upload_limit_bytes=(256 << 20) - 1)
    assert len(spec.objections(config, make.entry())) == 1
    assert len(spec.objections(config, make.entry(mode="warm"))) == 2
    assert spec.objections(TargetConfig(kind="kubevirt", upload_limit_bytes=256 << 20), make.entry()) == []
