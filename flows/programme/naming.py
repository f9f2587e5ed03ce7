"""What a run is called on Prefect's pages: its verb, and what it was given."""

from __future__ import annotations

from collections.abc import Callable

from prefect.context import FlowRunContext

from flows.struck import without_secrets


def _word(given: object) -> str:
    """A parameter in a name; of several the first, and how many there are."""
    if not isinstance(given, (list, tuple)):
        return str(given)
    return f"{given[0]} and {len(given) - 1} more" if len(given) > 1 else str(given[0])


def run_name(verb: str, *parameters: str) -> Callable[[], str]:
    """Names a run after these of its parameters, as far as they were given: `cutover shop W1`."""

    def named() -> str:
        context = FlowRunContext.get()
        given = (context.parameters or {}) if context else {}
        words = (given.get(name) for name in parameters)
        return without_secrets(" ".join([verb, *(_word(word) for word in words if word)]))

    return named
