"""What a machine that does not move holds back, as a run, the command line, `status` and Prefect tell it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.migrate import Run, run_plan
from flows.progress import Board
from flows.told import Audience, Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan, freeze, load, save
from kubeferry.errors import HeldBack, KubeferryError, LoginLost, TargetRefused
from kubeferry.journal import Journal
from kubeferry.life import tries
from kubeferry.life.action_kinds import Goal
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import running_machines

Command = Callable[..., tuple[int, str, str]]
NAMES = ("alpha", "beta", "gamma", "delta")
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
WAVES
machines:
  alpha: {wave: wave-1}
  beta: {wave: wave-2, after: [alpha]}
  gamma: {wave: wave-3, after: [beta]}
  delta: {wave: wave-3}
"""


class Estate:
    """Four machines that run: beta comes after alpha, gamma after beta; delta is in the last wave by its number."""

    def __init__(self, kubeferry: Command, folder: Path) -> None:
        self.kubeferry, self.folder, self.source = kubeferry, folder, MemorySource("lab", folder / "source")
        running_machines(self.source, folder, NAMES)
        kubeferry("discover")
        self.planned("")

    def planned(self, waves: str) -> None:
        (self.folder / "policy.yaml").write_text(POLICY.replace("WAVES", waves))
        (self.folder / "plan.yaml").unlink(missing_ok=True)
        assert self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")[0] == 0

    @property
    def plan(self) -> Plan:
        return load(self.folder / "plan.yaml", Plan)

    def off(self) -> set[str]:
        return {one.name for one in self.source.discover().machines if self.source.power(one) is Power.OFF}

    def events(self, name: str) -> list[Any]:
        with Journal.open(read_config(self.folder / "kubeferry.yaml").journal) as journal:
            return [record.event for record in journal.events(self.plan.digest, name)]

    def run(
        self, *names: str, refused: dict[str, KubeferryError] | None = None, shown: Audience | None = None
    ) -> dict[str, Outcome]:
        config, plan = read_config(self.folder / "kubeferry.yaml"), self.plan
        with Journal.open(config.journal) as journal:
            journal.keep_plan(plan)
            run = Run(plan, config, journal, Board(quiet=True), Goal.MIGRATE, shown or Audience())
            run.refused = refused or {}
            return {one.machine: one for one in run_plan(run, names or NAMES)}


@pytest.fixture
def waves(kubeferry: Command, estate: Path, no_server: None, monkeypatch: pytest.MonkeyPatch) -> Estate:
    monkeypatch.setattr(tries, "DELAYS_SECONDS", [])
    return Estate(kubeferry, estate)


def phases(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: one.phase for name, one in outcomes.items()}


def test_a_machine_that_fails_holds_back_what_depends_on_it_and_nothing_else(waves: Estate) -> None:
    waves.source.write_deaf("alpha")
    outcomes = waves.run()
    assert phases(outcomes) == {"alpha": "failed", "beta": "not begun", "gamma": "not begun", "delta": "committed"}
    beta, gamma = outcomes["beta"].error, outcomes["gamma"].error
    assert isinstance(beta, HeldBack)
    assert isinstance(gamma, HeldBack)
    assert str(beta).startswith(
        "beta: it is held back: it comes after alpha, which was rolled back: after a failure: the"
    )
    assert gamma.what.startswith("it is held back: it comes after beta; beta waits for alpha, which was rolled back")
    assert (beta.by, gamma.by) == (("alpha",), ("beta",))
    assert waves.events("beta") == []
    assert waves.off() == {"delta"}


def test_who_was_held_back_goes_on_with_the_same_command(waves: Estate) -> None:
    refusal = TargetRefused("its name is taken", machine="alpha")
    outcomes = waves.run(refused={"alpha": refusal})
    assert phases(outcomes)["delta"] == "committed"
    assert "alpha, which has failed: its name is taken" in str(outcomes["beta"].error)
    assert set(phases(waves.run()).values()) == {"committed"}


def test_a_machine_that_was_rolled_back_holds_back_what_comes_after_it(waves: Estate) -> None:
    waves.run("alpha")
    assert waves.kubeferry("rollback", "plan.yaml", "-m", "alpha")[0] == 0
    code, _out, err = waves.kubeferry("migrate", "plan.yaml", "-m", "beta")
    assert code == 2
    assert "it comes after alpha, which was rolled back" in err


def test_one_alone_is_refused_before_what_it_comes_after_has_moved_with_the_words_how_to_insist(waves: Estate) -> None:
    code, out, err = waves.kubeferry("migrate", "plan.yaml", "-m", "beta")
    assert code == 2
    assert "nothing was begun: what these machines wait for has not moved" in err
    assert "--machine beta: it comes after alpha, which has not moved yet" in err
    assert "--out-of-order" in err
    assert "total: 1 machine (1 not begun, 1 held back)" in out
    assert waves.off() == set()
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "beta")[0] == 0
    assert waves.off() == {"alpha", "beta"}


def test_beside_others_it_is_held_back_and_they_go_on(waves: Estate) -> None:
    code, out, _err = waves.kubeferry("migrate", "plan.yaml", "-m", "beta", "-m", "delta", "--json")
    told = {one["machine"]: one for one in json.loads(out.splitlines()[-1])}
    assert code == 2
    assert (told["beta"]["phase"], told["delta"]["phase"]) == ("not begun", "committed")
    assert told["beta"]["waitsFor"] == ["alpha"]
    assert told["beta"]["heldBack"] == "it comes after alpha, which has not moved yet"


def test_out_of_order_moves_it_and_who_said_so_stands_in_the_journal(waves: Estate) -> None:
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "beta", "--out-of-order")[0] == 0
    kinds = [str(event.kind) for event in waves.events("beta")]
    assert kinds[:2] == ["planned", "note"]
    assert waves.events("beta")[1].text.endswith("moves it out of order: it comes after alpha, which has not moved yet")
    assert " on " in waves.events("beta")[1].text.partition(" moves")[0]
    assert waves.off() == {"beta"}


def test_out_of_order_is_said_of_machines_that_are_named(waves: Estate) -> None:
    code, _out, err = waves.kubeferry("migrate", "plan.yaml", "--out-of-order")
    assert code == 2
    assert "--machine" in err


def test_nothing_is_said_of_the_order_where_nothing_was_out_of_it(waves: Estate) -> None:
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--out-of-order")[0] == 0
    assert "note" not in [str(event.kind) for event in waves.events("alpha")]


def test_what_is_under_way_goes_on_though_it_began_out_of_order(waves: Estate) -> None:
    waves.source.write_faults("open_round", LoginLost)  # which leads nobody back
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "beta", "--out-of-order")[0] == 2
    assert waves.off() == {"beta"}
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "beta")[0] == 0


def test_a_dry_run_says_who_is_held_back(waves: Estate) -> None:
    code, out, _err = waves.kubeferry("migrate", "plan.yaml", "-m", "beta", "--dry-run")
    assert (code, out.splitlines()) == (
        0,
        [
            "beta  (wave wave-2)",
            "  held back: it comes after alpha, which has not moved yet",
            "  downtime projected: not known: no machine has moved yet",
        ],
    )
    told = json.loads(waves.kubeferry("migrate", "plan.yaml", "-m", "beta", "--dry-run", "--json")[1])
    assert told[0].pop("projected")["downtime"] is None
    assert told == [
        {
            "machine": "beta",
            "wave": "wave-2",
            "actions": [],
            "heldBack": "it comes after alpha, which has not moved yet",
            "waitsFor": ["alpha"],
        }
    ]
    out = waves.kubeferry("migrate", "plan.yaml", "-m", "beta", "--dry-run", "--out-of-order")[1]
    assert "held back" not in out
    assert "begin-cutover" in out
    assert "held back" not in waves.kubeferry("migrate", "plan.yaml", "--dry-run")[1]


def test_status_names_who_is_held_back_and_why(waves: Estate) -> None:
    waves.source.write_deaf("alpha")
    waves.run()
    out = waves.kubeferry("status", "plan.yaml")[1]
    assert "held back: it comes after alpha, which was rolled back: after a failure: the machine does not stop" in out
    assert "held back: it comes after beta; beta waits for alpha, which was rolled back" in out
    assert "2 machines are held back" in out
    told = json.loads(waves.kubeferry("status", "plan.yaml", "--json")[1].splitlines()[-1])
    by_name = {one["machine"]: one for one in told["machines"]}
    assert by_name["beta"]["waitsFor"] == ["alpha"]
    assert by_name["beta"]["heldBack"].startswith("it comes after alpha, which was rolled back")
    assert "heldBack" not in by_name["alpha"]
    assert told["summary"]["heldBack"] == ["beta", "gamma"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("waves: {inOrder: true}", {"beta": "not begun", "gamma": "not begun", "delta": "not begun"}),
        ("waves: {stopAfter: {failures: 1}}", {"beta": "not begun", "gamma": "not begun", "delta": "not begun"}),
        ("waves: {stopAfter: {failures: 2}}", {"beta": "not begun", "gamma": "not begun", "delta": "committed"}),
    ],
)
def test_later_waves_are_held_back_where_the_policy_says_so(waves: Estate, rule: str, expected: dict[str, str]) -> None:
    waves.planned(rule)
    waves.source.write_deaf("alpha")
    assert phases(waves.run()) == {"alpha": "failed"} | expected
    out = waves.kubeferry("status", "plan.yaml")[1]
    assert ("wave wave-1 has stopped" in out) == ("failures: 1" in rule)


def test_a_wave_that_has_stopped_goes_on_once_what_failed_has_moved(waves: Estate) -> None:
    """In the same run: what was held back for it has another turn."""
    (waves.folder / "source" / "alpha.img").rename(waves.folder / "source" / "away")
    waves.planned("waves: {stopAfter: {failures: 1}}")
    assert phases(waves.run("alpha", "delta")) == {"alpha": "failed", "delta": "not begun"}
    (waves.folder / "source" / "away").rename(waves.folder / "source" / "alpha.img")
    assert set(phases(waves.run()).values()) == {"committed"}


def test_what_is_refused_tells_its_own_reason_though_it_waits_for_another_one(waves: Estate) -> None:
    refused: dict[str, KubeferryError] = {
        name: TargetRefused(f"the name of {name} is taken", machine=name) for name in ("alpha", "beta")
    }
    outcomes = waves.run(refused=refused)
    assert "the name of beta is taken" in str(outcomes["beta"].error)
    assert phases(outcomes)["gamma"] == "not begun"


def test_a_wave_that_has_stopped_refuses_one_that_is_named_alone(waves: Estate) -> None:
    waves.planned("waves: {stopAfter: {failures: 1}}")
    waves.source.write_deaf("alpha")
    waves.run("alpha")
    code, _out, err = waves.kubeferry("migrate", "plan.yaml", "-m", "delta")
    assert code == 2
    assert "wave wave-1 has stopped: 1 of 1 machines that came to an end there have failed or went back (alpha)" in err
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "delta", "--out-of-order")[0] == 0


def test_in_a_plan_of_an_earlier_version_waves_are_in_order(waves: Estate) -> None:
    entries = tuple(one.model_copy(update={"after": None}) for one in waves.plan.entries)
    save(freeze(waves.plan.model_copy(update={"entries": entries, "order": None})), waves.folder / "plan.yaml")
    code, _out, err = waves.kubeferry("migrate", "plan.yaml", "-m", "delta")
    assert code == 2
    assert "--machine delta: it is in a later wave than alpha, which has not moved yet" in err


def test_what_another_plan_has_moved_is_waited_for_no_more(waves: Estate) -> None:
    waves.run("alpha")
    waves.planned("labels: {number: two}")
    assert "held back" in waves.kubeferry("status", "plan.yaml")[1]
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "beta")[0] == 0


def test_a_plan_says_what_waits_for_what_and_what_a_failure_holds_back(waves: Estate) -> None:
    (waves.folder / "plan.yaml").unlink()
    out = waves.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")[1]
    assert "beta waits until alpha has moved" in out
    assert "a machine that does not move holds back those that come after it, and no others; a wave stops once 3" in out
    assert waves.plan.entry("beta").after == ("alpha",)
    assert waves.plan.entry("alpha").after is None


def test_whoever_shows_the_run_is_told_who_is_held_back(waves: Estate) -> None:
    told: dict[str, str] = {}

    class Told(Audience):
        def held(self, machine: str, why: str) -> None:
            told[machine] = why

    waves.source.write_deaf("alpha")
    waves.run(shown=Told())
    assert set(told) == {"beta", "gamma"}
    assert told["beta"].startswith("it comes after alpha, which was rolled back")


def test_a_stop_that_is_lifted_lets_the_wave_go_on_and_who_did_it_is_known(waves: Estate) -> None:
    waves.planned("waves: {stopAfter: {failures: 1}}")
    waves.source.write_deaf("alpha")
    waves.run("alpha")
    code, _out, err = waves.kubeferry("lift", "plan.yaml", "--wave", "wave-2")
    assert code == 2
    assert "there is nothing to lift" in err
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "delta")[0] == 2
    code, out, err = waves.kubeferry("lift", "plan.yaml", "--wave", "wave-1", "--reason", "the disk was replaced")
    assert code == 0
    assert "wave wave-1 has stopped: 1 of 1 machines" in err
    assert re.match(r"the stop of wave wave-1 is lifted by \S+ on \S+: alpha count no more\n", out)
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "delta")[0] == 0
    assert re.search(
        r"stop lifted by \S+ on \S+ \(claimed\) 20\S+Z: wave wave-1", waves.kubeferry("status", "plan.yaml")[1]
    )
    assert waves.kubeferry("report", "plan.yaml")[0] == 0
    (told,) = json.loads((waves.folder / "report.json").read_text())["decisions"]
    assert (told["what"], told["about"]) == ("stop of the wave lifted", "wave wave-1 (alpha)")
    assert told["said"].startswith("the disk was replaced; wave wave-1 has stopped")
    assert waves.kubeferry("lift", "plan.yaml", "--wave", "wave-1")[0] == 2, "it is lifted already"


def test_what_fails_after_a_lift_stops_the_wave_again(waves: Estate) -> None:
    waves.planned("waves: {stopAfter: {failures: 1}}")
    waves.source.write_deaf("alpha")
    waves.run("alpha")
    assert waves.kubeferry("lift", "plan.yaml", "--wave", "wave-1", "--json")[0] == 0
    assert waves.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--again")[0] == 2
    code, _out, err = waves.kubeferry("migrate", "plan.yaml", "-m", "delta")
    assert code == 2
    assert "since its stop was lifted" in err
