"""Rules about the time that the policy gives: what cannot be done within it leads back, after the machine was down."""

from __future__ import annotations

from collections.abc import Iterable

from kubeferry.words import duration
from mappings.estimate import Rates, estimate
from mappings.rules.rule import WARNING, Case, Rule, when


def _over_budget(case: Case) -> Iterable[str]:
    """Of what is copied while it runs nobody knows yet how little is left for its stop."""
    budget = case.choices.downtime.budget_seconds if case.choices.downtime else None
    cold = case.choices.mode == "cold" or bool(case.sharing.moves_with)
    if budget is None or not cold:
        return ()
    copied = estimate(tuple(one for one in case.machine.data_disks if not case.sharing.attaches(one)), Rates())
    what = f"It is copied after its stop, which takes {duration(copied.low_seconds)} or longer"
    return when(
        copied.low_seconds > budget, f"{what}, and its downtime budget is {duration(budget)}: it would go back."
    )


RULES = (
    Rule(
        "downtime.over-budget",
        WARNING,
        "a copy after the stop that takes longer than the downtime budget, by its fastest estimate",
        "Copy it ahead (`mode: warm`), or give it, or its app, a longer downtime budget in the policy.",
        _over_budget,
    ),
)
