"""Where what a TPM holds goes: by what the source has, what the target can, and what the policy says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import KeptTpm, MachinePolicy, Offer, Policy, StateOffer
from kubeferry.model import Fate, Firmware, Machine, Tpm
from mappings.admission.check import check_all
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names

Build = Callable[..., Machine]
UUID = "5f0c3a1e-7a51-4a53-9a5d-0e5b6a3f8e01"
STATE = f"/var/lib/libvirt/swtpm/{UUID}/tpm2/tpm2-00.permall"
TPM = Tpm(model="tpm-crb", version="2.0", backend="emulator", state=STATE)
CAN = StateOffer(storage_class="fast")
LEFT = Policy(machines={"web": MachinePolicy(keep_tpm=False)})


def mapped(machine: Machine, state: StateOffer | None = CAN, policy: Policy | None = None) -> Mapped:
    policy = policy or Policy()
    made = to_manifests(machine, policy, machine_names([machine], policy)[machine.name], Offer(state=state))
    assert check_all(made.manifests) == []
    return made


def told(made: Mapped, rule: str) -> list[str]:
    return [one.what for one in made.concerns if one.id == rule]


def fates(made: Mapped) -> dict[str, Fate]:
    return {one.field: one.fate for one in made.carried if one.field.startswith("tpm.")}


def test_it_goes_where_libvirt_in_the_machines_pod_looks_for_it(machine: Build) -> None:
    made = mapped(machine(tpm=TPM, uuid=UUID.upper()))
    assert made.tpm == KeptTpm(claim="persistent-state-for-web", file=f"swtpm/{UUID}/tpm2/tpm2-00.permall")
    claim, vm = made.manifests[-2:]
    assert claim["metadata"]["labels"]["persistent-state-for"] == "web"
    assert vm["spec"]["template"]["spec"]["domain"]["devices"]["tpm"] == {"enabled": True, "persistent": True}
    assert vm["spec"]["template"]["spec"]["domain"]["firmware"]["uuid"] == UUID
    assert told(made, "tpm.state-lost") == []
    assert len(told(made, "tpm.measured-anew")) == 1
    assert set(fates(made).values()) == {Fate.CARRIED}


def test_one_claim_is_enough_for_variables_and_it(machine: Build) -> None:
    uefi = Firmware(kind="uefi", secure_boot=False, nvram="/web_VARS.fd", nvram_format="raw")
    made = mapped(machine(tpm=TPM, uuid=UUID, firmware=uefi))
    assert made.tpm is not None
    assert made.variables is not None
    assert made.tpm.claim == made.variables.claim
    assert [one["metadata"]["name"] for one in made.manifests].count(made.tpm.claim) == 1


@pytest.mark.parametrize(
    ("changes", "state", "policy", "why"),
    [
        ({}, None, Policy(), "the target was not asked"),
        ({}, CAN.model_copy(update={"carries": False}), Policy(), "none put there before the first start"),
        ({}, CAN, LEFT, "the policy leaves it behind"),
        ({"encrypted": True}, CAN, Policy(), "encrypted with a key that only the source's hypervisor has"),
        ({"state": None}, CAN, Policy(), "the source does not hand it over"),
        ({"backend": "nitro"}, CAN, Policy(), "the source does not hand it over"),
        ({"backend": "passthrough", "state": None}, CAN, Policy(), "a chip of the host keeps it"),
        ({"version": "1.2"}, CAN, Policy(), "it is no TPM 2.0"),
    ],
)
def test_what_is_lost_says_why(machine: Build, changes: Any, state: Any, policy: Policy, why: str) -> None:
    made = mapped(machine(tpm=TPM.model_copy(update=changes), uuid=UUID), state, policy)
    assert made.tpm is None
    (lost,) = told(made, "tpm.state-lost")
    assert why in lost
    assert told(made, "tpm.measured-anew") == []
    assert fates(made).get("tpm.state", Fate.LOST) is Fate.LOST


def test_a_patch_that_takes_the_tpm_away_takes_its_place_away(machine: Build) -> None:
    patch = {"spec": {"template": {"spec": {"domain": {"devices": {"tpm": None}}}}}}
    made = mapped(machine(tpm=TPM, uuid=UUID), policy=Policy(machines={"web": MachinePolicy(patch=patch)}))
    assert made.tpm is None
    assert not any(one["metadata"]["name"].startswith("persistent-state") for one in made.manifests)
