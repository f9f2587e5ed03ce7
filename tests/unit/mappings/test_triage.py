"""Each sign is found by its fact and by nothing else, and the place is what the signs come to."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Inventory, MachinePolicy, Policy, SandboxPolicy, TrafficPolicy
from kubeferry.documents.triage import Triage
from kubeferry.model import (
    Cpu,
    Device,
    Firmware,
    FirmwareKind,
    Guest,
    Machine,
    Nic,
    SourceFact,
    Tpm,
    TrafficFilter,
    TrafficRule,
)
from mappings.assessment import assess, render_assessment_markdown
from mappings.systems import is_linux, out_of_support
from mappings.triage.signs import SIGNS
from tests.unit.mappings.conftest import a_disk, build


def told(**facts: str) -> dict[str, Any]:
    return {"unmodelled": tuple(SourceFact(path=path, value=value) for path, value in facts.items())}


def serving(*ports: int) -> dict[str, Any]:
    """A card whose security group opens these ports, and that for administration."""
    rules = [
        TrafficRule(inward=True, protocol="tcp", first_port=port, last_port=port, line=f"tcp {port} from 0.0.0.0/0")
        for port in (22, *ports)
    ]
    one = TrafficFilter(name="sg-1", kind="security-group", rules=tuple(rules))
    return {"nics": (Nic(id="eni-1", network_kind="subnet", mac="52:54:00:00:00:01", filters=(one,)),)}


ROWS: dict[str, dict[str, Any]] = {
    "stay.managed": told(**{"ec2/Operator/Managed": "yes"}),
    "stay.bare-metal": told(**{"ec2/bareMetal": "m5.metal"}),
    "stay.enclave": told(**{"ec2/EnclaveOptions/Enabled": "yes"}),
    "stay.fault-tolerance": told(faultTolerance="running"),
    "stay.appliance": told(managedBy="com.acme (appliance)"),
    "stay.paravirtual": told(**{"ec2/VirtualizationType": "paravirtual"}),
    "stay.architecture": {"arch": "s390x"},
    "stay.host-device": {"devices": (Device(kind="hostdev", model="pci"),)},
    "stay.router": told(**{"ec2/SourceDestCheck": "no"}),
    "vm.system": {"guest": Guest(os_name="FreeBSD 14")},
    "vm.age": {"guest": Guest(os_id="centos7")},
    "vm.hardware": {"tpm": Tpm(version="2.0")},
    "vm.cards": {"nics": (Nic(id="net0", mac="52:54:00:00:00:01"), Nic(id="net1", mac="52:54:00:00:00:02"))},
    "vm.disks": {"disks": (a_disk("vda"), a_disk("vdb"))},
    "vm.services": serving(80, 8443),
    "vm.state": serving(5432),
    "container.alike": {"metadata": {"aws:autoscaling:groupName": "fleet"}},
    "container.one-service": serving(8080),
}


def found(policy: Policy | None = None, **facts: Any) -> Triage:
    machine = build(**facts)
    (one,) = assess(of(machine), policy or Policy())
    assert one.triage is not None
    return one.triage


def of(machine: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="x", observed_at="2026-01-01T00:00:00Z", machines=(machine,))


def test_every_sign_has_a_row() -> None:
    assert sorted(ROWS) == sorted(sign.id for sign in SIGNS)


@pytest.mark.parametrize("sign", ROWS)
def test_a_sign_is_found_by_its_fact_and_decides_where_no_other_one_speaks(sign: str) -> None:
    triage = found(**ROWS[sign])
    assert [one.id for one in triage.reasons] == [sign]
    assert triage.place == sign.partition(".")[0]
    assert all(one.fact for one in triage.reasons)


def test_a_machine_of_which_nothing_speaks_moves_as_it_is_and_the_unknown_is_said() -> None:
    triage = found(guest=Guest())
    assert (triage.place, [one.id for one in triage.reasons]) == ("vm", ["vm.as-it-is"])
    assert [one.split(":")[0] for one in triage.unknown] == [
        "which system it runs",
        "on which ports it serves",
        "what it is for",
        "what runs in it, and where that keeps its state",
    ]


def test_what_keeps_it_comes_before_what_asks_for_a_vm_and_that_before_a_container() -> None:
    assert found(**(serving(8080) | {"disks": (a_disk("vda"), a_disk("vdb"))})).place == "vm"
    assert found(**(serving(8080) | {"arch": "s390x"})).place == "stay"


def test_one_service_is_a_candidate_only_where_the_system_is_known_to_be_a_linux() -> None:
    assert found(**serving(443), guest=Guest(os_name="Linux/UNIX")).place == "vm"
    image = told(**{"ec2/image/Name": "debian-12-amd64-20260101"})
    triage = found(**(serving(443) | image), guest=Guest(os_name="Linux/UNIX"))
    assert triage.place == "container"
    assert "ec2/image/Name: debian-12-amd64-20260101" in triage.reasons[0].fact


def test_ports_that_are_not_single_tell_nothing() -> None:
    wide = TrafficRule(inward=True, protocol="tcp", line="tcp from 10.0.0.0/8", cidr="10.0.0.0/8")
    group = TrafficFilter(name="sg-1", kind="security-group", rules=(wide,))
    triage = found(nics=(Nic(id="eni-1", filters=(group,)),))
    assert any(one.startswith("on which ports") for one in triage.unknown)


def test_secure_boot_and_nested_virtualization_ask_for_a_kernel_of_its_own() -> None:
    secure = found(firmware=Firmware(kind=FirmwareKind.UEFI, secure_boot=True))
    nested = found(cpu=Cpu(vcpus=2, nested=True))
    assert (secure.reasons[0].fact, nested.reasons[0].fact) == ("firmware.secureBoot: yes", "cpu.nested: yes")


@pytest.mark.parametrize(
    ("guest", "linux", "ended"),
    [
        (Guest(os_id="debian12"), True, False),
        (Guest(os_id="http://debian.org/debian/10"), True, True),
        (Guest(os_name="Ubuntu 22.04.4 LTS"), True, False),
        (Guest(os_name="Microsoft Windows Server 2012 R2"), False, True),
        (Guest(os_name="Microsoft Windows Server 2022"), False, False),
        (Guest(os_id="windows9Server64Guest"), False, False),
        (Guest(os_name="Linux/UNIX"), None, None),
        (Guest(os_name="FreeBSD 14"), False, None),
        (Guest(), None, None),
    ],
)
def test_family_and_age_come_from_the_words_of_the_source(guest: Guest, linux: bool | None, ended: bool | None) -> None:
    assert (is_linux(guest), out_of_support(guest)) == (linux, ended)


def test_the_sandbox_says_whose_it_is_what_movers_run_under_and_who_reaches_it() -> None:
    policy = Policy(
        network=TrafficPolicy(policies="from-source"),
        machines={"web": MachinePolicy(namespace="acme", sandbox=SandboxPolicy(tenant="acme", runtime_class="gvisor"))},
    )
    box = found(policy, **serving(8080)).sandbox
    assert (box.namespace, box.tenant, box.pod_security, box.runtime_class, box.network_policy) == (
        *("acme", "acme", "baseline", "gvisor"),
        True,
    )


def test_the_page_for_tickets_has_place_reasons_and_facts() -> None:
    (one,) = assess(of(build(**serving(8080))), Policy())
    page = render_assessment_markdown(one)
    assert "**Perhaps as a container image.**" in page
    assert "nics\\[eni-1\\].filters\\[sg-1\\]: tcp 8080 from 0.0.0.0/0" in page
    assert "Not known: what it is for" in page


def test_tenants_that_share_a_namespace_are_told() -> None:
    one, other = build(), build(name="db", id="db", uuid=None, nics=())
    policy = Policy(
        machines={
            "web": MachinePolicy(sandbox=SandboxPolicy(tenant="acme")),
            "db": MachinePolicy(sandbox=SandboxPolicy(tenant="initech")),
        }
    )
    inventory = of(one).model_copy(update={"machines": (one, other)})
    told = [
        [c.what for c in found.concerns if c.id == "sandbox.shared-namespace"] for found in assess(inventory, policy)
    ]
    assert told == [
        ["It belongs to acme, and namespace default takes machines of initech, too."],
        ["It belongs to initech, and namespace default takes machines of acme, too."],
    ]
    apart = policy.model_copy(
        update={"machines": policy.machines | {"db": policy.machines["db"].model_copy(update={"namespace": "b"})}}
    )
    assert not [c for found in assess(inventory, apart) for c in found.concerns if c.id.startswith("sandbox")]
