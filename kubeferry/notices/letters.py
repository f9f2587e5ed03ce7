"""A message as mail: plain text, a subject of one line, and ids by which a mailbox knows what it has already. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from kubeferry.documents import Mail
from kubeferry.notices.digests import DIGEST
from kubeferry.words import plain

_SUBJECT = 150
_IN_WORDS = {
    "failed": "failed",
    "rolled-back": "was rolled back: its source serves again",
    "committed": "has moved",
    "deferred": "waits for its next window",
    "alarm": "needs somebody to look at once",
    "approval-wanted": "waits for an approval",
    "test": "this is a test",
}


def letter(settings: Mail, ident: str, body: dict[str, Any]) -> EmailMessage:
    """The mail for a message. What a name or a reason holds commands neither a header nor a terminal."""
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"] = settings.sender, ", ".join(settings.to)
    made["Subject"] = subject(body)
    made["Date"] = datetime.fromisoformat(str(body["time"]))
    made["Message-ID"] = f"<{ident}@kubeferry.invalid>"
    made["Auto-Submitted"] = "auto-generated"  # nobody's holiday notice answers it
    made["X-Kubeferry-Event"] = str(body["event"])
    made.set_content("\n".join(_lines(body)) + "\n", cte="quoted-printable")
    return made


def subject(body: dict[str, Any]) -> str:
    """On one line: what is told of which machine."""
    where = ", ".join(f"{word} {body[word]}" for word in ("plan", "wave") if body.get(word))
    if body["event"] == DIGEST:
        return _cut(f"[kubeferry] {body['reason']} ({where})")
    about = body.get("machine") or body.get("app") or body.get("wave") or body["plan"]
    words = _IN_WORDS.get(str(body["event"]), str(body["event"]))
    return _cut(f"[kubeferry] {about} {words}{where and f' ({where})'}")


def _cut(text: str) -> str:
    flat = plain(text)
    return flat if len(flat) <= _SUBJECT else f"{flat[: _SUBJECT - 1]}…"


def _lines(body: dict[str, Any]) -> Iterator[str]:
    actor = body.get("actor") or {}
    by = f"{actor['identity']} ({actor['how']})" if actor else ""
    fields = [(name, body.get(name)) for name in ("time", "plan", "wave", "app", "machine", "from", "to")]
    fields += [("by", by), ("reason", body.get("reason")), ("fix", body.get("fix")), ("page", body.get("page"))]
    width = max(len(name) for name, _ in fields)
    yield from (f"{name:<{width}}  {plain(str(value))}" for name, value in fields if value)
    if machines := body.get("machines"):
        yield ""
        yield from _listed(machines)
    yield ""
    yield f"message {body['id']} of kubeferry; the same id again is the same message"


def _listed(machines: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in machines:
        about = f"{one['machine']} ({one['app']})" if one.get("app") else str(one["machine"])
        because = f": {one['reason']}" if one.get("reason") else ""
        yield plain(f"{one['time']}  {about}  {one['event']}{because}")
        if one.get("fix"):
            yield plain(f"    {one['fix']}")
