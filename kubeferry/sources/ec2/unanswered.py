"""What EC2 did not answer while it was asked about a region's instances: told beside what it did answer.

One question that is forbidden, throttled or of a thing that is not there any more costs what it would have told, and
nothing else. One that fails again and again is not put any more: each try takes its time.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator

from kubeferry.errors import KubeferryError
from kubeferry.model import Concern, Severity
from kubeferry.outside import aws
from kubeferry.words import counted

IN_VAIN = 3
"""How often one question may fail before the others of its kind are not put any more."""
SHOWN = 5


class Unanswered:
    """The questions of one region that were not answered, by operation."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._errors: dict[str, Exception] = {}
        self._costs: dict[str, str] = {}
        self._about: defaultdict[str, list[str]] = defaultdict(list)
        self._failures: Counter[str] = Counter()

    @contextlib.contextmanager
    def telling(self, operation: str, costs: str, *, about: str = "") -> Iterator[None]:
        """An error of AWS's in the block ends there, and is told: `costs` is what is not known then, `about` which
        instance it was asked of."""
        try:
            yield
        except aws.failures() as error:
            self._failures[operation] += 1
            self._note(operation, costs, about)
            self._errors[operation] = error

    def asks(self, operation: str, costs: str, about: str) -> bool:
        """Whether to ask this of one more instance."""
        if self._failures[operation] < IN_VAIN:
            return True
        self._note(operation, costs, about)
        return False

    def _note(self, operation: str, costs: str, about: str) -> None:
        self._costs[operation] = costs
        if about:
            self._about[operation].append(about)

    def concerns(self) -> Iterator[Concern]:
        """One for each operation."""
        for operation, error in self._errors.items():
            told = aws.told(error, f"EC2 in {self._region} does not answer {operation}")
            yield Concern(
                id="source.unanswered",
                severity=Severity.WARNING,
                what=f"{told.reason.rstrip('.')}. Not known: {self._costs[operation]}{self._of(operation)}.",
                fix=f"{told.fix} What was read stands in the inventory.",
            )

    def _of(self, operation: str) -> str:
        names = self._about[operation]
        if not names:
            return ""
        shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
        return f" of {counted(len(names), 'instance')} ({shown})"


def unreadable(name: str, why: str) -> Concern:
    """An instance that EC2 tells of, and that is no machine by what it tells."""
    fix = "Look at it with `aws ec2 describe-instances`; it is left out of the inventory."
    return Concern(id="machine.unreadable", severity=Severity.WARNING, what=f"{name}: {why}", fix=fix)


def unasked(region: str, error: KubeferryError) -> Concern:
    """A region of several that did not answer: one that is switched off for the account does not know our key."""
    fix = f"Switch {region} on for the account, or take it out of the source's aws.regions. Or: {error.fix}"
    return Concern(id="source.unanswered", severity=Severity.WARNING, what=error.reason.rstrip(".") + ".", fix=fix)
