"""What persons have decided for a plan: approvals, stops that were lifted, windows that were overruled. Pure.

A decision is about a plan and not about one machine, so it stands in a line of its own in the journal, numbered and
chained like a machine's events. It says who decided, and how that is known: a name that somebody claims, a signature,
or what a Kubernetes API server said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kubeferry.model import Value


class DecisionKind(StrEnum):
    """`approved`: machines may be cut over. `approval-withdrawn`: they may not after all. `key-revoked`: what a key has
    signed counts no more. `stop-lifted`: the failures of a wave so far stop it no more. `window-overruled`: machines
    may be cut over outside their window. `deferred`: they are to wait. `refused`: somebody who was asked said no."""

    APPROVED = "approved"
    APPROVAL_WITHDRAWN = "approval-withdrawn"
    KEY_REVOKED = "key-revoked"
    STOP_LIFTED = "stop-lifted"
    WINDOW_OVERRULED = "window-overruled"
    DEFERRED = "deferred"
    REFUSED = "refused"


class Known(StrEnum):
    """How it is known who decided: anybody can claim a name; a signature is by a key of the plan's; an API server has
    said whose credentials were used."""

    CLAIMED = "claimed"
    SIGNED = "signed"
    KUBERNETES = "kubernetes"


class Scope(Value):
    """What a decision is about, as it was said; `machines` are all that were meant by it then. Nothing: the plan."""

    wave: str = ""
    app: str = ""
    machines: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = [f"wave {self.wave}"] if self.wave else []
        named += [f"app {self.app}"] if self.app else []
        return ", ".join(named or self.machines) or "the plan"


class Decided(Value):
    """What is to be recorded: `by` whom, and `how` that is known. `payload` is what the kind needs to say, as JSON."""

    kind: DecisionKind
    scope: Scope = Scope()
    payload: dict[str, Any] = {}
    by: str
    how: Known = Known.CLAIMED


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as it stands in the journal: of which plan (its digest), its number there, when (UTC, ISO 8601, ms, by
    the journal's clock), and its digest, which covers all of that and the decisions before it."""

    plan: str
    seq: int
    at: str
    what: Decided
    digest: str = ""

    @property
    def kind(self) -> DecisionKind:
        return self.what.kind

    @property
    def scope(self) -> Scope:
        return self.what.scope

    @property
    def payload(self) -> dict[str, Any]:
        return self.what.payload

    @property
    def by(self) -> str:
        return self.what.by

    @property
    def how(self) -> Known:
        return self.what.how

    @property
    def who(self) -> str:
        """Who decided, and how that is known: `ann (signed)`."""
        return f"{self.by} ({self.how})"


def lifted(decisions: Iterable[Decision]) -> dict[str, str]:
    """When the stop of each wave was lifted last, by the wave's name."""
    return {one.scope.wave: one.at for one in decisions if one.kind is DecisionKind.STOP_LIFTED}
