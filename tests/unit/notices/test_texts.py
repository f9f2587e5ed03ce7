"""What messages say, and what receivers may be: pure."""

from __future__ import annotations

import base64
import email.policy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from kubeferry.documents import NoticeKind
from kubeferry.documents.notify import MUST_KNOW, Mail, NotifyConfig, Webhook
from kubeferry.journal.outbox import MOST_IN_DIGEST, Parcel
from kubeferry.life.event_kinds import EventKind
from kubeferry.notices import signing
from kubeferry.notices.digests import body_of
from kubeferry.notices.happenings import OF_EVENTS
from kubeferry.notices.letters import letter, subject
from kubeferry.notices.notice import LONGEST_NAME, LONGEST_TEXT, Actor, Notice, PlanFacts, bounded, id_of, page_of
from kubeferry.notices.webhook import LARGEST_BODY

MAIL = Mail(host="mail.example", sender="ferry@example.org", to=("ops@example.org", "owner@example.org"))


def a_notice(**facts: Any) -> Notice:
    given: dict[str, Any] = {
        "event": "rolled-back",
        "time": "2026-11-28T02:10:00.000Z",
        "id": "0" * 32,
        "plan": "programme",
        "wave": "wave-1",
        "app": "crm",
        "machine": "crm-1",
        "before": "rolling-back",
        "after": "rolled-back",
        "reason": "its probe failed",
        "fix": "Look at the service.",
        "actor": Actor(identity="process 7 on ferry", how="process"),
    }
    return Notice(**given | facts)


def test_the_standards_own_example() -> None:
    """The example of the specification's text."""
    key = signing.key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = signing.headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["short", "whsec_!!", "whsec_", f"whsec_{base64.b64encode(b'x' * 23).decode()}"])
def test_what_is_no_key_is_refused(secret: str) -> None:
    with pytest.raises(signing.BadKey):
        signing.key_of(secret)


def test_every_kind_is_an_event_or_comes_of_none() -> None:
    without = {NoticeKind.DEFERRED, NoticeKind.ALARM, NoticeKind.APPROVAL_WANTED}
    assert set(map(str, NoticeKind)) - set(map(str, EventKind)) <= set(map(str, without))
    assert {str(kind) for kind in NoticeKind} - OF_EVENTS <= set(map(str, without))


def test_the_largest_digest_can_be_sent() -> None:
    ship = "\N{SHIP}"
    long = {name: bounded(ship * 5000, LONGEST_NAME) for name in ("plan", "wave", "app", "machine")}
    text = bounded(ship * 5000, LONGEST_TEXT)
    one = a_notice(**long, reason=text, fix=text, page="https://x/" + "y" * 5000).body()
    bodies = tuple({**one, "id": str(number)} for number in range(MOST_IN_DIGEST))
    made = body_of(Parcel("key", bodies, tuple(range(MOST_IN_DIGEST)), 0, digest=True))
    assert len(json.dumps(made, ensure_ascii=False).encode()) < LARGEST_BODY
    assert len(made["machines"]) == MOST_IN_DIGEST


def test_a_mail_is_plain_and_known_by_its_id() -> None:
    made = letter(MAIL, "abc", a_notice(page="https://reports.example/").body())
    text = made.get_content()
    assert made["Subject"] == "[kubeferry] crm-1 was rolled back: its source serves again (plan programme, wave wave-1)"
    assert made["Message-ID"] == "<abc@kubeferry.invalid>"
    assert made["To"] == "ops@example.org, owner@example.org"
    assert made.get_content_type() == "text/plain"
    for line in ("machine  crm-1", "fix      Look at the service.", "by       process 7 on ferry (process)"):
        assert line in text.splitlines()


def test_a_name_makes_no_header() -> None:
    evil = "web\r\nBcc: everybody@example.org\r\n\r\nhello"
    made = letter(MAIL, "abc", a_notice(machine=evil, plan=evil, reason=evil).body())
    raw = made.as_bytes(policy=email.policy.SMTP)
    head = raw.split(b"\r\n\r\n", 1)[0]
    assert b"\r\nBcc:" not in head
    assert made["Bcc"] is None
    assert all(len(line) < 999 for line in raw.split(b"\r\n"))


def test_a_digest_as_mail_lists_all() -> None:
    bodies = tuple(a_notice(id=str(n), machine=f"m{n}").body() for n in range(12))
    body = body_of(Parcel("key", bodies, tuple(range(12)), 0, digest=True))
    assert subject(body) == "[kubeferry] 12 messages: 12 rolled-back (plan programme, wave wave-1)"
    text = letter(MAIL, "key", body).get_content()
    assert all(f"m{n} (crm)  rolled-back: its probe failed" in text for n in range(12))


def test_pages_are_quoted() -> None:
    facts = PlanFacts("d1", "a plan", apps={"we/b": "shop & co"})
    found = page_of("https://r.example/{plan}/{app}#{machine}", facts, "we/b", None)
    assert found == "https://r.example/a%20plan/shop%20%26%20co#we%2Fb"
    assert page_of(None, facts, "web", None) is None


def test_ids_differ_by_every_part() -> None:
    assert (
        len({id_of("j", "a", "b", 1), id_of("k", "a", "b", 1), id_of("j", "a", "b", 2), id_of("j", "ab", "", 1)}) == 4
    )


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Webhook, {"url": "http://hooks.example/x"}, "not encrypted"),
        (Webhook, {"url": "https://me:pass@hooks.example/x"}, "carries a login"),
        (Webhook, {"url": "ftp://hooks.example/x"}, "no address"),
        (Webhook, {"url": "https:///x"}, "no address"),
        (Webhook, {"url": "https://hooks.example/x y"}, "no address"),
        (Webhook, {"url": "https://hooks.example:99999/"}, "no address"),
        (Webhook, {}, "either url, or urlEnv"),
        (Webhook, {"url": "https://h.example/", "url_env": "HOOK"}, "either url, or urlEnv"),
        (Webhook, {"url": "https://h.example/", "events": ()}, "at least 1 item"),
        (Webhook, {"url": "https://h.example/", "events": ("exploded",)}, "Input should be"),
        (Webhook, {"url": "https://h.example/", "insecure": True}, "Extra inputs"),
        (Mail, {"to": ("ops@example.org\r\nBcc: x@y.z",)}, "no mail address"),
        (Mail, {"to": ("ops",)}, "no mail address"),
        (Mail, {"sender": "Ferry <ferry@example.org>"}, "no mail address"),
        (Mail, {"to": ()}, "at least 1 item"),
        (Mail, {"user_env": "U"}, "both userEnv and passwordEnv"),
        (Mail, {"user_env": "U", "password_env": "P", "tls": "none"}, "not sent without TLS"),
        (NotifyConfig, {"pages": "https://r.example/{secret}"}, "it may name"),
        (NotifyConfig, {"pages": "https://r.example/{plan.name}"}, "it may name"),
        (NotifyConfig, {"pages": "https://r.example/{plan!r}"}, "it may name"),
        (NotifyConfig, {"pages": "https://r.example/{plan"}, "braces"),
        (NotifyConfig, {"pages": "reports/"}, "begins with https"),
    ],
)
def test_bad_settings_are_refused(kind: Any, given: dict[str, Any], words: str) -> None:
    usual: dict[Any, dict[str, Any]] = {
        Webhook: {"secret_env": "KEY"},
        Mail: {"host": "mail", "sender": "a@b.c", "to": ("d@e.f",)},
        NotifyConfig: {},
    }
    with pytest.raises(ValidationError, match=words):
        kind(**usual[kind] | given)


def test_an_address_of_this_host_needs_no_tls() -> None:
    for url in ("http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/x"):
        assert Webhook(url=url, secret_env="KEY").url == url  # noqa: S106 (a name)


def test_ports_follow_the_way() -> None:
    assert MAIL.at_port == 587
    assert MAIL.model_copy(update={"tls": "tls"}).at_port == 465
    assert MAIL.model_copy(update={"tls": "none"}).at_port == 25
    assert MAIL.model_copy(update={"port": 2525}).at_port == 2525


def test_the_example_of_the_page_is_what_is_sent() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/operations.md").read_text()
    (example,) = re.findall(r"```json\n(\{\n  \"event\".*?\n\})\n```", page, re.DOTALL)
    shown = json.loads(example)
    actor = Actor(**shown["actor"])
    facts = {"before": shown["from"], "after": shown["to"], "actor": actor}
    same = {name: value for name, value in shown.items() if name not in {"from", "to", "actor"}}
    assert json.dumps(Notice(**same, **facts).body()) == json.dumps(shown)
    (settings,) = re.findall(r"```yaml\n(notify:.*?)```", page, re.DOTALL)
    read = NotifyConfig.model_validate(yaml.safe_load(settings)["notify"])
    assert sorted(read.webhooks) == ["chat", "ops"]
    assert read.webhooks["ops"].events == MUST_KNOW
