"""Windows as a run, the command line, `status`, `windows` and a dry run tell them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kubeferry.config import read_config
from kubeferry.documents import Plan, load
from kubeferry.journal import Journal
from kubeferry.life.events import CutoverBegun, Note
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import running_machines

Command = Callable[..., tuple[int, str, str]]
NAMES = ("alpha", "beta", "gamma")
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
windows:
  shut: {SHUT, timeZone: Europe/Vienna}
  open: {OPEN, timeZone: UTC, capacity: 5}
machines:
  alpha: {window: shut}
  beta: {window: shut, mode: warm, warm: {rounds: 2, enoughBytes: 0}}
  gamma: {window: open, after: [alpha]}
"""


def hours(begins: float, ends: float) -> str:
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(hours=one):%Y-%m-%dT%H:%M}" for one in (begins, ends))
    return f"start: {start}, end: {end}"


class Estate:
    """alpha is cold and beta warm, and their window is closed; gamma's is open, and it comes after alpha."""

    def __init__(self, kubeferry: Command, folder: Path) -> None:
        self.kubeferry, self.folder, self.source = kubeferry, folder, MemorySource("lab", folder / "source")
        running_machines(self.source, folder, NAMES)
        kubeferry("discover")
        self.planned(POLICY.replace("SHUT", hours(30, 34)).replace("OPEN", hours(-1, 3)))

    def planned(self, policy: str) -> str:
        (self.folder / "policy.yaml").write_text(policy)
        (self.folder / "plan.yaml").unlink(missing_ok=True)
        code, out, err = self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
        assert code == 0, err
        return out

    def off(self) -> set[str]:
        return {one.name for one in self.source.discover().machines if self.source.power(one) is Power.OFF}

    def events(self, name: str) -> list[Any]:
        plan = load(self.folder / "plan.yaml", Plan)
        with Journal.open(read_config(self.folder / "kubeferry.yaml").journal) as journal:
            return [record.event for record in journal.events(plan.digest, name)]


@pytest.fixture
def estate_in_windows(kubeferry: Command, estate: Path, no_server: None) -> Estate:
    return Estate(kubeferry, estate)


@pytest.fixture
def nights(estate_in_windows: Estate) -> Estate:
    return estate_in_windows


def test_a_plan_names_the_windows_of_its_waves(nights: Estate) -> None:
    saturdays = POLICY.replace("SHUT", "start: '21:00', end: '05:00', days: [sat]")
    out = nights.planned(saturdays.replace("OPEN", hours(1, 2)))
    assert "window shut: sat 21:00 to 05:00 (Europe/Vienna)" in out
    assert "at most 5 machines an opening" in out
    rows = [line.split() for line in out.splitlines() if set(NAMES) & set(line.split()) and "default/" in line]
    assert [row[-1] for row in rows] == ["shut", "shut", "open"]


def test_outside_their_window_machines_are_deferred_and_warm_ones_are_copied_ahead(nights: Estate) -> None:
    code, out, err = nights.kubeferry("migrate", "plan.yaml")
    assert code == 1
    assert nights.off() == set()
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith(NAMES)}
    assert "deferred" in rows["alpha"]
    assert "its window shut is closed; it opens next" in rows["alpha"]
    assert "deferred" in rows["beta"]
    assert "held back: it comes after alpha, which has not moved yet" in rows["gamma"]
    assert "deferred: 2 machines. Run the same command again then" in err
    assert nights.events("alpha") == []
    assert {event.kind for event in nights.events("beta")} >= {"synced"}
    assert not any(isinstance(event, CutoverBegun) for event in nights.events("beta"))


def test_where_nothing_can_be_done_the_next_opening_is_told_and_nothing_asked(nights: Estate) -> None:
    code, out, err = nights.kubeferry("migrate", "plan.yaml", "-m", "alpha")
    assert code == 1
    assert "nothing was begun: no window is open" in err
    assert "its window shut is closed; it opens next" in err
    assert "(Europe/Vienna)" in err
    told = json.loads(nights.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--json")[1].splitlines()[0])
    assert told[0]["phase"] == "deferred"
    assert datetime.fromisoformat(told[0]["nextOpening"]) > datetime.now(UTC)
    assert "deferred" in out


def test_a_person_stops_a_machine_outside_its_window_with_a_reason(nights: Estate) -> None:
    code, _out, err = nights.kubeferry("migrate", "plan.yaml", "--out-of-window", "the array is dying")
    assert code == 2
    assert "name the machines" in err
    assert nights.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--out-of-window", " ")[0] == 2
    assert nights.off() == set()
    code, out, err = nights.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--out-of-window", "the array is dying")
    assert (code, nights.off()) == (0, {"alpha"}), (out, err)
    (note,) = [event.text for event in nights.events("alpha") if isinstance(event, Note)]
    assert note.endswith(": the array is dying; its window is shut")
    assert nights.kubeferry("migrate", "plan.yaml", "-m", "gamma")[0] == 0  # in its window, after alpha
    (begun,) = [event for event in nights.events("gamma") if isinstance(event, CutoverBegun)]
    assert begun.window == "open"
    assert begun.projected is not None
    assert begun.projected.machines == 1


def test_status_and_a_dry_run_tell_when_it_opens_and_what_is_projected(nights: Estate) -> None:
    nights.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--out-of-window", "first")
    nights.kubeferry("precopy", "plan.yaml")
    _code, out, _err = nights.kubeferry("status", "plan.yaml")
    assert "shut: opens next" in out
    assert "open: open, " in out
    assert "downtime, projected" in out
    told = json.loads(nights.kubeferry("status", "plan.yaml", "--json")[1].splitlines()[-1])
    by_name = {one["machine"]: one for one in told["machines"]}
    assert "projected" not in by_name["alpha"]
    assert by_name["beta"]["window"]["open"] is False
    assert by_name["beta"]["window"]["nextOpening"]
    assert by_name["gamma"]["window"]["open"] is True
    parts = {part["name"]: part["seconds"] for part in by_name["beta"]["projected"]["parts"]}
    assert parts["stop"]["low"] <= parts["stop"]["likely"] <= parts["stop"]["high"]
    assert parts["copy"] is None
    assert "copy: what it writes is known from its second round on" in by_name["beta"]["projected"]["missing"]
    _code, out, _err = nights.kubeferry("migrate", "plan.yaml", "-m", "beta", "--dry-run")
    assert "downtime projected: stop " in out
    assert "window shut: opens next" in out


def test_windows_are_told_with_what_fits_in(nights: Estate) -> None:
    code, out, err = nights.kubeferry("windows", "plan.yaml")
    assert code == 0, err
    assert "2 machines: alpha, beta; not all is known yet of alpha, beta" in out
    assert "1 machine: gamma" in out
    assert "total: 3 machines not begun" in out
    told = json.loads(nights.kubeferry("windows", "plan.yaml", "--json")[1].splitlines()[-1])
    assert [(one["window"], one["machines"]) for one in told["openings"]] == [
        ("open", ["gamma"]),
        ("shut", ["alpha", "beta"]),
    ]


def test_a_plan_without_windows_moves_as_before(nights: Estate) -> None:
    nights.planned("apiVersion: kubeferry.io/v1alpha1\nkind: Policy\nprobes: [{kind: agent}]\n")
    assert "any time" in nights.kubeferry("windows", "plan.yaml")[1]
    assert nights.kubeferry("migrate", "plan.yaml")[0] == 0
    assert nights.off() == set(NAMES)


def test_what_moves_as_one_is_deferred_once_and_each_of_it_is_told(nights: Estate) -> None:
    together = "apps: {shop: {members: [alpha, beta], together: true}}\n"
    nights.planned(POLICY.replace("SHUT", hours(30, 34)).replace("OPEN", hours(-1, 3)) + together)
    code, _out, err = nights.kubeferry("migrate", "plan.yaml", "-m", "alpha", "-m", "beta")
    assert (code, nights.off()) == (1, set())
    assert "deferred: 2 machines" in err
