"""What a run tells of its machines, while they move and when they have ended, and who is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubeferry.errors import KubeferryError, ProbeFailed
from kubeferry.life.machine_state import Phase

NOT_BEGUN = "not begun"
"""The phase of a machine to which nothing was done."""
DEFERRED = "deferred"
"""The phase of a machine that waits for its window; it may have been copied ahead meanwhile."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one machine's run ended: the phase reached, or the error that stopped it. `left` says what of ours could not
    be dropped at the source of one that has moved; `stands`, of one that was stopped, is the phase that it was seen in
    last."""

    machine: str
    phase: str
    error: KubeferryError | None = None
    left: str = ""
    stands: str = ""

    @property
    def ended(self) -> str:
        """The phase for people: of one that is back at its source that, though its move has failed."""
        return Phase.ROLLED_BACK if isinstance(self.error, ProbeFailed) else self.phase


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A step begins: the kind of its action, the action with its disks, and why it is next."""

    kind: str
    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class TryEnded:
    """A step was tried: the error, None if it went well; and whether it is tried again."""

    error: BaseException | None = None
    again: bool = False


Told = StepBegun | TryEnded | Outcome


class Audience:
    """Whoever is told how the machines' runs go on, each in the order of its own thread. This one shows nobody."""

    def tell(self, machine: str, told: Told) -> None:
        """Take it in. Never waits, and raises nothing: it is called between source and target."""

    def held(self, machine: str, why: str) -> None:
        """The machine's run does not begin. Like `tell`."""

    def called_off(self) -> bool:
        """Whether it was here that somebody asked the run to stop."""
        return False

    def settle(self, found: Mapping[str, Outcome]) -> None:
        """What came, in the end, of machines that a run which was called off has stopped. Like `tell`."""
