"""Apps, as a run and the command line have them: their order, their proof, and the way back of all of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli.moving import migrate
from flows.migrate import Run, run_plan
from flows.progress import Board
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan, load
from kubeferry.errors import ProbeFailed
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget, connect
from tests.unit.flows.conftest import running_machines

Command = Callable[..., tuple[int, str, str]]
NAMES = ("cache", "crm", "db1", "db2", "web", "wiki")
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
apps:
  shop:
    owner: Anna
    members: [db*, web, cache]
    order: [[db*], [cache], [web]]
    together: TOGETHER
    probes: [{kind: serial, expect: ready, machine: web}]
  wiki: {members: [wiki]}
  crm: {members: [crm], after: [shop]}
"""


class Estate:
    """Six machines that run: a shop of two databases, a cache and a web server, a wiki, and a crm after the shop."""

    def __init__(self, kubeferry: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kubeferry, self.folder, self.source = kubeferry, folder, MemorySource("lab", folder / "source")
        self.done: list[tuple[str, str]] = []
        running_machines(self.source, folder, NAMES)
        config = folder / "kubeferry.yaml"
        config.write_text(
            f"{config.read_text()}limits: {{concurrentMachines: 4}}\n".replace("path: target", f"path: {folder}")
        )
        kubeferry("discover")
        self._watch(monkeypatch)

    def _watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = self.done

        def told(owner: type, name: str, of: Callable[..., str]) -> None:
            real = getattr(owner, name)

            def told_too(self: Any, one: Any, *given: Any, **named: Any) -> Any:
                done.append((f"{owner.__name__[6:].lower()}.{name}", of(one)))
                return real(self, one, *given, **named)

            monkeypatch.setattr(owner, name, told_too)

        for name in ("stop", "start"):
            told(MemorySource, name, lambda machine: machine.name)
            told(MemoryTarget, name, lambda entry: entry.name)
        told(MemoryTarget, "observe", lambda entry: f"{entry.name}:{','.join(p.kind for p in entry.probes)}")

    def planned(self, *given: str, together: bool = True, policy: str = POLICY) -> str:
        (self.folder / "policy.yaml").write_text(policy.replace("TOGETHER", str(together).lower()))
        (self.folder / "plan.yaml").unlink(missing_ok=True)
        code, out, err = self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml", *given)
        assert code == 0, err
        return out

    @property
    def plan(self) -> Plan:
        return load(self.folder / "plan.yaml", Plan)

    @property
    def target(self) -> MemoryTarget:
        return connect(read_config(self.folder / "kubeferry.yaml").target)

    def running(self) -> set[str]:
        return {one.name for one in self.source.discover().machines if self.source.power(one) is Power.RUNNING}

    def run(self, *names: str, goal: Goal = Goal.MIGRATE) -> dict[str, Outcome]:
        config, plan = read_config(self.folder / "kubeferry.yaml"), self.plan
        self.done.clear()
        with Journal.open(config.journal) as journal:
            journal.keep_plan(plan)
            found = run_plan(Run(plan, config, journal, Board(quiet=True), goal), names or NAMES)
            return {one.machine: one for one in found}

    def order_of(self, deed: str) -> list[str]:
        return [who for what, who in self.done if what == deed]


@pytest.fixture
def estate_of_apps(kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    return Estate(kubeferry, estate, monkeypatch)


def test_an_app_that_moves_as_one_is_stopped_backwards_and_started_forwards(estate_of_apps: Estate) -> None:
    estate_of_apps.planned()
    outcomes = estate_of_apps.run("cache", "db1", "db2", "web")
    assert {one.phase for one in outcomes.values()} == {"committed"}
    assert estate_of_apps.order_of("source.stop") == ["web", "cache", "db1", "db2"]
    assert list(dict.fromkeys(estate_of_apps.order_of("target.start"))) == ["db1", "db2", "cache", "web"]
    seen = estate_of_apps.order_of("target.observe")
    assert seen == ["db1:agent", "db2:agent", "cache:agent", "web:agent", "web:serial"]
    done = estate_of_apps.done
    assert done.index(("target.observe", "db2:agent")) < done.index(("target.start", "cache"))
    last_stop = max(at for at, one in enumerate(done) if one[0] == "source.stop")
    assert last_stop < done.index(("target.start", "db1"))


def test_an_app_whose_own_probe_fails_goes_back_whole_and_backwards(estate_of_apps: Estate) -> None:
    estate_of_apps.planned()
    estate_of_apps.target.answers["serial"] = False
    outcomes = estate_of_apps.run("cache", "db1", "db2", "web")
    assert all(isinstance(one.error, ProbeFailed) for one in outcomes.values())
    assert "web: its app did not pass: serial" in str(outcomes["db1"].error)
    assert estate_of_apps.running() == set(NAMES)
    done = estate_of_apps.done
    down = [who for what, who in done if what == "target.stop"]
    assert down == ["web", "cache", "db1", "db2"]
    up = [who for what, who in done if what == "source.start"]
    assert up == ["db1", "db2", "cache", "web"]
    assert done.index(("target.stop", "db2")) < done.index(("source.start", "db1"))


def test_a_tier_whose_probe_fails_is_not_followed_by_the_next(estate_of_apps: Estate) -> None:
    estate_of_apps.planned()
    estate_of_apps.target.answers["agent"] = False
    estate_of_apps.run("cache", "db1", "db2", "web")
    assert set(estate_of_apps.order_of("target.start")) == {"db1", "db2"}
    assert estate_of_apps.running() == set(NAMES)


def test_an_app_that_does_not_move_as_one_moves_tier_by_tier_and_answers_last(estate_of_apps: Estate) -> None:
    estate_of_apps.planned(together=False)
    web = estate_of_apps.plan.entry("web")
    assert (web.moves_with, set(web.after or ())) == (None, {"cache", "db1", "db2"})
    outcomes = estate_of_apps.run()
    assert {one.phase for one in outcomes.values()} == {"committed"}
    stopped = estate_of_apps.order_of("source.stop")
    assert stopped.index("cache") > max(stopped.index("db1"), stopped.index("db2"))
    assert stopped.index("web") > stopped.index("cache")
    assert stopped[-1] == "crm"
    assert estate_of_apps.order_of("target.observe").count("web:serial") == 1


def test_an_app_that_fails_holds_back_the_one_after_it_and_no_other(estate_of_apps: Estate) -> None:
    estate_of_apps.planned()
    estate_of_apps.target.answers["serial"] = False
    outcomes = estate_of_apps.run()
    assert outcomes["wiki"].phase == "committed"
    assert outcomes["crm"].phase == "not begun"
    assert "it comes after cache, db1, db2 and 1 more; cache was rolled back" in str(outcomes["crm"].error)


def test_machines_of_an_app_that_moves_warm_are_copied_ahead_before_any_is_stopped(estate_of_apps: Estate) -> None:
    estate_of_apps.planned(policy=POLICY + "mode: warm\nwarm: {rounds: 2}\n")
    outcomes = estate_of_apps.run("cache", "db1", "db2", "web")
    assert {one.phase for one in outcomes.values()} == {"committed"}
    config = read_config(estate_of_apps.folder / "kubeferry.yaml")
    with Journal.open(config.journal) as journal:
        records = {name: journal.events(estate_of_apps.plan.digest, name) for name in ("cache", "db1", "db2", "web")}
    synced = [one.at for found in records.values() for one in found if one.event.kind == "synced"]
    stopped = [one.at for found in records.values() for one in found if one.event.kind == "source-stopped"]
    assert len(synced) >= 4
    assert max(synced) < min(stopped)


def test_the_report_says_that_an_app_passed_and_doubts_one_that_nobody_asked(
    kubeferry: Command, estate_of_apps: Estate
) -> None:
    estate_of_apps.planned()
    estate_of_apps.run()
    kubeferry("report", "plan.yaml")
    told = json.loads((estate_of_apps.folder / "report.json").read_text())
    web = next(one for one in told["machines"] if one["name"] == "web")
    assert web["verdict"] == "proven"
    assert any("app shop as a whole passed its only probe" in line for line in web["why"])


@pytest.mark.usefixtures("no_server")
def test_verbs_take_an_app_and_a_wave(kubeferry: Command, estate_of_apps: Estate) -> None:
    estate_of_apps.planned()
    code, _out, err = kubeferry("migrate", "plan.yaml", "--app", "shop")
    assert code == 0, err
    out = kubeferry("status", "plan.yaml", "--app", "shop", "--json")[1]
    told = json.loads(out.splitlines()[-1])["machines"]
    assert [(one["machine"], one["app"], one["phase"]) for one in told] == [
        (name, "shop", "committed") for name in ("cache", "db1", "db2", "web")
    ]
    code, _out, err = kubeferry("migrate", "plan.yaml", "--wave", "wave-2")
    assert code == 0, err
    assert "crm" in kubeferry("status", "plan.yaml", "--wave", "wave-2")[1]
    assert estate_of_apps.running() == {"wiki"}
    assert kubeferry("rollback", "plan.yaml", "--app", "shop", "--yes")[0] == 0
    assert estate_of_apps.running() == {"wiki", "cache", "db1", "db2", "web"}


def test_an_app_or_a_wave_that_is_none_is_told_with_what_may_be_meant(
    kubeferry: Command, estate_of_apps: Estate
) -> None:
    estate_of_apps.planned()
    code, _out, err = kubeferry("migrate", "plan.yaml", "--app", "shp", "--wave", "w9", "-m", "wb")
    assert code == 2
    assert "--app shp: the plan has no such app. Did you mean 'shop'? Name one of: crm, shop, wiki." in err
    assert "--wave w9: the plan has no such wave. Name one of: wave-1, wave-2." in err
    assert "--machine wb: it is not in the plan. Did you mean 'web'?" in err


def test_a_part_of_an_app_that_moves_as_one_is_not_named_alone(kubeferry: Command, estate_of_apps: Estate) -> None:
    estate_of_apps.planned()
    code, _out, err = kubeferry("migrate", "plan.yaml", "-m", "web", "-m", "cache", "-m", "db1")
    assert code == 2
    assert "it moves together with db2: app shop moves as one" in err


def test_a_plan_shows_its_waves_its_apps_and_what_was_pulled(estate_of_apps: Estate) -> None:
    out = estate_of_apps.planned()
    assert "wave-1  shop, wiki  5" in out
    assert "app crm stands in wave-2: crm comes after web of wave-1" in out
    assert "app shop: 4 machines; owner Anna; db1, db2 > cache > web; moves as one" in out


class Sheet:
    """waves.csv as a person has it open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "waves.csv"

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.path.read_text(encoding="utf-8-sig"), newline="")))

    def save(self, rows: list[dict[str, str]], delimiter: str = ";") -> None:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        self.path.write_text(out.getvalue(), encoding="utf-8-sig")

    def rows_of(self, delimiter: str) -> list[dict[str, str]]:
        text = self.path.read_text(encoding="utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))

    def row(self, machine: str) -> dict[str, str]:
        return next(row for row in self.rows if row["machine"] == machine)


def test_a_sheet_is_written_read_and_written_again_as_it_was(estate_of_apps: Estate) -> None:
    estate_of_apps.planned("--sheet", "waves.csv")
    before, digest = (estate_of_apps.folder / "waves.csv").read_bytes(), estate_of_apps.plan.entries
    out = estate_of_apps.planned("--sheet", "waves.csv")
    assert "stands above" not in out
    assert (estate_of_apps.folder / "waves.csv").read_bytes() == before
    assert estate_of_apps.plan.entries == digest
    assert before.startswith(b"\xef\xbb\xbfmachine,app,owner,wave,window,")
    assert b"\r\n" in before


def test_edits_stand_above_the_policy_are_told_and_survive(estate_of_apps: Estate) -> None:
    estate_of_apps.planned("--sheet", "waves.csv")
    sheet, first = Sheet(estate_of_apps.folder), estate_of_apps.plan
    rows = list(reversed(sheet.rows))
    for row in rows:
        row["ticket"] = f"CHG-{row['machine']}"
        row["notes"] = "=HYPERLINK(1)" if row["machine"] == "db1" else ""
        if row["machine"] == "wiki":
            row |= {"wave": "Late Wave", "mode": "WARM", "owner": "Bert"}
        if row["machine"] == "cache":
            row |= {"include": "no"}
    sheet.save(rows)
    out = estate_of_apps.planned("--sheet", "waves.csv")
    plan = estate_of_apps.plan
    assert "cache: include yes -> no" in out
    assert "wiki: owner open -> Bert, wave wave-1 -> late-wave, mode cold -> warm" in out
    wiki = plan.entry("wiki")
    assert (wiki.owner, wiki.mode, plan.waves[0].name, plan.waves[0].machines) == (
        "Bert",
        "warm",
        "late-wave",
        ("wiki",),
    )
    assert plan.excluded["cache"] == "The policy leaves it out."
    assert plan.digest != first.digest
    kept = sheet.path.read_bytes()
    assert b";" in kept.splitlines()[0]
    text = kept.decode("utf-8-sig")
    assert "'=HYPERLINK(1)" in text
    assert text.splitlines()[1].startswith("crm;")  # sorted by hand, and stays so
    assert "CHG-wiki" in text
    again = estate_of_apps.planned("--sheet", "waves.csv")
    assert (sheet.path.read_bytes(), estate_of_apps.plan.entries) == (kept, plan.entries)
    assert "wave wave-1 -> late-wave" in again


def test_what_a_sheet_says_wrongly_is_told_with_row_and_column_all_at_once(
    kubeferry: Command, estate_of_apps: Estate
) -> None:
    estate_of_apps.planned("--sheet", "waves.csv")
    path, plan = estate_of_apps.folder / "waves.csv", (estate_of_apps.folder / "plan.yaml").read_bytes()
    text = (
        "Machine;wave;mode;after;include;App\r\nghost;w1;;;;\r\nweb;01. Feb;lukewarm;nobody, db1;maybe;\r\n"
        "db1;w1;;;;\r\ndb2;w2;;;;\r\nweb;;;;;\r\n;w3;;;;\r\n;;;;;\r\nwiki;;;wiki;;\r\n"
    )
    path.write_text(text, encoding="utf-8")
    code, _out, err = kubeferry(
        "plan", "inventory.yaml", "--policy", "policy.yaml", "--sheet", "waves.csv", "--out", "new.yaml"
    )
    assert code == 2
    for told in (
        "waves.csv row 2, column machine (A): 'ghost' is no machine of the inventory",
        "waves.csv row 3, column wave (B): '01. Feb' looks like a date that a spreadsheet has made of a name",
        "waves.csv row 3, column mode (C): 'lukewarm' is no mode",
        "waves.csv row 3, column after (D): 'nobody' is no machine and no app",
        "waves.csv row 3, column include (E): 'maybe' is neither yes nor no",
        "waves.csv row 6, column machine (A): web stands in row 3, too",
        "waves.csv row 7, column machine (A): it says wave, and names no machine",
        "waves.csv row 9, column after (D): it cannot come after itself",
    ):
        assert told in err, told
    assert path.read_bytes().decode() == text
    assert (estate_of_apps.folder / "plan.yaml").read_bytes() == plan
    assert not (estate_of_apps.folder / "new.yaml").exists()


def test_a_first_plan_with_a_sheet_needs_no_policy(kubeferry: Command, estate_of_apps: Estate) -> None:
    code, out, err = kubeferry("plan", "inventory.yaml", "--sheet", "waves.csv")
    assert (code, "its waves to waves.csv" in out) == (0, True), err
    sheet = Sheet(estate_of_apps.folder)
    assert sheet.row("web")["wave"] == "wave-1"
    rows = sheet.rows
    for row in rows:
        row["app"] = "Web Shop" if row["machine"] in {"web", "db1"} else row["app"]
        row["after"] = "app:web-shop" if row["machine"] == "crm" else row["after"]
    sheet.save(rows, ",")
    code, out, err = kubeferry("plan", "inventory.yaml", "--sheet", "waves.csv")
    assert code == 0, err
    plan = estate_of_apps.plan
    assert [app.name for app in plan.apps or ()] == ["web-shop"]
    assert set(plan.entry("crm").after or ()) == {"web", "db1"}
    assert sheet.row("crm")["waits for"] == "db1, web"


def test_one_row_moves_its_whole_app(estate_of_apps: Estate) -> None:
    estate_of_apps.planned("--sheet", "waves.csv")
    sheet = Sheet(estate_of_apps.folder)
    rows = sheet.rows
    for row in rows:
        row["wave"] = "w2" if row["machine"] == "db1" else row["wave"]
    sheet.save(rows)
    estate_of_apps.planned("--sheet", "waves.csv")
    plan = estate_of_apps.plan
    assert next(set(wave.machines) for wave in plan.waves if wave.name == "w2") == {"cache", "db1", "db2", "web"}
    assert {row["machine"]: row["wave"] for row in Sheet(estate_of_apps.folder).rows_of(";")}["web"] == "w2"


def test_a_dry_run_shows_that_the_app_is_asked_and_who_moves_together(
    kubeferry: Command, estate_of_apps: Estate
) -> None:
    estate_of_apps.planned()
    code, out, err = kubeferry("migrate", "plan.yaml", "--app", "shop", "--dry-run")
    assert code == 0, err
    assert "observe-app        the probes of its app would be asked; one that fails would lead back" in out
    assert "together with cache, db1, db2: none of them takes a step before" in out


def test_apps_and_waves_are_completed(kubeferry: Command, estate_of_apps: Estate) -> None:
    estate_of_apps.planned()
    ctx = migrate.make_context("migrate", ["plan.yaml"], resilient_parsing=True)
    options = {option.name: option for option in migrate.params}
    assert [one.value for one in options["apps"].shell_complete(ctx, "")] == ["crm", "shop", "wiki"]
    assert [one.value for one in options["waves"].shell_complete(ctx, "wave-2")] == ["wave-2"]
    assert [one.value for one in options["machines"].shell_complete(ctx, "db")] == ["db1", "db2"]


def test_a_dry_run_with_a_sheet_shows_what_it_would_change_and_writes_nothing(estate_of_apps: Estate) -> None:
    estate_of_apps.planned("--sheet", "waves.csv")
    sheet = Sheet(estate_of_apps.folder)
    rows = sheet.rows
    for row in rows:
        row.update({"wiki": {"wave": "wave-9"}, "crm": {"include": "no"}}.get(row["machine"], {}))
    sheet.save(rows)
    before = sheet.path.read_bytes(), (estate_of_apps.folder / "plan.yaml").read_bytes()
    given = ("plan", "inventory.yaml", "--policy", "policy.yaml", "--sheet", "waves.csv", "--dry-run")
    out = estate_of_apps.kubeferry(*given)[1]
    told = out.splitlines()
    assert "apiVersion" not in out
    assert "  wiki: wave wave-1 -> wave-9" in told
    assert "  crm: moved in wave-2 -> would not move" in told
    assert out.index("wave-1  shop") < out.index("wave-9  wiki")
    assert told[-1].startswith("Nothing was written: without --dry-run plan lab (")
    assert told[-1].endswith(") would be written to plan.yaml, and its waves to waves.csv")
    assert (sheet.path.read_bytes(), (estate_of_apps.folder / "plan.yaml").read_bytes()) == before


def test_a_sheet_cannot_take_away_what_an_app_orders(kubeferry: Command, estate_of_apps: Estate) -> None:
    estate_of_apps.planned("--sheet", "waves.csv")
    sheet = Sheet(estate_of_apps.folder)
    rows = sheet.rows
    for row in rows:
        row["after"] = "-" if row["machine"] in {"crm", "wiki"} else row["after"]
    sheet.save(rows)
    number = next(number for number, row in enumerate(rows, start=2) if row["machine"] == "crm")
    code, _, err = kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml", "--sheet", "waves.csv")
    assert code == 2
    assert f"waves.csv row {number}, column after (F): it comes after " in err
    assert "by the order of its app crm, which `-` does not take away" in err
    assert err.count("column after") == 1  # the wiki comes after nothing, and may be told so


def test_a_sheet_is_not_touched_by_a_dry_run_and_does_not_spoil_json(
    kubeferry: Command, estate_of_apps: Estate
) -> None:
    estate_of_apps.planned("--sheet", "waves.csv")
    sheet = Sheet(estate_of_apps.folder)
    rows = sheet.rows
    rows[0]["owner"] = "Carla"
    sheet.save(rows)
    before = sheet.path.read_bytes()
    given = ("plan", "inventory.yaml", "--policy", "policy.yaml", "--sheet", "waves.csv", "--dry-run", "--json")
    code, out, err = kubeferry(*given)
    assert code == 0
    assert next(one["owner"] for one in json.loads(out)["entries"] if one["name"] == rows[0]["machine"]) == "Carla"
    assert "owner Anna -> Carla" in err
    assert sheet.path.read_bytes() == before
