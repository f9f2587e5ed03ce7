"""What can be said about the rehearsals of one machine: events as in `kubeferry.life.events`. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kubeferry.life.event_kinds import EventKind, failing_of, passed_of
from kubeferry.model import Value

RoundNumber = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(min_length=1)]


class RehearsalBegun(Value):
    """An intent: from here on an isolated copy may run over the disks as of `round`, durable since `synced_at`. `roots`
    are those of the disks, each read back before it. Rehearsals of a machine count up from 1. `together` are the
    machines that are rehearsed at the same time, itself among them; None where it is rehearsed by itself."""

    kind: Literal[EventKind.REHEARSAL_BEGUN] = EventKind.REHEARSAL_BEGUN
    number: Annotated[int, Field(ge=1)]
    round: RoundNumber
    at: str
    synced_at: str
    roots: dict[str, str]
    together: tuple[str, ...] | None = None


class RehearsalStarted(Value):
    """The isolated copy of one that is rehearsed together with others runs: they are started before any is asked."""

    kind: Literal[EventKind.REHEARSAL_STARTED] = EventKind.REHEARSAL_STARTED


class RehearsalObserved(Value):
    """What was seen of the isolated copy, an Observation as plain data; or `why` nobody could look at it. `app` is
    given where the probes of that app were asked of it; None: it was asked its own."""

    kind: Literal[EventKind.REHEARSAL_OBSERVED] = EventKind.REHEARSAL_OBSERVED
    observation: dict[str, Any] = {}
    why: str = ""
    app: str | None = None

    @property
    def failing(self) -> tuple[str, ...]:
        """The probes that did not pass, in words."""
        return failing_of(self.observation)

    @property
    def passed(self) -> int:
        """How many probes passed; 0 when any failed or none ran."""
        return passed_of(self.observation)


class RehearsalEnded(Value):
    """The isolated copy and all that was made for it are gone. The disks count as proven again when they were read back
    since. `told_by` has said that the target is gone for good. `why` it did not pass whatever it showed, of one that
    was rehearsed together with others; None of any other."""

    kind: Literal[EventKind.REHEARSAL_ENDED] = EventKind.REHEARSAL_ENDED
    at: str
    removed: tuple[str, ...] = ()
    told_by: str = ""
    why: str | None = None


class Rehearsed(Value):
    """The rehearsal of this number passed its probes, and `roots` were read back after it: those of before."""

    kind: Literal[EventKind.REHEARSED] = EventKind.REHEARSED
    number: Annotated[int, Field(ge=1)]
    round: RoundNumber
    at: str
    synced_at: str
    probes_passed: Annotated[int, Field(ge=1)]
    roots: dict[str, str]
    where: str = ""
    note: str = ""
