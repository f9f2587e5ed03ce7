"""What is asked before a source stops: whom it is about, who is out, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Config, Inventory, KeptVariables, Plan, Policy, SourceConfig, SshAccess, TargetConfig
from kubeferry.errors import InputInvalid, SourceRefused, SourceUnavailable, TargetRefused, TargetUnavailable
from kubeferry.life.events import Synced
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import Concern, Machine, Power, Severity
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps import beforehand
from kubeferry.steps.beforehand import ask, untouched
from kubeferry.targets import Reach
from kubeferry.targets.memory import target as memory
from kubeferry.targets.memory.target import MemoryTarget
from lab.machines import a_disk, a_machine
from mappings.plan import make_plan

NAMES = ("app", "db", "web")


def critical(identity: str, what: str) -> Concern:
    return Concern(id=identity, severity=Severity.CRITICAL, what=what, fix="Mend it.")


class World:
    """A plan of three machines, with a source and a target that a test sets up."""

    def __init__(self, folder: Path) -> None:
        self.source = MemorySource("lab", folder)
        machines = tuple(self._machine(folder, name) for name in NAMES)
        self.source.write_machines(*machines)
        self.config = Config(
            sources={"lab": SourceConfig(kind="memory", uri=f"memory://{folder}")},
            target=TargetConfig(kind="memory", path=str(folder)),
        )
        inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01", machines=machines)
        self.plan: Plan = make_plan(inventory, Policy(), name="three", created_at="2026-01-01")
        self.target: MemoryTarget = memory.connect(self.config.target)

    @staticmethod
    def _machine(folder: Path, name: str) -> Machine:
        image = folder / f"{name}.img"
        image.write_bytes(b"\x55" * 2**20)
        return a_machine(name, a_disk(image), power=Power.RUNNING)

    def ask(self, *names: str) -> beforehand.Asked:
        return ask(self.config, self.plan, names or NAMES)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    memory._opened.pop(str(tmp_path), None)


def test_nothing_speaks_against_them_and_the_stop_is_named(world: World) -> None:
    asked = world.ask()
    assert (dict(asked.refused), asked.barred, asked.tried) == ({}, (), NAMES)
    (told,) = asked.concerns
    assert (told.id, told.severity) == ("move.only-the-stop-shows", Severity.INFO)
    assert "only the stop shows of 3 running machines" in told.what
    asked.check()


def test_who_is_refused_by_the_source_is_out_alone_and_not_tried(world: World, tmp_path: Path) -> None:
    (tmp_path / "db.img").unlink()
    tried: list[str] = []
    world.target.trial = lambda entries, _reach: tried.extend(one.name for one in entries) or {}  # type: ignore[method-assign]
    asked = world.ask()
    assert set(asked.refused) == {"db"}
    assert asked.tried == ("app", "web")
    assert tried == ["app", "web"]
    error = asked.errors()["db"]
    assert isinstance(error, SourceRefused)
    assert (error.machine, error.exit_code) == ("db", 2)
    assert "db.img" in error.why
    assert error.fix


def test_a_machine_that_is_gone_is_out_and_a_source_that_is_away_is_asked_again(world: World) -> None:
    world.source.write_faults("concerns", SourceRefused, SourceUnavailable)
    asked = world.ask()
    assert set(asked.refused) == {"app"}
    away = [one for one in asked.concerns if one.severity is Severity.WARNING]
    assert [one.id for one in away] == ["source.not-asked"]
    assert away[0].what.startswith("db: ")
    assert asked.tried == ("db", "web")


def test_who_was_copied_ahead_is_asked_about_and_not_tried_for_each_round(world: World) -> None:
    """A trial's claims count towards quotas that the machine's own may fill."""
    world.target.refusals["web"] = [critical("trial.refused", "web: no mover can be tried: exceeded quota")]
    rounds = (Synced(round=1),)
    shown = beforehand.copied_ahead({"web": MachineState(phase=Phase.SYNCED, rounds=rounds), "db": MachineState()})
    assert shown == {"web"}
    asked = ask(world.config, world.plan, NAMES, shown)
    assert (dict(asked.refused), asked.tried) == ({}, ("app", "db"))
    world.source.write_faults("concerns", SourceRefused, SourceRefused, SourceRefused)
    assert set(ask(world.config, world.plan, NAMES, shown).refused) == set(NAMES)


@pytest.mark.parametrize("kept", [True, False])
def test_uefi_variables_that_the_plan_carries_and_that_cannot_be_read_refuse_their_machine(
    world: World, tmp_path: Path, kept: bool
) -> None:
    (tmp_path / "db.variables").write_bytes(b"something else" * 100)
    carries = KeptVariables(claim="persistent-state-for-db", file="nvram/db_VARS.fd") if kept else None
    entries = tuple(entry.model_copy(update={"variables": carries}) for entry in world.plan.entries)
    world.plan = world.plan.model_copy(update={"entries": entries})
    asked = world.ask()
    assert set(asked.refused) == ({"db"} if kept else set())
    if kept:
        (told,) = asked.refused["db"]
        assert told.id == "source.variables"
        assert "is no store of OVMF's" in told.what
        assert "keepVariables: false" in told.fix


def test_a_trial_that_fails_is_its_machines_own(world: World) -> None:
    world.target.refusals["web"] = [critical("trial.refused", "web: no mover can be tried: no such Secret")]
    world.target.refusals["db"] = [critical("trial.unavailable", "db: no mover can be tried: no answer")]
    asked = world.ask()
    errors = asked.errors()
    assert asked.tried == ("app",)
    assert isinstance(errors["web"], TargetRefused)
    assert isinstance(errors["db"], TargetUnavailable), "the same command may go well later, and its exit code says so"
    assert "no such Secret" in errors["web"].why


def test_of_nothing_that_is_left_each_reason_is_told_once_and_what_may_pass_is_tried_again() -> None:
    away, taken = critical("trial.unavailable", "no answer"), critical("name-taken", "web is taken")
    passing = beforehand.Asked(refused={"web": (away,), "db": (away,)}).nothing_left("three")
    assert (passing.exit_code, passing.transient) == (1, True)
    assert passing.why == "no answer"
    final = beforehand.Asked(refused={"web": (away, taken)}).nothing_left("three")
    assert final.exit_code == 2
    assert str(final).splitlines()[1:] == [
        "  - trial.unavailable: no answer. Mend it.",
        "  - name-taken: web is taken. Mend it.",
    ]


def test_a_defect_in_one_machine_does_not_cost_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MemorySource.concerns
    monkeypatch.setattr(
        MemorySource, "concerns", lambda self, one: int(one.id) if one.name == "db" else real(self, one)
    )
    asked = world.ask()
    assert set(asked.refused) == {"db"}
    assert asked.tried == ("app", "web")
    assert "a defect: ValueError" in asked.errors()["db"].why


@pytest.mark.parametrize("error", [ValueError("odd"), TargetRefused("odd", fix="Mend it.")])
def test_what_the_target_raises_for_one_machine_does_not_cost_the_others(world: World, error: Exception) -> None:
    def concerns(entries: tuple[Any, ...]) -> list[Concern]:
        if any(entry.name == "db" for entry in entries):
            raise error
        return []

    world.target.concerns = concerns  # type: ignore[method-assign]
    asked = world.ask()
    assert set(asked.refused) == {"db"}
    assert asked.tried == ("app", "web")
    assert "odd" in asked.errors()["db"].why


def test_what_the_target_raises_without_any_machine_is_its_own(world: World) -> None:
    def concerns(_entries: tuple[Any, ...]) -> list[Concern]:
        raise ValueError("odd")

    world.target.concerns = concerns  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="odd"):
        world.ask()


class Judge:
    """A target that refuses machines by name, too many at once, or everything."""

    def __init__(self, *, bad: tuple[str, ...] = (), most: int = 9, always: bool = False) -> None:
        self.bad, self.most, self.always = bad, most, always
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, entries: tuple[Any, ...]) -> list[Concern]:
        names = tuple(entry.name for entry in entries)
        self.asked.append(names)
        found = [critical("name-taken", f"{name} is taken") for name in names if name in self.bad]
        found += [critical("quota.exceeded", f"{len(names)} are too many")] if len(names) > self.most else []
        return found + ([critical("cluster.nothing", "no KubeVirt")] if self.always else [])


@pytest.mark.parametrize(
    ("judge", "refused", "barred"),
    [
        (Judge(), set(), []),
        (Judge(bad=("db",)), {"db"}, []),
        (Judge(bad=("app", "web")), {"app", "web"}, []),
        (Judge(bad=NAMES), set(NAMES), []),
        (Judge(most=2), set(), ["quota.exceeded"]),
        (Judge(bad=("db",), most=2), {"db"}, []),
        (Judge(bad=("db",), most=1), {"db"}, ["quota.exceeded"]),
        (Judge(always=True), set(), ["cluster.nothing"]),
    ],
    ids=["nobody", "one", "two", "all", "together", "fits-without", "too-many-without", "everything"],
)
def test_what_the_target_has_against_them(world: World, judge: Judge, refused: set[str], barred: list[str]) -> None:
    world.target.concerns = judge  # type: ignore[method-assign]
    asked = world.ask()
    assert set(asked.refused) == refused
    assert [one.id for one in asked.barred] == barred
    assert judge.asked[0] == NAMES
    if barred:
        assert asked.tried == (), "nothing is tried where nothing can be moved"
        with pytest.raises(InputInvalid, match="the target cannot take this plan"):
            asked.check()


def test_of_one_machine_the_target_is_asked_once(world: World) -> None:
    judge = Judge(bad=("db",))
    world.target.concerns = judge  # type: ignore[method-assign]
    assert set(world.ask("db").refused) == {"db"}
    assert judge.asked == [("db",)]


def test_nobody_to_ask_about_is_nobody_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beforehand, "open_target", lambda _config: pytest.fail("the target is asked"))
    assert ask(world.config, world.plan, ()) == beforehand.Asked()


def test_who_is_under_way_or_has_moved_is_left_alone() -> None:
    states = {
        "copied": MachineState(phase=Phase.SYNCED),
        "stopping": MachineState(phase=Phase.CUTTING_OVER),
        "moved": MachineState(phase=Phase.COMMITTED),
        "back": MachineState(phase=Phase.ROLLED_BACK),
        "failed": MachineState(phase=Phase.FAILED, failed_in=Phase.PLANNED),
        "off": MachineState(phase=Phase.FAILED, failed_in=Phase.CUTTING_OVER),
    }
    names = (*states, "new")
    assert untouched(names, states) == ("copied", "failed", "new")
    assert untouched(names, states, again=True) == ("copied", "back", "failed", "new")


def test_what_the_source_gives_for_the_trial_is_the_machine_s_own(world: World) -> None:
    seen: dict[str, str | None] = {}

    def trial(entries: tuple[Any, ...], reach: Reach) -> dict[str, list[Concern]]:
        for entry in entries:
            with reach(entry) as way:
                seen[entry.name] = way and way.uri
        return {}

    world.source.write_power("db", Power.OFF)
    world.target.trial = trial  # type: ignore[method-assign]
    world.ask()
    assert seen["web"] is None, "it runs: only a round may read its disks"
    assert str(seen["db"]).endswith("/db.img")


def test_a_machine_that_is_at_another_source_now_is_found_and_said(world: World, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("hyp2", "hyp3")}
    others = {}
    for name, folder in folders.items():
        folder.mkdir()
        others[name] = MemorySource(name, folder)
        others[name].write_machines()
    sources = {name: SourceConfig(kind="memory", uri=f"memory://{folder}") for name, folder in folders.items()}
    world.config = world.config.model_copy(update={"sources": world.config.sources | sources})
    machines = world.source.discover().machines
    world.source.write_machines(*(one for one in machines if one.name != "db"))
    (told,) = world.ask().refused["db"]
    assert told.what == "db: the source has no such machine any more: nor has hyp2, hyp3"
    others["hyp3"].write_machines(*(one for one in machines if one.name == "db"))
    (told,) = world.ask().refused["db"]
    assert told.what == "db: the source has no such machine any more: it is at source hyp3 now, and runs there"
    assert "kubeferry discover --source hyp3" in told.fix
    assert set(world.ask().refused) == {"db"}


def test_a_source_of_an_estate_that_movers_cannot_reach_keeps_its_own_machines_alone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far").mkdir()
    machines = world.source.discover().machines
    MemorySource("far", tmp_path / "far").write_machines(*(one for one in machines if one.name == "web"))
    world.source.write_machines(*(one for one in machines if one.name != "web"))
    ssh = SshAccess(host="far.example", host_key="ssh-ed25519 AAAA")
    far = SourceConfig(kind="memory", uri=f"memory://{tmp_path}/far", ssh=ssh)
    world.config = world.config.model_copy(
        update={
            "sources": world.config.sources | {"far": far},
            "estates": {"all": ("lab", "far")},
            "target": TargetConfig(kind="kubevirt"),
        }
    )
    owned = tuple(one.model_copy(update={"source": "far" if one.name == "web" else "lab"}) for one in machines)
    inventory = Inventory(source="all", source_kind="estate", observed_at="2026-01-01", machines=owned)
    world.plan = make_plan(inventory, Policy(), name="three", created_at="2026-01-01")
    monkeypatch.setattr(beforehand, "open_target", lambda _config: world.target)
    asked = world.ask()
    assert {name: {one.id for one in found} for name, found in asked.refused.items()} == {
        "app": {"source.no-way"},
        "db": {"source.no-way"},
    }
    assert asked.barred == ()
    assert {one.what for one in asked.concerns if one.id == "source.no-way"} == {
        "movers in the cluster have no way to source lab"
    }
    assert asked.errors()["db"].fix.startswith("Give a libvirt source `ssh`")
    barred = world.ask("app", "db")
    assert {one.id for one in barred.barred} == {"source.no-way"}
