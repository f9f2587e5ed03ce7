"""How long the journal's figures and its outbox take for many machines: `python -m bench.metrics [MACHINES]`.

Each machine has had six rounds of two disks: 37 events. They are written as a journal writes them, but in one
transaction.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import insert

from bench.commands import LARGE, a_machine
from flows.metrics.collecting import Collector
from flows.metrics.exposition import render
from kubeferry.documents import Inventory, JournalConfig, Policy
from kubeferry.journal import Journal
from kubeferry.journal.chain import Link
from kubeferry.journal.schema import EVENT, MACHINE
from kubeferry.life import events as ev
from mappings.plan import make_plan

AT = "2026-01-01T00:00:00.000Z"
ROUNDS = 6


def _life(plan: str) -> Iterator[ev.Event]:
    yield ev.Planned(plan_digest=plan, disks=("vda", "vdb"))
    for number in range(1, ROUNDS + 1):
        yield ev.CopyBegun(round=number, final=False)
        for disk in ("vda", "vdb"):
            yield ev.DiskCopied(disk=disk, round=number, root="r", algorithm="blake3", written_bytes=1 << 20)
            yield ev.DiskVerified(disk=disk, root="r")
        yield ev.Synced(round=number, data_bytes=2 << 20)


def _fill(journal: Journal, machines: int) -> tuple[str, str]:
    """A journal of so many machines; the plan, and one of them."""
    known = tuple(a_machine(number) for number in range(machines))
    inventory = Inventory(source="lab", source_kind="memory", observed_at=AT, machines=known)
    plan = make_plan(inventory, Policy(), name="lab", created_at=AT)
    journal.keep_plan(plan)
    payloads = [(event.kind, ev.event_to_json(event)) for event in _life(plan.digest)]
    with journal._writing() as db:
        for machine in known:
            digest, rows = "", []
            for seq, (kind, payload) in enumerate(payloads, 1):
                link = Link(plan.digest, machine.name, seq, kind, payload, AT, 1, "bench")
                digest = link.digest(digest)
                facts = {"plan": plan.digest, "machine": machine.name, "seq": seq, "kind": kind, "payload": payload}
                rows.append({**facts, "at": AT, "fence": 1, "writer": "bench", "digest": digest})
            owner = {"plan": plan.digest, "machine": machine.name, "fence": 1, "expires_at": ""}
            db.execute(insert(MACHINE).values(**owner, seq=len(rows), digest=digest))
            db.execute(insert(EVENT), rows)
    return plan.digest, known[0].name


def main() -> None:
    """Print what each takes."""
    machines = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal.open(JournalConfig(url=f"sqlite:///{Path(folder) / 'journal.db'}")) as journal,
    ):
        plan, machine = _fill(journal, machines)
        collector = Collector(journal)
        _time(f"{machines} machines with {6 * ROUNDS + 1} events, the first time", lambda: render(collector.collect()))
        _time("again", lambda: render(collector.collect()))
        with journal.lease(plan, machine) as lease:
            journal.append(lease, ev.CopyBegun(round=ROUNDS + 1, final=False))
        _time("after one of them has gone on", lambda: render(collector.collect()))
        _time("a receiver that is new", lambda: journal.outbox.know(["webhook/bench"]))
        _time("nothing to tell", lambda: journal.outbox.news("webhook/bench", ["failed"]))


def _time(what: str, done: Callable[[], object]) -> None:
    begun, computed = time.monotonic(), time.process_time()
    done()
    print(f"{what}: {time.monotonic() - begun:.2f} s, {time.process_time() - computed:.2f} s of CPU")


if __name__ == "__main__":
    main()
