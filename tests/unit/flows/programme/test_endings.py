"""How machines and runs ended, as states of Prefect."""

from __future__ import annotations

import pytest

from flows.programme.endings import Ending, of_machine, of_run
from flows.told import Outcome
from kubeferry.errors import HeldBack, Interrupted, KubeferryError, PermanentError
from kubeferry.life.action_kinds import Goal

DONE = Outcome("a", "committed")
BACK = Outcome("b", "failed", PermanentError("its probe failed"), stands="rolled-back")
FAILED = Outcome("c", "failed", KubeferryError("no"), stands="failed")
STOPPED = Outcome("d", "stopped", Interrupted("stopped on request"), stands="copying")


@pytest.mark.parametrize(
    ("goal", "outcome", "kind", "name"),
    [
        (Goal.MIGRATE, DONE, "completed", ""),
        (Goal.ROLLBACK, Outcome("a", "rolled-back"), "completed", "RolledBack"),
        (Goal.MIGRATE, BACK, "failed", "RolledBack"),
        (Goal.MIGRATE, FAILED, "failed", ""),
        (Goal.MIGRATE, STOPPED, "cancelled", ""),
        (Goal.MIGRATE, Outcome("e", "not begun", HeldBack("it comes after a", machine="e")), "cancelled", "Held"),
    ],
)
def test_a_machine_s_end_has_a_name(goal: Goal, outcome: Outcome, kind: str, name: str) -> None:
    ending = of_machine(goal, outcome)
    assert (ending.kind, ending.name) == (kind, name)


@pytest.mark.parametrize(
    ("outcomes", "held", "ending"),
    [
        ([DONE], {}, Ending("cancelled", "", "2 of 3 not begun; 1 of 3 done")),
        (
            [DONE, FAILED],
            {"b": "why"},
            Ending("failed", "", "1 of 3 failed: c; 1 machine held back: b: why; 1 of 3 done"),
        ),
        (
            [DONE, BACK],
            {"c": "w"},
            Ending("failed", "RolledBack", "1 of 3 rolled back: b; 1 machine held back: c: w; 1 of 3 done"),
        ),
        ([], {}, Ending("cancelled", "NotBegun", "3 of 3 not begun")),
        ([DONE, DONE], {"c": "w"}, Ending("cancelled", "Held", "1 machine held back: c: w; 2 of 3 done")),
        ([DONE, DONE, DONE], {}, Ending("completed", "", "3 of 3 done")),
    ],
)
def test_a_run_counts_all_that_it_was_asked_for(outcomes: list[Outcome], held: dict[str, str], ending: Ending) -> None:
    assert of_run(Goal.MIGRATE, ("a", "b", "c"), outcomes, held) == ending


def test_a_run_that_was_called_off_is_cancelled_whatever_it_came_to() -> None:
    ending = of_run(Goal.MIGRATE, ("a", "b"), [DONE, BACK], {}, called_off=True)
    assert (ending.kind, ending.message) == ("cancelled", "1 of 2 rolled back: b; 1 of 2 done")


def test_a_run_that_was_stopped_says_which_way_each_machine_is_going() -> None:
    on, back = (Outcome(one, one, Interrupted("stopped on request"), stands=one) for one in ("started", "rolling-back"))
    assert of_run(Goal.MIGRATE, ("a", "b"), [on, back], {}).message == (
        "1 of 2 stopped on request, on the way to the target; the same command goes on: started; "
        "1 of 2 stopped on request, on the way back; the same command goes on: rolling-back"
    )
