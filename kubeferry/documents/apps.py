"""Apps: machines that belong together, as the policy says it and as a plan has it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import Field, field_validator

from kubeferry.documents.base import ShortName
from kubeferry.documents.hooks import Hook, check_names
from kubeferry.documents.probes import Probe
from kubeferry.model import Seconds, Value

AppName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?)?$")]
"""The name of an app; empty for none at all."""

OF_AN_APP = "app:"
"""What stands before an app's name where machines and apps are named side by side."""


class AppProbe(Probe):
    """A question to the app as a whole, asked of one of its machines once all of them run. `machine` is that one; None:
    the last of those that are started last."""

    machine: str | None = None


class AppRehearsal(Value):
    """How the machines of an app are rehearsed: each by itself, or `together`, at the same time and on a network of
    their own without a way out, in the order of the app and with its probes."""

    together: bool = False


class AppPolicy(Value):
    """An app: machines that belong together, and move in one wave.

    Its machines are those that `members` names (patterns, too), and those that fit all of `folder`, `tags` and
    `labels`, with the patterns of a rule's `match`; and those whose own choice, or a rule, says `app`.

    `order` puts its machines in tiers, by names or patterns, forwards for the start: each tier waits for the one before
    it. Those that it does not name come in the last tier. `after` are apps that have to have moved before. `together`:
    all of its machines are stopped before any is copied, the last tier first; they are started at the target one tier
    after the other, each once the probes of the one before it have passed; and they go back as one. Without that each
    of them moves by itself, when its turn has come.

    `window` is for those of its machines that say none. `downtime_seconds` is what the app as a whole may be down.

    `hooks` are run once for the app as a whole where it moves as one (`together`): before the first of its machines is
    stopped, after the last is off, after the last is started and has passed its own probes, after the last commit, and
    after the last has gone back. Without that the app has no such moments, and each of its machines runs them.

    `rehearsal` says whether its machines are rehearsed together; whether a rehearsal is asked for at all, the
    `rehearsal` of each machine says. None: each is rehearsed by itself, and the probes of the app are not asked then.
    """

    owner: str | None = None
    members: tuple[str, ...] = ()
    folder: str | None = None
    tags: dict[str, str] = {}
    labels: dict[str, str] = {}
    after: tuple[ShortName, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    together: bool = False
    wave: str | None = None
    window: str | None = None
    downtime_seconds: Annotated[Seconds, Field(gt=0)] | None = None
    probes: tuple[AppProbe, ...] = ()
    hooks: tuple[Hook, ...] | None = None
    rehearsal: AppRehearsal | None = None

    @field_validator("hooks")
    @classmethod
    def _apart(cls, given: tuple[Hook, ...] | None) -> tuple[Hook, ...] | None:
        check_names(given)
        return given


class PlannedApp(Value):
    """An app of a plan: its machines that move, in `tiers` where it has an order. `probes` name their machine each, and
    are asked of it once all run. See `AppPolicy`."""

    name: ShortName
    owner: str | None = None
    members: tuple[str, ...]
    tiers: tuple[tuple[str, ...], ...] | None = None
    after: tuple[str, ...] | None = None
    together: bool | None = None
    window: str | None = None
    downtime_seconds: Seconds | None = None
    probes: tuple[AppProbe, ...] | None = None
    rehearsal: AppRehearsal | None = None

    def members_left(self, moved: Collection[str]) -> tuple[str, ...]:
        """Its machines without those that have moved."""
        return tuple(name for name in self.members if name not in moved)

    def without(self, moved: Collection[str]) -> PlannedApp:
        """What is left of it, which nobody asks its probes."""
        left = self.members_left(moved)
        rehearsal = self.rehearsal if len(left) > 1 else None
        return self.model_copy(update={"members": left, "probes": None, "rehearsal": rehearsal})

    def tier_of(self, machine: str) -> int:
        """In which tier it stands, from 0."""
        return next((number for number, tier in enumerate(self.tiers or ()) if machine in tier), 0)

    def asked_of(self, machine: str) -> tuple[AppProbe, ...]:
        """The probes of the app that are asked of this machine."""
        return tuple(probe for probe in self.probes or () if probe.machine == machine)
