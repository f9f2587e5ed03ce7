"""What must not grow with what was done before: counted in rows and statements, not in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from bench.commands import a_machine
from kubeferry.documents import Inventory, JournalConfig, Plan, Policy, files, yaml_text
from kubeferry.journal import Journal, records
from kubeferry.life.events import Note, Planned
from mappings.plan import make_plan


def a_plan(name: str) -> Plan:
    facts = Inventory(source="lab", source_kind="memory", observed_at="", machines=(a_machine(0), a_machine(1)))
    return make_plan(facts, Policy(labels={"try": name}), name=name, created_at="2026-01-01T00:00:00Z")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / 'journal.db'}")) as opened:
        yield opened


def test_events_that_were_read_once_are_not_read_again(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, rows = a_plan("p"), []
    journal.keep_plan(plan)
    real = records.link_of
    monkeypatch.setattr(records, "link_of", lambda row: rows.append(row.seq) or real(row))
    name = plan.entries[0].name
    with journal.lease(plan.digest, name) as lease:
        journal.append(lease, Planned(plan_digest=plan.digest, disks=("vda", "vdb")))
        for number in range(200):
            journal.append(lease, Note(text=str(number)))
            journal.state(plan.digest, name)
    assert len(rows) == len(set(rows)) == 201, "each once"
    assert journal.standing(plan.digest, name).seq == 201


def test_a_lease_reads_no_document_however_many_plans_there_are(journal: Journal) -> None:
    asked: list[str] = []
    sqlalchemy.event.listen(journal._engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    counts = []
    for number in range(20):
        plan = a_plan(f"p{number}")
        journal.keep_plan(plan)
        asked.clear()
        with journal.lease(plan.digest, plan.entries[0].name) as lease:
            journal.append(lease, Planned(plan_digest=plan.digest, disks=("vda", "vdb")))
        assert journal.plans_of(plan.entries[0].name) == [], "nothing but planned: none of them is looked at"
        counts.append(len(asked))
        assert not [statement for statement in asked if "document" in statement]
    assert len(set(counts)) == 1


def test_yaml_is_what_pyyaml_writes() -> None:
    content = files._content(a_plan("p"))
    odd = [
        "yes",
        "n",
        "1e3",
        "52:54:00:00:00:01",
        "a: b",
        "a #b",
        " x",
        "x ",
        "",
        "\n",
        "ü",
        "a  b",
        "w " * 99,
        "-",
        "~",
    ]
    for one in (content, {"a": odd, "b": dict.fromkeys(odd, odd), "c": [[odd, {}], [], None, 1.5, True]}):
        assert yaml_text.to_yaml(one) == yaml_text._by_pyyaml(one)
