"""Names that are made single."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubeferry.model import Cpu, Machine, Memory
from kubeferry.sources.facts.single_names import named


def machine(identity: str, name: str) -> Machine:
    return Machine(id=identity, name=name, source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=1 << 30))


@given(st.dictionaries(st.text("ab-", min_size=1, max_size=3), st.text("ab-", max_size=6), max_size=8))
def test_no_two_machines_share_a_name_and_a_single_one_stays(told: dict[str, str]) -> None:
    found = named(machine(identity, name) for identity, name in told.items())
    assert [one.id for one in found] == list(told)
    assert len({one.name for one in found}) == len(told)
    assert all(one.name.startswith(told[one.id]) for one in found)


def test_one_machine_that_is_listed_twice_keeps_its_name() -> None:
    found = named([machine("i-1", "web"), machine("i-1", "web"), machine("i-2", "db"), machine("i-3", "db")])
    assert [one.name for one in found] == ["web", "web", "db-i-2", "db-i-3"]
