"""Answers of an API server as errors of ours: what a retry can mend, and what it cannot. Pure.

A manifest that strict validation refuses under server-side apply is answered with 500, the reason in the body: the body
is read before a 5xx is called passing (seen with Kubernetes 1.34.2).
"""

from __future__ import annotations

import json
from typing import Any

from kubeferry.errors import KubeferryError, TargetRefused, TargetUnavailable

PASSING = frozenset({408, 429, 500, 502, 503, 504})
MODIFIED = "the object has been modified"
# KubeVirt's words for a start or stop that met another one: its patch was for requests that are others by now, and it
# tells the refusal as a fault of its own (seen with 1.9, where a start was just being carried out).
OVERTAKEN = ("the server rejected our request due to an error in our request", "stop/start already underway")
STRICT = ("strict decoding error", "unknown field", "field not declared in schema", "failed to create typed patch")
RENEW = "Renew the credentials in the kubeconfig, then run the same command again: nothing is lost."
AGAIN = "Run the same command again when the cluster answers."


class NotThere(TargetRefused):
    """The API server knows nothing at that path."""


class AlreadyThere(TargetRefused):
    """An object of that name exists."""


class Conflict(TargetRefused):
    """Somebody else owns a field, or the object is not in the state that was asked for."""


class Forbidden(TargetRefused):
    """The account may not, or the API server does not know yet that it may: one that has just been started answers so
    until it has read the roles (seen with Kubernetes 1.34.2)."""


class Changed(TargetUnavailable):
    """It is not the object any more that was read: somebody wrote into it meanwhile."""


def error_of(status: int, body: bytes, what: str) -> KubeferryError:
    """The error for an answer that is no success. `what` says what was asked, in words; `body` may be anything."""
    said, reason = message_of(body)
    if status == 401:
        return TargetUnavailable(f"{what}: the cluster does not accept our credentials", why=said, fix=RENEW)
    if status == 500 and any(sign in said for sign in OVERTAKEN):
        return Changed(f"{what}: it changed at the same moment", why=said, fix=AGAIN)
    if status in PASSING and not (status == 500 and any(sign in said for sign in STRICT)):
        return TargetUnavailable(f"{what}: the API server answers {status}", why=said, fix=AGAIN)
    if status == 404:
        return NotThere(f"{what}: not found", why=said, fix="Look whether its name and namespace are right.")
    if status == 409:
        return _conflict(said, reason, what)
    kind = Forbidden if status == 403 and " cannot " in said else TargetRefused  # quotas and policies forbid, too
    return kind(f"{what}: refused", why=said or f"the API server answers {status}", fix=_refused_fix(status, said))


def _conflict(said: str, reason: str, what: str) -> KubeferryError:
    if reason == "AlreadyExists":
        return AlreadyThere(f"{what}: it exists already", why=said, fix="Look whose it is.")
    if MODIFIED in said:
        return Changed(f"{what}: it changed at the same moment", why=said, fix=AGAIN)
    owned = "Another manager owns these fields: take them back there, or remove them from the policy."
    return Conflict(f"{what}: conflict", why=said, fix=owned if "conflict with" in said else "Look at the object.")


def _refused_fix(status: int, said: str) -> str:
    if "exceeded quota" in said:
        return "Raise the namespace's quota, or move fewer machines into it."
    if "violates PodSecurity" in said:
        return "Use a namespace whose pod security level allows it; `kubeferry doctor PLAN` says which."
    if "is being terminated" in said:
        return "The namespace is being deleted: use another one, or wait and make it again."
    if status == 403:
        return "Give the pipeline's account this permission: `kubeferry manifests` prints the Role that it needs."
    return "Correct it in the policy, and plan again."


def message_of(body: bytes) -> tuple[str, str]:
    """What a Status says: its message and reason; the text itself where it is none, shortened."""
    text = body.decode(errors="replace").strip()
    try:
        status = json.loads(text)
    except ValueError:
        return text[:500], ""
    if not isinstance(status, dict):
        return text[:500], ""
    return _with_causes(status)[:2000], str(status.get("reason") or "")


def _with_causes(status: dict[str, Any]) -> str:
    """The message, and the causes that it does not hold already."""
    said = str(status.get("message") or "")
    causes = (status.get("details") or {}).get("causes") or []
    more = [
        f"{cause.get('field')}: {cause.get('message')}" for cause in causes if str(cause.get("message")) not in said
    ]
    return "; ".join([said, *more])
