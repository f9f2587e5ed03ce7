"""Machines of which one is tried for all: whom a trial that failed speaks of, and in which words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from kubeferry.documents import Entry
from kubeferry.errors import Interrupted, KubeferryError, as_told
from kubeferry.model import Concern, DiskRef, Severity
from kubeferry.words import counted

PASSING = "trial.unavailable"
"""A trial that failed for now: the same command may go well later."""
MOST = 3
"""Trials of machines that are alike, where each fails: what stops three stops the others."""


class OfAll(Exception):
    """What stopped one stops all that are alike."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def grouped(entries: Iterable[Entry], key: Callable[[Entry], str]) -> list[list[Entry]]:
    """Machines of one key together, in the plan's order."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return list(groups.values())


@contextlib.contextmanager
def shared(way: DiskRef | None) -> Iterator[None]:
    """A mover that opens nothing of the machine's own meets what each other one would. Raises OfAll."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        if way is None:
            raise OfAll(error) from error
        raise


def tried(alike: Sequence[Entry], attempt: Callable[[Entry], object], what: str) -> dict[str, list[Concern]]:
    """Try one after another until one passes: what stopped those before it is their own. Returns concerns by machine;
    `what` says of each what cannot be done. Raises Interrupted."""
    met: dict[str, KubeferryError] = {}
    for entry in alike[:MOST]:
        try:
            attempt(entry)
        except Interrupted:
            raise
        except OfAll as stopped:
            met[entry.name] = as_told(stopped.error)
            break
        except Exception as error:  # noqa: BLE001 (a defect of ours in one machine does not keep the others)
            met[entry.name] = as_told(error)
        else:
            return _concerns(met, what)
    last = list(met.values())[-1:]
    return _concerns(met | {entry.name: error for entry in alike[len(met) :] for error in last}, what)


def _concerns(met: dict[str, KubeferryError], what: str) -> dict[str, list[Concern]]:
    """Machines that met the same are told in one."""
    same: dict[tuple[str, ...], list[str]] = {}
    for name, error in met.items():
        same.setdefault((error.what, error.why, error.fix), []).append(name)
    found: dict[str, list[Concern]] = {}
    for first, *others in same.values():
        error = met[first]
        like = f" and {counted(len(others), 'machine')} like it" if others else ""
        concern = Concern(
            id=PASSING if error.transient else "trial.refused",
            severity=Severity.CRITICAL,
            what=f"{first}{like}: {what}: {error.reason}",
            fix=error.fix,
        )
        found |= {name: [concern] for name in (first, *others)}
    return found
