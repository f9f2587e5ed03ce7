"""The policy's word about single disks: which ones it is for, what comes of it, and that it is told who decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import (
    ClaimSet,
    DiskChoice,
    DiskMatch,
    Inventory,
    MachinePolicy,
    Match,
    Offer,
    Plan,
    Policy,
    PolicyRule,
    StorageClass,
    StoragePolicy,
    digest_of,
)
from kubeferry.errors import InputInvalid
from kubeferry.model import Disk, Fate, Firmware, Guest, Machine, SourceFact
from mappings.assessment import assess, render_assessment_markdown
from mappings.disk_wishes import fitting
from mappings.plan import make_plan
from mappings.policy_problems import policy_problems
from mappings.wishes import fits as machine_fits

GIB = 1 << 30
Build = Callable[..., Machine]
DiskOf = Callable[..., Disk]

OFFER = Offer(
    classes=(
        StorageClass(name="fast", default=True, sets=(ClaimSet(access_modes=("ReadWriteMany",), volume_mode="Block"),)),
        StorageClass(name="slow", sets=(ClaimSet(access_modes=("ReadWriteOnce",), volume_mode="Filesystem"),)),
    )
)


def inventory(*machines: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="vmware", observed_at="2026-01-01T00:00:00Z", machines=machines)


def own(*choices: DiskChoice, **more: Any) -> Policy:
    return Policy(machines={"web": MachinePolicy(disks=choices, **more)})


def plan(policy: Policy, *machines: Machine, offer: Offer = OFFER) -> Plan:
    return make_plan(inventory(*machines), policy, name="p", created_at="2026-01-01T00:00:00Z", offer=offer)


def devices(made: Plan) -> dict[str, dict[str, Any]]:
    (entry,) = made.entries
    domain = entry.manifests[-1]["spec"]["template"]["spec"]["domain"]
    return {one["name"]: one for one in domain["devices"]["disks"]}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (DiskMatch(), ["vda", "2001", "cdrom0"]),
        (DiskMatch(id="VD?"), ["vda"]),
        (DiskMatch(id="sd*"), []),
        (DiskMatch(label="hard disk 2"), ["2001"]),
        (DiskMatch(file="*scratch*.vmdk"), ["2001"]),
        (DiskMatch(file="vda.img"), ["vda"]),
        (DiskMatch(size_from="500Gi"), ["2001"]),
        (DiskMatch(size_to="10Gi"), ["vda"]),
        (DiskMatch(size_from="10Gi", size_to="10Gi"), ["vda"]),
        (DiskMatch(id="2*", size_to="10Gi"), []),
    ],
)
def test_which_disks_a_match_fits(machine: Build, disk: DiskOf, match: DiskMatch, expected: list[str]) -> None:
    """By id, by what people call it, by its file and by its size; a drive of unknown size has none that fits."""
    large = disk("2001", label="Hard disk 2", uri="datastore:///SAN/web/web%20scratch_1.vmdk", capacity_bytes=500 * GIB)
    drive = Disk(id="cdrom0", device="cdrom", bus="sata")
    told = machine(disks=(disk("vda"), large, drive))
    assert [one.id for one in fitting(match, told)] == expected


def test_a_name_with_brackets_of_its_own_fits_itself(machine: Build, disk: DiskOf) -> None:
    told = machine(name="web[1]", disks=(disk("Festplatte [2]"), disk("Festplatte 2")))
    assert [one.id for one in fitting(DiskMatch(id="festplatte [2]"), told)] == ["Festplatte [2]", "Festplatte 2"]
    assert machine_fits(Match(name="web[1]"), told)


def test_a_match_fits_the_name_at_the_target_too(machine: Build, disk: DiskOf) -> None:
    told = machine(disks=(disk("System Disk"),))
    assert [one.id for one in fitting(DiskMatch(id="system-disk"), told)] == ["System Disk"]


def test_class_and_modes_of_single_disks(machine: Build, disk: DiskOf) -> None:
    """Another class brings its own modes; what is said for the disk goes before what is said for the machine."""
    policy = own(
        DiskChoice(match=DiskMatch(size_from="100Gi"), storage_class="slow"),
        DiskChoice(match=DiskMatch(id="vdc"), access_mode="ReadWriteOncePod", volume_mode="Block"),
    )
    made = plan(policy, machine(disks=(disk("vda"), disk("vdb", capacity_bytes=100 * GIB), disk("vdc"))))
    (entry,) = made.entries
    specs = {one["metadata"]["name"]: one["spec"] for one in entry.manifests[:-1]}
    said = {name: (spec["storageClassName"], spec["accessModes"], spec["volumeMode"]) for name, spec in specs.items()}
    assert said == {
        "web-vda": ("fast", ["ReadWriteMany"], "Block"),
        "web-vdb": ("slow", ["ReadWriteOnce"], "Filesystem"),
        "web-vdc": ("fast", ["ReadWriteOncePod"], "Block"),
    }
    sizes = {one.disk: (one.claim_bytes, one.volume_mode) for one in entry.disks}
    assert sizes["vda"] == (10 * GIB, "Block")
    assert sizes["vdb"][0] > 100 * GIB
    ids = {concern.id: concern.what for concern in entry.concerns}
    assert ids["storage.modes-unusual"].startswith("Disk vdc: ")
    assert "from ReadWriteOnce and ReadWriteOncePod claims" in ids["storage.one-node"]


def test_a_class_that_the_cluster_has_not_is_told_of_the_disk_that_wants_it(machine: Build, disk: DiskOf) -> None:
    policy = own(DiskChoice(match=DiskMatch(id="vdb"), storage_class="gold"))
    made = plan(policy, machine(disks=(disk("vda"), disk("vdb"))))
    assert "[storage.class-missing] Disk vdb: The cluster has no storage class gold" in made.excluded["web"]


def test_the_overhead_that_the_policy_names_holds_for_every_class(machine: Build, disk: DiskOf) -> None:
    policy = own(
        DiskChoice(match=DiskMatch(id="vda"), storage_class="slow"), storage=StoragePolicy(filesystem_overhead=0.5)
    )
    (entry,) = plan(policy, machine(disks=(disk("vda"),))).entries
    assert entry.disks[0].claim_bytes >= 20 * GIB


def test_the_bus_of_a_disk_goes_before_that_of_its_machine_and_drives_keep_theirs(machine: Build, disk: DiskOf) -> None:
    drive = Disk(id="hdc", device="cdrom", bus="ide")
    policy = own(DiskChoice(match=DiskMatch(id="*b"), bus="usb"), DiskChoice(match=DiskMatch(id="hdc"), bus="scsi"))
    policy = policy.model_copy(update={"rules": (PolicyRule(match=Match(), disk_bus="scsi"),)})
    found = devices(plan(policy, machine(disks=(disk("vda"), disk("vdb"), drive))))
    assert found["vda"]["disk"]["bus"] == "scsi"
    assert found["vdb"]["disk"]["bus"] == "usb"
    assert found["hdc"]["cdrom"]["bus"] == "sata"


@pytest.mark.parametrize(
    ("which", "bus", "said"),
    [
        ("sda", "virtio", "it does not start (INACCESSIBLE_BOOT_DEVICE)"),
        ("sdb", "virtio", "it does not find the disk"),
        ("sda", "scsi", "it does not start"),
        ("sda", "usb", "the guest must have that driver at boot"),
    ],
)
def test_what_windows_loses_on_a_bus_that_it_has_no_driver_for(
    machine: Build, disk: DiskOf, which: str, bus: str, said: str
) -> None:
    windows = machine(
        disks=(disk("sda", bus="sata"), disk("sdb", bus="sata")),
        guest=Guest(os_name="Windows Server 2019", agent_channel=True),
    )
    (entry,) = plan(own(DiskChoice(match=DiskMatch(id=which), bus=bus)), windows).entries
    (found,) = [concern for concern in entry.concerns if concern.id == "disk.bus-changed"]
    assert found.what.startswith(f"Disk {which} moves from sata to {bus}")
    assert said in found.what


def test_a_bus_without_the_disk_s_sectors_is_refused_for_that_disk(machine: Build, disk: DiskOf) -> None:
    policy = own(DiskChoice(match=DiskMatch(id="vdb"), bus="sata"))
    told = machine(disks=(disk("vda", logical_block_bytes=4096), disk("vdb", logical_block_bytes=4096)))
    assert "Disk vdb has sectors of 4096 bytes" in plan(policy, told).excluded["web"]
    assert "Disk vda" not in plan(policy, told).excluded["web"]


# --- boot order ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orders", "wished", "expected"),
    [
        ({}, {"vdb": 1}, {"vdb": 1, "vda": 2}),  # the firmware's list: the first disk
        ({"vda": 1, "vdb": 2}, {"vdb": 1}, {"vdb": 1, "vda": 2}),
        ({"vda": 1, "vdb": 2}, {"vdb": 7}, {"vda": 1, "vdb": 7}),
        ({"vda": 1, "vdb": 2, "vdc": 3}, {"vdc": 2}, {"vda": 1, "vdc": 2, "vdb": 3}),
    ],
)
def test_the_policy_s_boot_order_stands_and_the_source_s_takes_what_is_left(
    machine: Build, disk: DiskOf, orders: dict[str, int], wished: dict[str, int], expected: dict[str, int]
) -> None:
    disks = tuple(disk(name, boot_order=orders.get(name)) for name in ("vda", "vdb", "vdc"))
    choices = [DiskChoice(match=DiskMatch(id=name), boot_order=order) for name, order in wished.items()]
    found = devices(plan(own(*choices), machine(disks=disks)))
    assert {name: one["bootOrder"] for name, one in found.items() if "bootOrder" in one} == expected


def test_another_disk_to_boot_from_is_told_and_so_is_the_order_s_fate(machine: Build, disk: DiskOf) -> None:
    told = machine(disks=(disk("vda", boot_order=1), disk("vdb", boot_order=2)), firmware=Firmware(kind="bios"))
    (entry,) = plan(own(DiskChoice(match=DiskMatch(id="vdb"), boot_order=1)), told).entries
    assert "Disk vdb boots, as the policy says, and not vda." in {concern.what for concern in entry.concerns}
    fates = {line.field: line for line in entry.carried}
    assert fates["disks[vda].boot_order"].reason == "now 2: the policy puts disks in order"
    unclear = machine(disks=(disk("vda"), disk("vdb")), firmware=Firmware(kind="bios"))
    (entry,) = plan(own(DiskChoice(match=DiskMatch(id="vda"), boot_order=1)), unclear).entries
    assert "disk.boot-unclear" not in {concern.id for concern in entry.concerns}


# --- left out --------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_left_out_has_neither_claim_nor_drive_and_it_is_said(machine: Build, disk: DiskOf) -> None:
    drive = Disk(id="hdc", device="cdrom", bus="sata", uri="file:///iso/tools.iso")
    unread = disk("vdb", uri=None, capacity_bytes=None, format=None, encrypted=True, shareable=True, label="Scratch")
    policy = own(
        DiskChoice(match=DiskMatch(label="scratch"), include=False),
        DiskChoice(match=DiskMatch(id="hdc"), include=False),
    )
    made = plan(policy, machine(disks=(disk("vda"), unread, drive)))
    (entry,) = made.entries
    assert [one.disk for one in entry.disks] == ["vda"]
    assert list(devices(made)) == ["vda"]
    assert len(entry.manifests[-1]["spec"]["template"]["spec"]["volumes"]) == 1
    assert entry.machine.left_out == ("vdb", "hdc")
    assert [one.id for one in entry.machine.data_disks] == ["vda"]
    told = {concern.id: concern.what for concern in entry.concerns}
    assert told["disk.left-out"] == (
        "Disk vdb is left out by the policy: it is neither copied nor attached at the target."
    )
    assert not {"disk.encrypted", "disk.shared", "disk.size-unknown", "cdrom.medium"} & told.keys()
    lines = [line for line in entry.carried if line.field.startswith(("disks[vdb]", "disks[hdc]"))]
    assert {(line.fate, line.reason) for line in lines} == {(Fate.LOST, "the policy leaves this disk out")}
    assert "left_out" not in {line.field for line in entry.carried}


@pytest.mark.parametrize(
    ("orders", "left", "said"),
    [
        ({}, ["vda"], "Disk vda, which the policy leaves out, is the one that it boots from."),
        ({"vdb": 1}, ["vdb"], "Disk vdb, which the policy leaves out, is the one that it boots from."),
        ({}, ["*"], "The policy leaves out all disks of the machine: nothing of it would move."),
    ],
)
def test_the_disk_that_it_boots_from_is_not_left_out_unless_that_is_accepted(
    machine: Build, disk: DiskOf, orders: dict[str, int], left: list[str], said: str
) -> None:
    told = machine(disks=(disk("vda"), *(disk(name, boot_order=orders.get(name)) for name in ("vdb", "vdc"))))
    choices = [DiskChoice(match=DiskMatch(id=name), include=False) for name in left]
    assert f"[disk.boot-left-out] {said}" in plan(own(*choices), told).excluded["web"]
    assert not plan(own(*choices, accept=("disk.boot-left-out",)), told).excluded


def test_the_first_disk_may_be_left_out_where_the_policy_boots_from_another(machine: Build, disk: DiskOf) -> None:
    policy = own(
        DiskChoice(match=DiskMatch(id="vda"), include=False), DiskChoice(match=DiskMatch(id="vdb"), boot_order=1)
    )
    made = plan(policy, machine(disks=(disk("vda"), disk("vdb"))))
    assert {name: one["bootOrder"] for name, one in devices(made).items()} == {"vdb": 1}


def test_a_shared_disk_that_all_but_one_leave_out_is_nobody_else_s(machine: Build, disk: DiskOf) -> None:
    """Left out by a machine that does not move itself, it still is that one's."""
    shared = disk("vdb", uri="file:///images/quorum.img", shareable=True)
    web = machine(disks=(disk("vda"), shared))
    db = machine(id="db", name="db", uuid=None, nics=(), disks=(disk("vda", uri="file:///images/db.img"), shared))
    out = DiskChoice(match=DiskMatch(id="vdb"), include=False)
    both = Policy(machines={"web": MachinePolicy(accept=("disk.shared",)), "db": MachinePolicy(disks=(out,))})
    entry = plan(both, web, db).entry("web")
    assert not any("is also that of db" in concern.what for concern in entry.concerns)
    stays = both.model_copy(update={"machines": both.machines | {"db": MachinePolicy(disks=(out,), include=False)}})
    entry = plan(stays, web, db).entry("web")
    assert any("is also that of db" in concern.what for concern in entry.concerns)


def test_facts_of_its_source_about_a_disk_that_is_left_out_speak_against_nothing(machine: Build, disk: DiskOf) -> None:
    facts = {"disk[2001]/datastore": "missing (SAN)", "disk[2001]/compatibilityMode": "physicalMode"}
    told = machine(
        disks=(disk("2000"), disk("2001")),
        unmodelled=tuple(SourceFact(path=path, value=value) for path, value in facts.items()),
    )
    assert "[vmware.datastore-missing]" in plan(Policy(), told).excluded["web"]
    (entry,) = plan(own(DiskChoice(match=DiskMatch(id="2001"), include=False)), told).entries
    assert not {one.id for one in entry.concerns} & {"vmware.datastore-missing", "vmware.raw-device"}
    key = (SourceFact(path="ec2/volume[sdb]/KmsKeyId", value="arn:aws:kms:x"),)
    cloudy = machine(id="i-0123456789abcdef0", disks=(disk("xvda"), disk("sdb")), unmodelled=key)
    (entry,) = plan(own(DiskChoice(match=DiskMatch(id="sdb"), include=False)), cloudy).entries
    assert "ec2.encrypted" not in {one.id for one in entry.concerns}


def test_a_plan_that_leaves_out_nothing_has_the_digest_that_it_had(machine: Build, disk: DiskOf) -> None:
    told = machine(disks=(disk("vda"),))
    assert digest_of(told) == digest_of(Machine.model_validate(told.model_dump(exclude={"left_out"})))
    assert "leftOut" not in told.model_dump(by_alias=True, exclude_none=True)


# --- rules, and who decided ------------------------------------------------------------------------------------------


def test_of_each_disk_and_field_the_last_word_counts_and_the_page_says_whose_it_was(
    machine: Build, disk: DiskOf
) -> None:
    every = DiskMatch()
    policy = Policy(
        rules=(
            PolicyRule(match=Match(), disks=(DiskChoice(match=every, bus="sata", storage_class="slow"),)),
            PolicyRule(match=Match(name="db*"), disks=(DiskChoice(match=every, bus="usb"),)),
            PolicyRule(match=Match(os="*debian*"), disks=(DiskChoice(match=DiskMatch(id="vdb"), bus="scsi"),)),
            PolicyRule(match=Match(name="web"), disks=(DiskChoice(match=every, bus="sata", storage_class="slow"),)),
        ),
        machines={
            "web": MachinePolicy(
                disks=(
                    DiskChoice(match=DiskMatch(id="vdb"), include=False),
                    DiskChoice(match=DiskMatch(id="vda"), storage_class="fast"),
                )
            )
        },
    )
    (found,) = assess(inventory(machine(disks=(disk("vda"), disk("vdb")))), policy, offer=OFFER)
    assert found.decided == {
        "disks[vda].bus": "rule 4",
        "disks[vda].storageClass": "its own choice",
        "disks[vdb].bus": "rule 4",
        "disks[vdb].storageClass": "rule 4",
        "disks[vdb].include": "its own choice",
    }
    page = render_assessment_markdown(found)
    assert "- `disks[vda].storageClass`: fast (its own choice)" in page
    assert "- `disks[vdb].include`: false (its own choice)" in page
    assert found.chosen["disks[vda].bus"] == "sata"  # said again by rule 4, after rule 3


def test_a_patch_that_is_said_again_has_the_last_word_again(machine: Build) -> None:
    """Patches are applied in their order: one that stands twice is applied twice."""
    on, off = ({"metadata": {"annotations": {"a.example/x": value}}} for value in ("on", "off"))
    policy = Policy(
        rules=(PolicyRule(match=Match(), patch=(on,)), PolicyRule(match=Match(), patch=(off,))),
        machines={"web": MachinePolicy(patch=(on,))},
    )
    (entry,) = plan(policy, machine()).entries
    assert entry.manifests[-1]["metadata"]["annotations"]["a.example/x"] == "on"


def test_what_is_wrong_with_choices_for_disks_is_told_at_once_with_its_place(machine: Build, disk: DiskOf) -> None:
    nowhere = DiskChoice(match=DiskMatch(id="sd?", size_from="1Ti"), bus="sata")
    first = DiskChoice(match=DiskMatch(), boot_order=1)
    policy = Policy(
        rules=(
            PolicyRule(match=Match(), disks=(first, nowhere)),
            PolicyRule(match=Match(name="db"), disks=(nowhere,)),
        ),
        machines={"web": MachinePolicy(disks=(nowhere, DiskChoice(match=DiskMatch(id="vda"), boot_order=1)))},
    )
    machines = (machine(disks=(disk("vda"), disk("vdb"))), machine(id="db", name="db", uuid=None, nics=()))
    found = {problem.where: problem.what for problem in policy_problems(inventory(*machines), policy)}
    assert found == {
        "policy rule 1.disks, choice 2": ("fits no disk of the 2 machines that it is for (id: sd?, sizeFrom: 1Ti)"),
        "policy rule 2.disks, choice 1": "fits no disk of db (id: sd?, sizeFrom: 1Ti)",
        "policy machines.web.disks, choice 1": "fits no disk of web (id: sd?, sizeFrom: 1Ti)",
        "policy disks of web": "vda, vdb would all have boot order 1 (its own choice, rule 1)",
    }
    with pytest.raises(InputInvalid) as refused:
        plan(policy, *machines)
    assert len(refused.value.problems) == 4
