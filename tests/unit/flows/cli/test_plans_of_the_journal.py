"""Plans that the journal holds: listed, taken from there by name or digest, and never overwritten while under way."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import JournalConfig, MoverJob, Plan, dump, files, load
from kubeferry.journal import Journal
from kubeferry.life.events import CopyBegun, CutoverBegun, Event, Planned, RollbackBegun, RolledBack, SourceStopped
from kubeferry.model import DiskRef, Power

Command = Callable[..., tuple[int, str, str]]
POLICY = "apiVersion: kubeferry.io/v1alpha1\nkind: Policy\nlabels: {owner: me}\n"
STOPPED = (
    CutoverBegun(power_before=Power.RUNNING),
    SourceStopped(how="acpi", at="2026-11-29T01:02:03Z"),
)


@contextlib.contextmanager
def journal_of(estate: Path) -> Iterator[Journal]:
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        yield journal


def planned(kubeferry: Command, estate: Path, *events: Event, name: str = "first") -> Plan:
    assert kubeferry("discover")[0] == 0
    assert kubeferry("plan", "inventory.yaml", "--name", name)[0] == 0
    plan = load(estate / "plan.yaml", Plan)
    with journal_of(estate) as journal:
        journal.register_plan(plan.digest, plan.name, dump(plan))
        with journal.lease(plan.digest, "web") as lease:
            for event in (Planned(plan_digest=plan.digest, disks=("vda",)), *events):
                journal.append(lease, event)
    return plan


def test_status_without_a_plan_lists_those_of_the_journal(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path
) -> None:
    assert kubeferry("status")[1] == "total: 0 plans in the journal\n"
    plan = planned(kubeferry, estate, *STOPPED)
    out = kubeferry("status")[1]
    assert f"first  {plan.digest[:12]}" in out
    assert "1 cutting-over" in out
    assert re.search(r"  \d{4}-\d\d-\d\d \d\d:\d\d UTC  ", out)
    assert out.endswith("total: 1 plan in the journal; `--plan NAME` takes one from there\n")
    told = printed_json("status", "--json")
    assert [(one["name"], one["digest"], one["phases"]) for one in told["plans"]] == [
        ("first", plan.digest, {"cutting-over": 1})
    ]
    assert told["journal"]["schema"] == 1


@pytest.mark.parametrize("verb", ["status", "report", "migrate", "precopy", "release"])
def test_a_plan_is_taken_from_the_journal_by_name_or_digest(kubeferry: Command, estate: Path, verb: str) -> None:
    plan = planned(kubeferry, estate)
    (estate / "plan.yaml").unlink()
    dry = [] if verb in {"status", "report"} else ["--dry-run"] if verb != "precopy" else ["-m", "nobody"]
    for name in (plan.name, plan.digest, plan.digest[:8]):
        code, _, err = kubeferry(verb, "--plan", name, *dry)
        # A round has no dry run: that it knows the plan's machines is seen by whom it refuses.
        assert (code, err) == (0, "") if verb != "precopy" else "the plan has no such machine" in err


def test_a_plan_that_is_kept_in_lines_shows_the_same_and_is_no_yaml_to_read(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kubeferry("discover")[0] == 0
    assert kubeferry("plan", "inventory.yaml", "--name", "first")[0] == 0
    plan = load(estate / "plan.yaml", Plan)
    with journal_of(estate) as journal:
        journal.keep_plan(plan)
        with journal.lease(plan.digest, "web") as lease:
            for event in (Planned(plan_digest=plan.digest, disks=("vda",)), *STOPPED):
                journal.append(lease, event)
    told = printed_json("status", "plan.yaml", "--json")
    names: list[str] = []
    real = files.parse
    monkeypatch.setattr(
        files, "parse", lambda text, kind, **given: names.append(kind.KIND) or real(text, kind, **given)
    )
    assert printed_json("status", "--plan", "first", "--json") == told
    assert kubeferry("release", "--plan", "first", "--dry-run")[0] == 0
    assert set(names) == {"Config"}
    assert told["machines"][0]["source"]["offSince"] == "2026-11-29T01:02:03Z"


def test_a_rollback_takes_its_plan_from_the_journal(kubeferry: Command, estate: Path) -> None:
    planned(kubeferry, estate)
    (estate / "plan.yaml").unlink()
    assert "the plan has no such machine" in kubeferry("rollback", "--plan", "first", "-m", "nobody")[2]


def test_a_plan_that_is_none_or_several_is_refused_in_words(kubeferry: Command, estate: Path) -> None:
    plan = planned(kubeferry, estate)
    code, _, err = kubeferry("status", "--plan", "firsd")
    assert (code, "Did you mean 'first'?" in err) == (2, True)
    with journal_of(estate) as journal:
        journal.register_plan("f" * 64, "first", "")
    code, _, err = kubeferry("status", "--plan", "first")
    assert code == 2
    assert plan.digest[:12] in err
    assert "f" * 12 in err
    assert kubeferry("status", "plan.yaml", "--plan", "first")[0] == 2
    code, _, err = kubeferry("report")
    assert (code, "`kubeferry status` lists them" in err) == (2, True)


def test_a_plan_under_way_is_not_overwritten(kubeferry: Command, estate: Path) -> None:
    plan = planned(kubeferry, estate, *STOPPED)
    (estate / "policy.yaml").write_text(POLICY)
    before = (estate / "plan.yaml").read_bytes()
    again = ["plan", "inventory.yaml", "--name", "first", "--policy", "policy.yaml"]
    code, _, err = kubeferry(*again)
    assert code == 2
    assert "web" in err
    assert plan.digest[:12] in err
    assert "--out" in err
    assert (estate / "plan.yaml").read_bytes() == before
    assert kubeferry(*again, "--out", "other.yaml")[0] == 0
    (estate / "plan.yaml").write_text((estate / "plan.yaml").read_text().replace("name: web", "name: wob"))
    assert kubeferry(*again)[0] == 2, "a plan that was edited is under way all the same"


def test_a_plan_with_a_round_ahead_is_not_overwritten_either(kubeferry: Command, estate: Path) -> None:
    planned(kubeferry, estate, CopyBegun(round=1, final=False))
    (estate / "policy.yaml").write_text(POLICY)
    assert kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")[0] == 2


def test_a_plan_that_has_done_nothing_or_has_come_to_its_end_is_overwritten(kubeferry: Command, estate: Path) -> None:
    ended = (CutoverBegun(power_before=Power.OFF), RollbackBegun(reason="asked for"), RolledBack())
    planned(kubeferry, estate)
    (estate / "policy.yaml").write_text(POLICY)
    assert kubeferry("plan", "inventory.yaml", "--name", "first", "--policy", "policy.yaml")[0] == 0
    planned(kubeferry, estate, *ended, name="second")
    (estate / "plan.yaml").write_text((estate / "plan.yaml").read_text().replace("name: web", "name: wob"))
    assert kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")[0] == 0, "edited, as its error advises"


def test_a_file_that_is_no_plan_is_not_overwritten_by_one(kubeferry: Command, estate: Path) -> None:
    assert kubeferry("discover")[0] == 0
    code, _, err = kubeferry("plan", "inventory.yaml", "--out", "inventory.yaml")
    assert (code, "is no plan" in err) == (2, True)
    assert "kind: Inventory" in (estate / "inventory.yaml").read_text()


def test_no_journal_is_made_to_ask_it(kubeferry: Command, estate: Path) -> None:
    assert kubeferry("discover")[0] == 0
    assert kubeferry("plan", "inventory.yaml")[0] == 0
    assert kubeferry("plan", "inventory.yaml", "--name", "other")[0] == 0
    assert not (estate / "journal.db").exists()


def test_status_tells_power_downtime_lease_progress_and_versions(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path
) -> None:
    plan = planned(kubeferry, estate, *STOPPED, CopyBegun(round=1, final=True))
    with journal_of(estate) as journal, journal.lease(plan.digest, "web"):
        told = printed_json("status", "plan.yaml", "--json")
        out = kubeferry("status", "plan.yaml")[1]
    (web,) = told["machines"]
    assert (web["source"]["power"], web["source"]["offSince"]) == ("off", "2026-11-29T01:02:03Z")
    assert web["lease"]["owner"].startswith("process ")
    assert not web["lease"]["expired"]
    assert (web["progress"]["round"], web["progress"]["doneBytes"], web["progress"]["totalBytes"]) == (1, 0, 2**20)
    assert told["summary"]["sourcesOff"] == ["web"]
    assert told["plan"] == {
        "name": "first",
        "digest": plan.digest,
        "apiVersion": "kubeferry.io/v1alpha1",
        "createdAt": plan.created_at,
    }
    assert told["journal"]["schema"] == 1
    assert told["kubeferry"]["version"]
    assert "off since 2026-11-29 01:02 UTC" in out
    assert "round 1: 0 of 1 disk, 0 B of 1 MiB" in out
    assert "1 source is off on the way (web); 1 machine is held by a runner" in out


def test_status_tells_what_a_mover_on_this_host_tells(
    printed_json: Callable[..., Any], kubeferry: Command, estate: Path
) -> None:
    plan = planned(kubeferry, estate, *STOPPED, CopyBegun(round=1, final=True))
    state = estate / "state"
    state.mkdir()
    job = MoverJob(
        name="job", action="copy", machine="web", disk="vda", target=DiskRef(uri="file:///t"), state_dir=str(state)
    )
    (state / "job.json").write_text(job.model_dump_json(by_alias=True))
    (state / "progress.json").write_text(json.dumps({"doneBytes": 25, "totalBytes": 100, "phase": "copying"}))
    with journal_of(estate) as journal, journal.lease(plan.digest, "web") as lease:
        journal.intend(lease, "mover", "job", str(state))
        (state / "lock").touch()
        assert printed_json("status", "plan.yaml", "--json")["machines"][0]["progress"]["movers"] == {}
        with (state / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            told = printed_json("status", "plan.yaml", "--json")["machines"][0]["progress"]["movers"]
            out = kubeferry("status", "plan.yaml")[1]
    assert told["vda"]["doneBytes"] == 25
    assert "vda: copying 25 % of 100 B" in out
