"""What leaves this process for a log or for Prefect is without secrets: a value of the environment whose name says that
it is one, and one in a URL, are struck out.

Prefect keeps what it is told for weeks, and shows it to whoever may look: states, names of runs, logs with the whole of
an error, artifacts, parameters. Machines, plans and files have names that others chose, and an error quotes a library.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from kubeferry.errors import InputInvalid, KubeferryError
from kubeferry.outside.struck import without_secrets

__all__ = ["rows_without", "shown", "strike", "strike_logs", "struck_errors", "without_secrets"]

_SHOWN = ("prefect.flow_runs", "prefect.task_runs", "prefect.extra")
"""Prefect's loggers whose records go to its server."""


def rows_without(rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """A table for Prefect."""
    return [{name: _cell(value) for name, value in row.items()} for row in rows]


def _cell(value: object) -> object:
    return without_secrets(value) if isinstance(value, str) else value


def shown(error: BaseException) -> Exception:
    """An error of the same name, of which no text holds a secret."""
    made: Exception = type(type(error).__name__, (Exception,), {})(without_secrets(str(error)))
    return made


def strike(error: BaseException) -> None:
    """Strike secrets out of an error that goes on: of what it says, and of what it came from."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        found.args = tuple(without_secrets(one) if isinstance(one, str) else one for one in found.args)
        if isinstance(found, KubeferryError):
            found.what, found.why, found.fix = map(without_secrets, (found.what, found.why, found.fix))
        if isinstance(found, InputInvalid):
            found.problems = [
                replace(one, what=without_secrets(one.what), fix=without_secrets(one.fix)) for one in found.problems
            ]
        found = found.__cause__ or found.__context__


@contextmanager
def struck_errors() -> Iterator[None]:
    """An error of the block goes on without secrets."""
    try:
        yield
    except Exception as error:
        strike(error)
        raise


class _Plainly(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def strike_logs() -> None:
    """From now on Prefect's server gets no secret with a log, whatever part of Prefect writes it."""
    for name in _SHOWN:
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(_Plainly())
