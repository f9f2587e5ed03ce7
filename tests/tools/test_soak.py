"""The soak: every kind is tried, what is wrong is told with the line that does it again, and nothing is left of it."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections import Counter
from functools import reduce
from pathlib import Path

import pytest

from kubeferry.outside import process
from soak import batch, running
from soak.data.points import POINTS
from soak.kinds import ALL, Kind, missing
from soak.tally import Tally, Told, read, table
from soak.trial import Trial, Wrong
from tests.needs import needs, or_skip

# They look at what a soak leaves in memory, and would see each other's.
pytestmark = pytest.mark.xdist_group("soak")

ROOT = Path(__file__).resolve().parents[2]
TRIED = [kind for kind in ALL if kind.name != "ova"]  # of which one trial takes a quarter of a minute
MODULE = """
import os, subprocess, sys, time
from pathlib import Path
from soak import kinds
from soak.kinds import Kind
from soak.trial import Trial, Wrong

def right(given):
    given.point("a fault")

def wrong(given):
    given.point("a fault")
    given.hold("a promise", given.seed != 8, "seen")

def crash(given):
    os.abort()

def hang(given):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (given.folder / "here").touch()
    time.sleep(600)

for run in (right, wrong, crash, hang):
    kinds.KINDS[run.__name__] = Kind(run.__name__, "", run)
"""


@pytest.fixture
def doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds of a test's own, in every interpreter that a soak starts."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.path.insert(0, " + repr(str(ROOT)) + ")\n"
        "if 'soak.batch' in sys.orig_argv:\n" + "".join(f"    {line}\n" for line in MODULE.splitlines())
    )
    monkeypatch.setattr(running, "ROOT", f"{tmp_path}{os.pathsep}{ROOT}")


def a_kind(name: str, limit: float = 60) -> Kind:
    def run(given: Trial) -> None:
        raise AssertionError("only in a batch")

    return Kind(name, "", run, limit=limit)


def soaked(kind: Kind, cases: int) -> Tally:
    return running.soak([kind], seed=7, seconds=60, cases=cases, jobs=1, say=lambda _text: None)[0]


@pytest.mark.parametrize("kind", TRIED, ids=lambda kind: kind.name)
def test_a_trial_of_each_kind_ends_right(kind: Kind) -> None:
    if gone := missing(kind):
        or_skip(RuntimeError(f"missing: {gone}"))
    tally = soaked(kind, 1)
    assert [str(fault) for fault in tally.faults] == []
    assert tally.cases == 1
    assert tally.survived == tally.points


@pytest.mark.parametrize("place", POINTS.values())
def test_a_point_is_there(place: str) -> None:
    module, _, name = place.partition(":")
    assert callable(reduce(getattr, name.split("."), importlib.import_module(module)))


@pytest.mark.usefixtures("doubles")
def test_what_is_wrong_is_told_with_the_line_that_does_it_again() -> None:
    tally = soaked(a_kind("wrong"), 3)
    assert [str(fault) for fault in tally.faults] == [
        "wrong, seed 8: a promise: seen\na fault\n  again: make soak KIND=wrong SEED=8 CASES=1"
    ]
    assert (tally.cases, tally.points["a fault"], tally.survived["a fault"]) == (3, 3, 2)


@pytest.mark.usefixtures("doubles")
def test_a_trial_that_dies_is_wrong() -> None:
    (fault,) = soaked(a_kind("crash"), 1).faults
    assert fault.seed == 7
    assert "it died with -6" in fault.seen


@pytest.mark.usefixtures("doubles")
def test_a_trial_that_hangs_is_ended_and_nothing_of_it_is_left() -> None:
    before = set(running.MEMORY.glob("kubeferry-soak-*"))
    (fault,) = soaked(a_kind("hang", limit=6), 1).faults
    assert "it hangs: no end within 6 s" in fault.seen
    assert "in hang" in fault.seen
    assert set(running.MEMORY.glob("kubeferry-soak-*")) == before
    assert not marked()


def marked() -> list[bytes]:
    """Processes of a soak that run. One that was killed is gone in a moment."""
    for _ in range(50):
        found = []
        for place in Path("/proc").glob("[0-9]*/environ"):
            try:
                content = place.read_bytes()
            except OSError:
                continue
            if f"{running.MARK}=".encode() in content and b"test_soak.py::test_a_trial_that_hangs" in content:
                found.append(content)
        if not found:
            return []
        time.sleep(0.1)
    return found


@needs("root", "losetup", "mount")
def test_loop_devices_and_mounts_go_with_a_batch(tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    (folder / "mnt").mkdir(parents=True)
    with (folder / "backing").open("wb") as file:
        file.truncate(1 << 20)
    try:
        device = process.run(["losetup", "--find", "--show", str(folder / "backing")]).out.strip()
        process.run(["mount", "-t", "tmpfs", "none", str(folder / "mnt")])
    except Exception as error:  # noqa: BLE001 (a machine that has no such thing)
        or_skip(error)
    running.sweep(folder)
    assert not folder.exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert process.run(["losetup", device], check=False).code != 0


def test_a_trial_that_raises_what_is_no_error_of_ours_is_wrong(tmp_path: Path) -> None:
    def run(given: Trial) -> None:
        given.point("a fault")
        raise ValueError("odd")

    told = batch.tried(run, 3, tmp_path / "3")
    assert "nothing is raised but errors: odd" in str(told["wrong"])
    assert not (tmp_path / "3").exists()


@pytest.mark.parametrize("error", [ValueError("odd"), OSError("odd")])
def test_an_error_that_is_none_of_ours_has_no_words(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(Wrong, match="errors are told in words"):
        Trial(1, tmp_path).in_words(error)


def test_lines_that_were_cut_off_are_not_read() -> None:
    told = read(['{"begun": 4}\n', '{"ended": 4, "points": {"a": 2}, "wrong": ""}\n', '{"begun": 5}\n', '{"ende'], 4)
    assert (told.cases, told.survived, told.last) == (1, {"a": 2}, 5)


def test_the_table_counts_points_and_says_what_was_left_out() -> None:
    tally = Tally("bits", "")
    tally.add(Told(9, 2, Counter({"a bit": 3}), Counter({"a bit": 1})))
    assert table([tally, Tally("thin", "", left_out="root")]).splitlines()[2:] == [
        "| **bits** | 2 | 3 | 1 |",
        "| - a bit | | 3 | 1 |",
        "| thin | left out: root | | |",
    ]


def test_the_program_says_its_seed_and_ends_with_what_came_of_it() -> None:
    argv = [sys.executable, "-m", "soak", "--kind", "bits", "--cases", "1", "--seed", "5"]
    done = process.run(argv, cwd=ROOT, check=False)
    assert done.code == 0, done.out + done.err
    assert done.out.splitlines()[0] == "seed 5, 1 kinds"
    assert done.out.splitlines()[-1] == "0 wrong"
    assert (ROOT / "build" / "soak.md").read_text() in done.out + "\n"
