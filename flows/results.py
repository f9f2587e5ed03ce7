"""How machines' runs ended, as text: from the process that drove them to the one that asked for it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flows.told import Outcome
from kubeferry import errors
from kubeferry.errors import KubeferryError, PermanentError, Problem, TransientError


def as_text(outcomes: Iterable[Outcome]) -> str:
    """These outcomes, errors with all that they say."""
    return json.dumps(
        [
            {
                "machine": one.machine,
                "phase": one.phase,
                "left": one.left,
                "stands": one.stands,
                "error": one.error
                and {
                    "type": type(one.error).__name__,
                    "transient": one.error.transient,
                    "facts": _facts(one.error),
                },
            }
            for one in outcomes
        ]
    )


def from_text(text: str) -> list[Outcome]:
    """The outcomes that a text holds. Raises ValueError for one that holds none."""
    return [
        Outcome(
            one["machine"],
            one["phase"],
            one["error"] and _error(one["error"]),
            left=one["left"],
            stands=one["stands"],
        )
        for one in json.loads(text)
    ]


def _facts(error: KubeferryError) -> dict[str, Any]:
    """What an error has. What is no text, number or list of them stays here."""
    found: dict[str, Any] = {}
    for name, value in vars(error).items():
        if name == "problems":
            found[name] = [[one.where, one.what, one.fix] for one in value]
        elif isinstance(value, str | int | bool) or value is None:
            found[name] = value
        elif isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            found[name] = list(value)
    return found


def _error(told: dict[str, Any]) -> KubeferryError:
    """The error again, of the same class where this version has it among all errors, else of one that ends alike."""
    facts, kind = told["facts"], getattr(errors, told["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, KubeferryError)):
        kind = TransientError if told.get("transient", True) else PermanentError
    made: KubeferryError = kind.__new__(kind)
    made.args = (str(facts.get("what", "")),)
    KubeferryError.__init__(made, made.args[0])
    for name, value in facts.items():
        same = tuple(value) if isinstance(value, list) else value
        setattr(made, name, [Problem(*one) for one in value] if name == "problems" else same)
    return made
