"""A machine for the KubeVirt that is there: what an older one would refuse is left out, and said."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Inventory, Offer, Platform, Policy
from kubeferry.errors import InputInvalid
from kubeferry.model import Device, Disk, DiskBus, DiskDevice, Fate, Machine, Severity, Tpm
from kubeferry.versions import FIELDS, GATES, NEWEST, OLDEST, SUPPORTED, is_on, version_of
from mappings.admission.check import check_all
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names
from mappings.plan import make_plan

DRIVE = Disk(id="sda", device=DiskDevice.CDROM, bus=DiskBus.SATA)
ALL = ("video", "panic", "drive", "tlbflush.direct", "tpm")


@pytest.fixture
def rich(machine: Any) -> Machine:
    """A machine with something that each version since the oldest has learnt."""
    made = machine()
    found: Machine = made.model_copy(
        update={
            "disks": (*made.disks, DRIVE),
            "devices": (Device(kind="video", model="virtio"), Device(kind="panic", model="isa")),
            "hyperv": {"vpindex": "on", "tlbflush": "on", "tlbflush.direct": "on"},
            "tpm": Tpm(version="2.0", persistent=True),
        }
    )
    return found


def mapped(machine: Machine, platform: Platform | None, **policy: Any) -> Mapped:
    choices = Policy.model_validate(policy)
    names = machine_names([machine], choices)[machine.name]
    return to_manifests(machine, choices, names, Offer(kubevirt=platform))


def has(found: Mapped) -> set[str]:
    template = found.manifests[-1]["spec"]["template"]["spec"]
    domain, devices = template["domain"], template["domain"]["devices"]
    parts = {
        "video": "video" in devices,
        "panic": "panicDevices" in devices,
        "drive": any("cdrom" in disk for disk in devices["disks"]),
        "tlbflush.direct": "direct" in domain["features"]["hyperv"]["tlbflush"],
        "tpm": devices["tpm"]["persistent"],
    }
    return {name for name, there in parts.items() if there}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.5", set()),
        ("1.6", {"tpm"}),
        ("1.7", {"tpm", "video", "panic"}),
        ("1.8", {"tpm", "video", "panic", "tlbflush.direct"}),
        ("1.9", set(ALL)),
        ("1.10", set(ALL)),
        (None, set(ALL)),
    ],
)
def test_each_version_gets_what_it_takes_and_the_rest_is_told(
    rich: Machine, version: str | None, expected: set[str]
) -> None:
    platform = Platform(version=version)
    found = mapped(rich, platform)
    assert has(found) == expected
    told = [one for one in found.concerns if one.id == "kubevirt.left-out"]
    assert len(told) == len(ALL) - len(expected)
    assert all(one.severity is Severity.WARNING and one.fix for one in told)
    assert check_all(found.manifests, platform) == []


def test_where_nobody_asked_the_policy_says_the_version_and_who_is_asked_counts(rich: Machine) -> None:
    assert has(mapped(rich, None, kubevirt="1.6")) == {"tpm"}
    assert has(mapped(rich, Platform(version="1.9"), kubevirt="1.6")) == set(ALL)
    assert has(mapped(rich, None)) == set(ALL)


def test_a_gate_that_is_switched_counts(rich: Machine) -> None:
    opened = Platform(version="1.6", gates_on=("DeclarativeHotplugVolumes", "VideoConfig"))
    assert has(mapped(rich, opened)) == {"tpm", "drive", "video"}
    shut = Platform(version="1.9", gates_off=("DeclarativeHotplugVolumes", "VideoConfig"))
    assert has(mapped(rich, shut)) == set(ALL) - {"drive"}, "VideoConfig is no gate any more"
    (told,) = [one for one in mapped(rich, shut).concerns if one.id == "kubevirt.left-out"]
    assert "drive sda" in told.what
    assert "Switch DeclarativeHotplugVolumes on" in told.fix


def test_what_is_left_out_is_in_the_list_of_fates(rich: Machine) -> None:
    lines = {line.field: line for line in mapped(rich, Platform(version="1.5")).carried}
    assert (lines["disks[sda].device"].fate, lines["disks[sda].device"].reason) == (
        Fate.LOST,
        "this KubeVirt takes no empty drive",
    )
    assert "chooses the card" in lines["devices[0:video]"].reason
    assert lines["devices[1:panic]"].reason == "this KubeVirt has none"
    assert (lines["tpm.persistent"].fate, lines["tpm.persistent"].reason) == (
        Fate.CHANGED,
        "this KubeVirt keeps no state of a TPM",
    )


def test_what_may_be_discarded_is_for_versions_that_know_it(machine: Any) -> None:
    made = machine()
    one = made.model_copy(
        update={"disks": (made.disks[0].model_copy(update={"discard_granularity_bytes": 65536}), *made.disks[1:])}
    )
    field = f"disks[{one.disks[0].id}].discard_granularity_bytes"
    for version, fate, told in (("1.6", Fate.LOST, 1), ("1.7", Fate.CARRIED, 0)):
        found = mapped(one, Platform(version=version))
        assert {line.field: line.fate for line in found.carried}[field] is fate
        assert sum("discardGranularity" in concern.what for concern in found.concerns) == told


def test_a_version_that_is_too_old_is_refused(rich: Machine) -> None:
    (told,) = [one for one in mapped(rich, Platform(version="1.4")).concerns if one.id == "kubevirt.too-old"]
    assert told.severity is Severity.CRITICAL
    assert "1.5" in told.fix


def test_what_a_patch_adds_is_held_against_the_version(machine: Any) -> None:
    """A user's own change is not taken back in silence: the plan is refused with the field."""
    one = machine()
    patch = {"spec": {"template": {"spec": {"domain": {"rebootPolicy": "Terminate"}}}}}
    policy = Policy.model_validate({"machines": {one.name: {"patch": [patch]}}, "kubevirt": "1.7"})
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01", machines=(one,))
    with pytest.raises(InputInvalid, match=r"rebootPolicy.*KubeVirt 1\.7 does not know it"):
        make_plan(inventory, policy, name="p", created_at="2026-01-01")
    with pytest.raises(InputInvalid, match=r"rebootPolicy.*feature gate RebootPolicy"):
        make_plan(inventory, policy.model_copy(update={"kubevirt": "1.8"}), name="p", created_at="2026-01-01")
    newer = policy.model_copy(update={"kubevirt": "1.9"})
    assert make_plan(inventory, newer, name="p", created_at="2026-01-01").entries


def test_the_tables_hold_together() -> None:
    assert SUPPORTED == ("1.5", "1.6", "1.7", "1.8", "1.9")
    for gate in GATES.values():
        steps = [step for step in (gate.alpha, gate.beta, gate.ga) if step is not None]
        assert steps == sorted(steps)
    assert all(OLDEST < since <= NEWEST for since in FIELDS.values())
    assert version_of("v1.9.0-rc.2") == (1, 9)
    assert version_of("devel") is None


def test_no_gate_helps_before_its_version() -> None:
    assert not is_on("VideoConfig", (1, 5), ["VideoConfig"], [])
    assert is_on("VideoConfig", (1, 6), ["VideoConfig"], [])
    assert not is_on("VideoConfig", (1, 6), ["VideoConfig"], ["VideoConfig"])
    assert is_on("VideoConfig", (1, 9), [], ["VideoConfig"])
