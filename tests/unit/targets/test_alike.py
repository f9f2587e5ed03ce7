"""Machines of which one is tried for all: whom it costs where that one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.documents import Entry
from kubeferry.errors import Interrupted, SourceRefused, TargetUnavailable
from kubeferry.targets.alike import MOST, shared, tried
from lab.rig import an_entry

NAMES = ("web", "db", "app", "api", "log")
ENTRIES = tuple(
    an_entry(name, "shop", Path(f"/images/{name}.img"), {"volume_mode": "Block", "access_mode": "ReadWriteOnce"})
    for name in NAMES
)


class Attempts:
    """Attempts that fail for machines by name."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.asked: list[str] = []

    def __call__(self, entry: Entry) -> None:
        self.asked.append(entry.name)
        if entry.name in self.errors:
            raise self.errors[entry.name]


def said(attempts: Attempts, entries: tuple[Entry, ...] = ENTRIES) -> dict[str, list[str]]:
    return {
        name: [one.what for one in told] for name, told in tried(entries, attempts, "no mover can be tried").items()
    }


def test_one_that_passes_speaks_for_all() -> None:
    attempts = Attempts()
    assert said(attempts) == {}
    assert attempts.asked == ["web"]


def test_what_is_wrong_with_the_first_one_costs_nobody_else() -> None:
    attempts = Attempts(web=SourceRefused("its disk is gone", why="/images/web.img"))
    assert said(attempts) == {"web": ["web: no mover can be tried: its disk is gone: /images/web.img"]}
    assert attempts.asked == ["web", "db"]


def test_a_defect_in_one_is_its_own() -> None:
    assert said(Attempts(web=KeyError("x"))) == {"web": ["web: no mover can be tried: a defect: KeyError: 'x'"]}


def test_what_stops_some_in_turn_stops_all_and_is_told_once() -> None:
    attempts = Attempts(**{name: TargetUnavailable("no answer") for name in NAMES})
    told = "web and 4 machines like it: no mover can be tried: no answer"
    assert said(attempts) == {name: [told] for name in NAMES}
    assert attempts.asked == list(NAMES[:MOST])


def test_each_is_told_what_it_met_and_the_rest_the_last() -> None:
    attempts = Attempts(web=SourceRefused("a"), db=SourceRefused("b"), app=SourceRefused("b"))
    told = said(attempts)
    assert told["web"] == ["web: no mover can be tried: a"]
    assert told["db"] == told["log"] == ["db and 3 machines like it: no mover can be tried: b"]


def test_a_mover_that_opens_nothing_of_its_machine_speaks_for_all_at_once() -> None:
    attempts = Attempts(**{name: TargetUnavailable("no answer") for name in NAMES})

    def attempt(entry: Entry) -> None:
        with shared(None):
            attempts(entry)

    assert set(tried(ENTRIES, attempt, "no mover can be tried")) == set(NAMES)
    assert attempts.asked == ["web"]


def test_who_asks_to_stop_is_no_concern() -> None:
    with pytest.raises(Interrupted):
        said(Attempts(web=Interrupted("stopped")))
