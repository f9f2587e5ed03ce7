"""Where UEFI variables go: by what the source has kept, what the target can, and what the policy says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import KeptVariables, MachinePolicy, Offer, Policy, StateOffer
from kubeferry.model import Fate, Firmware, Machine
from mappings.admission.check import check_all
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names

Build = Callable[..., Machine]
UEFI = Firmware(kind="uefi", secure_boot=False, nvram="/var/lib/libvirt/qemu/nvram/web_VARS.fd", nvram_format="raw")
CAN = StateOffer(storage_class="fast", access_mode="ReadWriteMany")


def mapped(machine: Machine, state: StateOffer | None = CAN, policy: Policy | None = None) -> Mapped:
    policy = policy or Policy()
    made = to_manifests(machine, policy, machine_names([machine], policy)[machine.name], Offer(state=state))
    assert check_all(made.manifests) == []
    return made


def persistent(made: Mapped) -> bool:
    vm = made.manifests[-1]["spec"]["template"]["spec"]
    kept: bool = vm["domain"]["firmware"]["bootloader"]["efi"]["persistent"]
    return kept


def lost(made: Mapped) -> list[str]:
    return [one.what for one in made.concerns if one.id == "firmware.nvram-lost"]


def fate(made: Mapped) -> Fate:
    return next(one.fate for one in made.carried if one.field == "firmware.nvram")


def test_what_the_source_kept_goes_to_the_claim_that_kubevirt_takes(machine: Build) -> None:
    made = mapped(machine(firmware=UEFI))
    assert persistent(made)
    assert made.variables == KeptVariables(claim="persistent-state-for-web", file="nvram/web_VARS.fd", layout="4m")
    claim = made.manifests[-2]
    assert claim["metadata"]["name"] == "persistent-state-for-web"
    assert claim["metadata"]["labels"]["persistent-state-for"] == "web"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": "10Mi"}},
        "storageClassName": "fast",
    }
    assert lost(made) == []
    assert fate(made) is Fate.CARRIED


def test_those_that_ec2_hands_over_go_as_well(machine: Build) -> None:
    ec2 = UEFI.model_copy(update={"nvram": "GetInstanceUefiData", "nvram_format": "uefi-data"})
    made = mapped(machine(firmware=ec2))
    assert made.variables is not None
    assert fate(made) is Fate.CARRIED


@pytest.mark.parametrize(
    ("state", "policy", "why"),
    [
        (None, Policy(), "the target was not asked, or has no room for them"),
        (CAN, Policy(machines={"web": MachinePolicy(keep_variables=False)}), "the policy leaves them behind"),
        (
            CAN.model_copy(update={"carries": False}),
            Policy(),
            "this KubeVirt has none put there before the first start",
        ),
    ],
)
def test_what_is_lost_says_why(machine: Build, state: StateOffer | None, policy: Policy, why: str) -> None:
    (told,) = lost(mapped(machine(firmware=UEFI), state, policy))
    assert told.startswith(f"UEFI variables are not carried, since {why}: ")


def test_variables_that_nobody_can_read_are_lost_for_that_reason(machine: Build) -> None:
    (told,) = lost(mapped(machine(firmware=UEFI.model_copy(update={"nvram": None}))))
    assert "since the source has none that can be read" in told


def test_a_class_that_makes_larger_volumes_only_is_asked_for_one(machine: Build) -> None:
    made = mapped(machine(firmware=UEFI), CAN.model_copy(update={"minimum_bytes": 1 << 30}))
    assert made.manifests[-2]["spec"]["resources"]["requests"]["storage"] == "1Gi"


def test_a_long_name_is_cut_and_the_label_is_not(machine: Build) -> None:
    name = "w" * 63
    made = mapped(machine(name=name, firmware=UEFI))
    assert made.variables is not None
    assert len(made.variables.claim) <= 63
    assert made.manifests[-2]["metadata"]["labels"]["persistent-state-for"] == name


@pytest.mark.parametrize(
    ("changes", "state", "policy", "stays"),
    [
        ({"firmware": UEFI}, None, Policy(), False),
        ({"firmware": UEFI}, CAN.model_copy(update={"carries": False}), Policy(), True),
        ({"firmware": UEFI.model_copy(update={"nvram": None})}, CAN, Policy(), True),
        ({"firmware": UEFI, "arch": "aarch64"}, CAN, Policy(), True),
        ({"firmware": UEFI.model_copy(update={"nvram_format": "vmdk"})}, CAN, Policy(), True),
        ({"firmware": UEFI}, CAN, Policy(machines={"web": MachinePolicy(keep_variables=False)}), True),
        ({"firmware": Firmware(kind="bios")}, CAN, Policy(machines={"web": MachinePolicy(firmware="uefi")}), False),
    ],
)
def test_where_they_do_not_go_it_is_said_whether_new_ones_stay(
    machine: Build, changes: dict[str, Any], state: StateOffer | None, policy: Policy, stays: bool
) -> None:
    made = mapped(machine(**changes), state, policy)
    assert made.variables is None
    assert persistent(made) is stays
    (said,) = lost(made)
    assert ("at each stop" in said) is not stays
    assert not any("persistent-state-for" in one["metadata"]["labels"] for one in made.manifests)


def test_a_bios_machine_keeps_none(machine: Build) -> None:
    made = mapped(machine())
    assert made.variables is None
    assert lost(made) == []
