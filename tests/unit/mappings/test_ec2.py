"""Instances of EC2: known by their id, with an identity that cloud-init does not take for EC2's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.model import Cpu, Machine, Memory
from kubeferry.sources.ec2.cost import dollars, most_calls
from mappings.ec2 import is_ec2, looks_like_ec2, new_uuid
from mappings.firmware import target_uuid

TIB = 1 << 40


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("ec2e1916-9099-7caf-fd21-012345abcdef", True),
        ("EC2E1916-9099-7CAF-FD21-012345ABCDEF", True),
        ("45e12aec-dcd1-b213-94ed-012345abcdef", True),
        ("45e13aec-dcd1-b213-94ed-012345abcdef", False),
        ("11ec2222-dcd1-b213-94ed-012345abcdef", False),
    ],
)
def test_uuids_that_cloud_init_takes_for_ec2s(text: str, alike: bool) -> None:
    assert looks_like_ec2(text) is alike


@given(st.integers(0, 16**17 - 1))
def test_an_instance_gets_a_uuid_of_its_own_that_stays(number: int) -> None:
    machine = Machine(
        id=f"i-{number:017x}", name="web", source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=1 << 30)
    )
    assert is_ec2(machine)
    assert target_uuid(machine) == new_uuid(machine) == new_uuid(machine)
    assert not looks_like_ec2(new_uuid(machine))


def test_other_machines_keep_theirs(machine: Callable[..., Machine]) -> None:
    assert not is_ec2(machine())
    assert target_uuid(machine()) == machine().uuid


def test_the_cost_of_a_full_tebibyte_is_what_aws_documents() -> None:
    calls = most_calls([TIB])
    assert calls["GetSnapshotBlock"] == 2_097_152
    assert dollars(calls) == pytest.approx(6.29, abs=0.01)
    assert dollars({}) == 0
    assert dollars({"ListChangedBlocks": 1000}) == pytest.approx(0.0006)
