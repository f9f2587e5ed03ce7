"""The mark among a machine's settings and notes: what people wrote there stays theirs."""

from __future__ import annotations

import pytest

from kubeferry.marks import StopMark, written
from kubeferry.model import Power
from kubeferry.sources.vsphere.marks import NAME, NOTES, SETTINGS, line, text_of, without
from kubeferry.sources.vsphere.plain import Plain

WHEN, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def mark(at: str = WHEN, off: str = "") -> str:
    return written(StopMark("0" * 12, Power.RUNNING, at, "0" * 64, WHEN, "", "wave 1", off))


def props(setting: str = "", notes: str = "") -> Plain:
    return {SETTINGS: [{"key": NAME, "value": setting}, {"key": "other", "value": "x"}], NOTES: notes}


@pytest.mark.parametrize("notes", ["", "Ask Ann", "Ask Ann\n\nand Bob\n", "kubeferry.stopped: not ours"])
def test_what_people_wrote_is_found_again_below_the_line(notes: str) -> None:
    marked = "\n".join(filter(None, (f"{NAME}: {mark()}", notes)))
    assert text_of(props(notes=marked)) == line(props(notes=marked)) == mark()
    assert without(marked) == (notes or None)
    assert without(notes) == (notes or None)


def test_of_two_marks_the_newer_one_counts() -> None:
    assert text_of(props(mark(LATER), f"{NAME}: {mark()}")) == mark(LATER)
    assert text_of(props(mark(), f"{NAME}: {mark(off=LATER)}")) == mark(off=LATER)


def test_what_is_not_ours_is_no_mark() -> None:
    assert text_of(props("somebody's own", f"Ask {NAME}: Ann")) is None
    assert text_of({}) is None
