"""A round of machines that are rehearsed together after it, and what is told of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flows.told import Outcome
from kubeferry.errors import KubeferryError
from kubeferry.steps.rehearsing_together import copy_ahead, rehearse_left, why_not_together
from kubeferry.steps.release import settle
from kubeferry.steps.together import DoOne
from kubeferry.steps.work import Work

if TYPE_CHECKING:
    from flows.migrate import Run


def copied_and_rehearsed(
    run: Run, works: Sequence[Work], attempt: DoOne, given: Mapping[str, KubeferryError]
) -> list[Outcome]:
    """Where one of them was not copied, or was `given` up before, the others have their round, and none is rehearsed. A
    round that was to be rehearsed, and cannot be, has not failed for it; where somebody has asked for it, it has."""
    ahead = sum(len(work.state().rounds) for work in works)
    failed = {**given, **copy_ahead(works, attempt, run.refused)}
    left = f"{', '.join(failed)} was not copied, and they are rehearsed together" if failed else ""
    if not failed and sum(len(work.state().rounds) for work in works) > ahead:
        left = "" if run.rehearse else why_not_together(works)
        if not left:
            rehearse_left(works, attempt)
    found = list[Outcome]()
    for work in works:
        name, phase = work.entry.name, work.state().phase
        if name in failed:
            found.append(Outcome(name, "failed", failed[name]))
        else:
            owed = [f"not rehearsed: {left}" if left else "", settle(work)]
            found.append(Outcome(name, phase, left="; ".join(filter(None, owed))))
    return found
