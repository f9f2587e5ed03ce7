"""Whatever fails in whatever order: each receiver hears each message at least once, in the order of each machine, and
after it has taken one never again."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.documents import Config, JournalConfig, Plan
from kubeferry.journal import Journal
from kubeferry.notices import deliver, delivery
from kubeferry.notices.answers import Answer, Fate
from tests.lives import a_plan, goes_back
from tests.unit.notices.conftest import after, configured

MACHINES = ("a", "b", "c")
RECEIVERS = ("one", "two")
HOOKS: Any = {
    name: {"url": f"https://{name}.example/", "secretEnv": "HOOK_KEY", "digestAbove": 2} for name in RECEIVERS
}


class Killed(BaseException):
    """The process ends between the answer and its record."""


@dataclass
class Heard:
    """A receiver that does what it is told, and remembers: of each message its id, its machine, and which of that
    machine's it is."""

    script: list[str] = field(default_factory=list)
    taken: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    def problems(self) -> list[Any]:
        return []

    def send(self, _ident: str, body: dict[str, Any]) -> Answer:
        parts = {one["id"]: (one["machine"], int(one["reason"])) for one in body.get("machines") or [body]}
        what = self.script.pop(0) if self.script else "taken"
        if what in {"away", "refused"}:
            self.refused |= parts.keys() if what == "refused" else set()
            return Answer(Fate(what), what)
        self.broken += [ident for ident in parts if ident in self.taken and ident not in self.again]
        self.again -= parts.keys()
        for ident, part in parts.items():
            self.taken.setdefault(ident, part)
        if what == "killed":
            self.again |= parts.keys()
            raise Killed
        return Answer(Fate.TAKEN, "taken")


happens = st.tuples(st.just("happens"), st.sampled_from(MACHINES))
sends = st.tuples(
    st.just("deliver"), st.lists(st.sampled_from(["taken", "away", "refused", "killed"]), max_size=4).map(tuple)
)


@contextmanager
def a_journal() -> Iterator[tuple[Journal, Plan]]:
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        Journal.open(JournalConfig(url=f"sqlite:///{folder}/journal.db")) as journal,
    ):
        plan = a_plan(*MACHINES)
        journal.keep_plan(plan)
        yield journal, plan


def attempt(journal: Journal, config: Config, seconds: float) -> None:
    try:
        deliver(journal, config, after(seconds))
    except Killed:
        """The next one goes on."""


@settings(max_examples=40)
@given(st.lists(st.one_of(happens, sends), max_size=12))
def test_at_least_once_in_order_and_never_again(steps: list[tuple[str, Any]]) -> None:
    """What a receiver has refused may come out of order: it was set aside, and was asked for."""
    heard = {f"webhook/{name}": Heard() for name in RECEIVERS}
    config = configured(webhooks=HOOKS)
    happened: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch, a_journal() as (journal, plan):
        patch.setattr(delivery, "ways", lambda *_: heard)
        patch.setattr(delivery, "REFUSED_TRIES", 2)
        attempt(journal, config, 0)
        for number, (what, told) in enumerate(steps, 1):
            if what == "happens":
                happened[told] += 1
                goes_back(journal, plan, told, reason=str(happened[told]))
                continue
            for one in heard.values():
                one.script = list(told)
            attempt(journal, config, number * 1000)
        for one in heard.values():
            one.script = []
        attempt(journal, config, 10_000_000)
        journal.outbox.again(heard)
        attempt(journal, config, 20_000_000)
        assert all(queue.waiting == queue.undeliverable == 0 for queue in journal.outbox.queues())
    for one in heard.values():
        assert one.broken == []
        for machine in MACHINES:
            mine = {ident: number for ident, (name, number) in one.taken.items() if name == machine}
            assert sorted(mine.values()) == list(range(1, happened[machine] + 1))
            in_turn = [number for ident, number in mine.items() if ident not in one.refused]
            assert in_turn == sorted(in_turn)
