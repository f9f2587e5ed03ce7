"""Mail: to a server that is strict about the order of things."""

from __future__ import annotations

import email
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from kubeferry.journal import Journal
from kubeferry.notices import deliver, mailing, try_out
from kubeferry.notices.answers import Fate
from tests.lives import a_plan, goes_back
from tests.needs import needs
from tests.receivers import PASSWORD, USER, Postbox, postbox
from tests.tools.authority import Authority
from tests.unit.notices.conftest import NOW, after, configured

secured = needs("openssl")


def settings(box: Postbox, **more: Any) -> dict[str, Any]:
    usual = {"host": "127.0.0.1", "port": box.port, "tls": "none", "sender": "ferry@example.org"}
    return usual | {"to": ["ops@example.org", "owner@example.org"]} | more


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificates of a server that this host trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    folder = authority.folder.parent / "server-of-ca"
    return folder if folder.exists() else authority.signed("server")


def test_a_mail_arrives_whole(journal: Journal, box: Postbox) -> None:
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(mail=settings(box))
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web", reason="Grüße\n.\nQUIT\n" + "x" * 3000)
    assert deliver(journal, config, NOW).sent == 1
    sender, to, raw = box.got[0]
    assert (sender, to) == ("ferry@example.org", ("ops@example.org", "owner@example.org"))
    made = email.message_from_bytes(raw, policy=default)
    assert "Grüße . QUIT" in made.get_content()
    assert str(made["Message-ID"]).endswith("@kubeferry.invalid>")
    assert deliver(journal, config, NOW).sent == 0


def test_a_server_that_is_away_gets_it_later(journal: Journal, box: Postbox) -> None:
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(mail=settings(box))
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    box.answers = [451]
    assert deliver(journal, config, NOW).told[0].left.error == "451 that is that"
    assert deliver(journal, config, after(10)).sent == 1
    box.answers = [554]
    goes_back(journal, plan, "web")
    for number in range(5):
        done = deliver(journal, config, after(number * 1000))
    assert (done.waiting, done.undeliverable) == (0, 0), "it was taken at the second try"


def test_one_recipient_who_is_refused_costs_no_other(journal: Journal, box: Postbox) -> None:
    config = configured(mail=settings(box))
    box.refuse = {"owner@example.org": 550}
    answer = try_out(journal, config)["mail"]
    assert answer.fate is Fate.TAKEN
    assert answer.said == "not taken for owner@example.org (550 not here)"
    assert box.got[0][1] == ("ops@example.org",)
    box.refuse["ops@example.org"] = 550
    assert try_out(journal, config)["mail"].fate is Fate.REFUSED
    box.refuse["ops@example.org"] = 450
    assert try_out(journal, config)["mail"].fate is Fate.AWAY


@secured
@pytest.mark.parametrize("implicit", [False, True])
def test_with_tls_and_a_login(journal: Journal, trusted: Path, implicit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_USER", USER)
    with postbox(trusted, implicit=implicit, login=True) as box:
        login = {"userEnv": "MAIL_USER", "passwordEnv": "MAIL_PASSWORD"}
        config = configured(mail=settings(box, tls="tls" if implicit else "starttls", **login))
        assert "MAIL_PASSWORD" in try_out(journal, config)["mail"].said
        monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
        assert try_out(journal, config)["mail"].fate is Fate.TAKEN
        monkeypatch.setenv("MAIL_PASSWORD", "wrong-wrong")
        refused = try_out(journal, config)["mail"]
        assert (refused.fate, refused.said) == (Fate.REFUSED, "535 who are you")
        assert box.secured == [True]


@secured
@pytest.mark.parametrize("implicit", [False, True])
def test_a_server_that_nobody_vouches_for_gets_nothing(
    journal: Journal, trusted: Path, implicit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with postbox(trusted, implicit=implicit) as box:
        answer = try_out(journal, configured(mail=settings(box, tls="tls" if implicit else "starttls")))["mail"]
    assert answer.fate is Fate.AWAY
    assert "certificate verify failed" in answer.said
    assert box.got == []


def test_without_starttls_nothing_is_sent(journal: Journal, box: Postbox) -> None:
    answer = try_out(journal, configured(mail=settings(box, tls="starttls")))["mail"]
    assert answer.fate is Fate.AWAY
    assert "offers no STARTTLS" in answer.said
    assert box.got == []


def test_a_server_that_drips_is_left(journal: Journal, box: Postbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "WHOLE_SECONDS", 0.3)
    box.greeting = b"220-never "
    answer = try_out(journal, configured(mail=settings(box)))["mail"]
    assert answer.fate is Fate.AWAY
    assert answer.said
