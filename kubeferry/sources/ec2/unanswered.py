"""What EC2 did not answer while it was asked about a region's instances: told beside what it did answer.

One question that is forbidden, throttled or of a thing that is not there any more costs what it would have told, and
nothing else. One that fails again and again is not put any more: each try takes its time.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator

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
