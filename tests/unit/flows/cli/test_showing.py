"""status, report, ui: what they show, whole, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.cli.showing import outside
from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.journal import Journal, LedgerEntry, LedgerState
from kubeferry.life.events import Planned
from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import a_machine

Command = Callable[..., tuple[int, str, str]]
LONG = "a-machine-with-a-name-that-is-longer-than-a-narrow-terminal-is-wide"


def planned(kubeferry: Command, folder: Path, *names: str) -> Plan:
    disk = folder / "source" / "web.img"
    MemorySource("lab", folder / "source").write_machines(*(a_machine(name, disk) for name in names))
    assert kubeferry("discover")[0] == 0
    assert kubeferry("plan", "inventory.yaml")[0] == 0
    return load(folder / "plan.yaml", Plan)


def test_no_name_is_cut_and_no_line_folded_where_nobody_looks(kubeferry: Command, estate: Path) -> None:
    planned(kubeferry, estate, LONG, "web")
    for arguments in (["discover"], ["assess", "inventory.yaml"], ["plan", "inventory.yaml"], ["status", "plan.yaml"]):
        out = kubeferry(*arguments)[1]
        rows = [line for line in out.splitlines() if line.split()[:1] in ([LONG], ["wave-1"]) and LONG in line]
        assert len(rows) == 1, (arguments, out)
    assert f"{LONG}  planned" in out
    assert rows[0].endswith("nothing is recorded of this machine yet")


def test_status_counts_machines_by_phase_and_things_by_number(kubeferry: Command, estate: Path) -> None:
    plan = planned(kubeferry, estate, "web", "db")
    out = kubeferry("status", "plan.yaml")[1].splitlines()
    assert out[-2:] == ["total: 2 machines (2 planned)", "nothing that kubeferry made is left"]
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        journal.register_plan(plan.digest, plan.name, "")
        with journal.lease(plan.digest, "web") as lease:
            journal.append(lease, Planned(plan_digest=plan.digest, disks=("vda",)))
            journal.intend(lease, "disk", "web-vda", "here")
            out = kubeferry("status", "plan.yaml")[1].splitlines()
            assert out[-1].startswith("1 thing that kubeferry made is left; `kubeferry release` accounts for it")
            journal.intend(lease, "disk", "web-vdb", "here")
    out = kubeferry("status", "plan.yaml")[1].splitlines()
    assert out[-1] == "2 things that kubeferry made are left; `kubeferry release` accounts for them"


def test_what_moved_counts_apart_from_what_is_to_be_cleaned_up() -> None:
    disk, view = (
        LedgerEntry(number, "plan", "web", kind, kind, "here", LedgerState.MADE, "2026-11-29T00:00:00Z")
        for number, kind in enumerate(("disk", "view"))
    )
    assert outside([disk], {"web"}) == "nothing that kubeferry made is left besides what moved (1 thing)"
    assert outside([disk, view], {"web"}) == (
        "1 thing that kubeferry made is left besides what moved (1 thing); `kubeferry release` accounts for it"
    )
    assert outside([disk, view], set()).startswith("2 things that kubeferry made are left; ")


def test_report_for_a_program(kubeferry: Command, printed_json: Callable[..., Any], estate: Path) -> None:
    planned(kubeferry, estate, "web")
    told = printed_json("report", "plan.yaml", "--out", "report", "--json")
    assert told["verdict"]
    assert sorted(Path(path).suffix for path in told["files"]) == [".html", ".json", ".md"]
    assert all((estate / path).exists() for path in told["files"])


def test_ui_says_who_has_its_port(kubeferry: Command, estate: Path) -> None:
    import os
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        code, out, err = kubeferry("ui", "--port", str(listener.getsockname()[1]))
    assert (code, out) == (2, "")
    assert f"process {os.getpid()} (" in err
    assert "name another port with --port" in err
