"""Every fact of a machine has one fate: carried, changed or lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeferry.documents import MachinePolicy, NetworkMap, Policy
from kubeferry.model import (
    ChainLink,
    Clock,
    Cpu,
    CpuFeature,
    Device,
    Disk,
    Fate,
    Firmware,
    Guest,
    Machine,
    Memory,
    Nic,
    NumaCell,
    SourceFact,
    Timer,
    Tpm,
    TrafficFilter,
    Watchdog,
)
from mappings.choices import choices_for
from mappings.fates.carried import Mapping, leaves
from mappings.fates.table import FATES
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names

GIB = 1 << 30

# Every field of the model has a value here, so that each rule is tried.
FULL = Machine(
    id="4c1f",
    name="Web 01",
    source="lab",
    power="running",
    title="Shop",
    description="Sells things",
    arch="x86_64",
    machine_type="pc-i440fx-7.2",
    uuid="6F1D2B3C-1111-4222-8333-444455556666",
    smbios_serial="VMware-42 1a",
    chassis={"asset": "INV-4711"},
    headless=False,
    firmware=Firmware(
        kind="uefi",
        secure_boot=False,
        loader="/OVMF.fd",
        nvram="/web.fd",
        nvram_format="raw",
        boot_order=("hd", "network"),
        boot_menu=True,
    ),
    cpu=Cpu(
        vcpus=2,
        max_vcpus=4,
        sockets=2,
        cores=2,
        threads=1,
        mode="custom",
        model="qemu64",
        features=(CpuFeature(name="pcid", policy="require"), CpuFeature(name="x", policy="perhaps")),
        pinning=((0, "1-2"),),
        emulator_pin="0",
        numa=(NumaCell(cell=0, cpus="0-1", memory_bytes=GIB),),
        nested=True,
    ),
    memory=Memory(size_bytes=2 * GIB, max_bytes=4 * GIB, hugepage_bytes=GIB, locked=True),
    clock=Clock(
        offset="timezone",
        timezone="Europe/Berlin",
        adjustment=60,
        timers=(Timer(name="rtc", tickpolicy="catchup"), Timer(name="pit", tickpolicy="merge"), Timer(name="tsc")),
    ),
    hyperv={"relaxed": "on", "stimer": "on", "avic": "on", "ipi": "off", "stimer.direct": "on"},
    features={"acpi": "on", "pae": "on", "vmport": "off", "kvm.hidden": "on"},
    disks=(
        Disk(
            id="sda",
            label="Hard disk 1",
            device="lun",
            bus="scsi",
            virtio="virtio-transitional",
            controller_model="lsilogic",
            uri="file:///a.qcow2",
            source_kind="file",
            format="qcow2",
            chain=(ChainLink(uri="file:///base.img", format="raw"),),
            capacity_bytes=10 * GIB,
            allocated_bytes=GIB,
            serial="WD-1",
            wwn="5000",
            cache="unsafe",
            io="io_uring",
            discard="unmap",
            logical_block_bytes=4096,
            physical_block_bytes=4096,
            discard_granularity_bytes=4096,
            error_policy="report",
            queues=4,
            io_thread=True,
            shareable=True,
            readonly=True,
            transient=True,
            removable=True,
            encrypted=True,
            throttled=True,
            boot_order=3,
        ),
        Disk(id="sdb", device="cdrom", bus="ide", uri="file:///x.iso", format="raw", serial="Q", readonly=True),
        Disk(id="fda", device="floppy", bus="fdc", uri="file:///x.flp", format="raw", capacity_bytes=1440 << 10),
    ),
    nics=(
        Nic(
            id="net0",
            network_kind="network",
            network="default",
            portgroup="red",
            switch="dvs",
            network_key="dvportgroup-31",
            acpi_index=7,
            teaming="persistent",
            queues=2,
            mode="bridge",
            model="vmxnet3",
            mac="52-54-00-AA-BB-01",
            vlans=(42,),
            link_up=False,
            mtu=9000,
            throttled=True,
            filtered=True,
            filters=(TrafficFilter(name="sg-1", kind="security-group"),),
            boot_order=1,
        ),
        Nic(id="net1", network_kind="user", model="e1000", mac="52:54:00:00:00:02", link_up=True),
    ),
    tpm=Tpm(
        model="tpm-tis",
        version="1.2",
        backend="passthrough",
        persistent=False,
        state="/tpm2-00.permall",
        encrypted=True,
    ),
    watchdog=Watchdog(model="itco", action="reset"),
    devices=tuple(
        Device(kind=kind, model=model, detail=detail)
        for kind, model, detail in (
            ("video", "qxl", {"heads": "1"}),
            ("graphics", "spice", {}),
            ("graphics", "vnc", {}),
            ("input", "tablet", {"bus": "usb"}),
            ("input", "mouse", {"bus": "ps2"}),
            ("sound", "ich6", {}),
            ("rng", "virtio", {}),
            ("memballoon", "virtio", {}),
            ("panic", "isa", {}),
            ("panic", "s390", {}),
            ("hostdev", "pci", {"address": "0000:01:00.0"}),
            ("controller", "usb", {}),
            ("tape", None, {}),
        )
    ),
    guest=Guest(
        os_id="debian12",
        os_name="Debian",
        kernel="6.1",
        hostname="Web.example.com",
        agent_channel=True,
        agent_answers=True,
    ),
    autostart=True,
    snapshots=2,
    metadata={"owner": "ops"},
    unmodelled=(SourceFact(path="/domain/x", value="y"), SourceFact(path="/domain/x", value="z")),
)
POLICY = Policy(networks=(NetworkMap(source_kind="user", target="drop"), NetworkMap()))


def mapped(machine: Machine, policy: Policy = POLICY) -> Mapped:
    return to_manifests(machine, policy, machine_names([machine], policy)[machine.name])


def stated(content: Any, path: str = "") -> Iterator[str]:
    """Paths of everything that a machine states, found without the code under test."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from stated(value, f"{path}.{key}".lstrip("."))
    elif isinstance(content, (list, tuple)) and content and isinstance(content[0], dict):
        for position, value in enumerate(content):
            key = value.get("id") or value.get("name") or value.get("path")
            yield from stated(value, f"{path}[{key or position}]")
    else:
        yield path


def test_every_rule_has_a_field_and_every_field_a_rule() -> None:
    assert {leaf.pattern for leaf in leaves(FULL)} == set(FATES)


def test_every_fact_appears_exactly_once() -> None:
    lines = Counter(line.field for line in mapped(FULL).carried)
    assert set(lines.values()) == {1}
    single = FULL.model_copy(update={"unmodelled": FULL.unmodelled[:1], "devices": ()})
    fields = [line.field for line in mapped(single).carried]
    for path in stated(single.model_dump(mode="json", exclude_defaults=True)):
        above = [name for name in fields if path.startswith((f"{name}.", f"{name}["))]
        covering = [name for name in fields if name == path] or above
        assert len(covering) == 1, path


def test_a_target_that_is_named_is_there() -> None:
    names = machine_names([FULL], POLICY)[FULL.name]
    made = mapped(FULL)
    mapping = Mapping(FULL, choices_for(FULL, POLICY), names, made.manifests[-1])
    for line in made.carried:
        assert not line.target or mapping.find(line.target) is not None, line
        assert line.fate != Fate.LOST or line.reason, line
        assert line.fate == Fate.CARRIED or line.reason, line
        assert line.fate != Fate.LOST or not line.target, line


def fates(machine: Machine, policy: Policy = POLICY) -> dict[str, Fate]:
    return {line.field: line.fate for line in mapped(machine, policy).carried}


def test_fates_of_the_full_machine() -> None:
    found = fates(FULL)
    expected = {
        "name": Fate.CHANGED,
        "machine_type": Fate.CHANGED,
        "uuid": Fate.CARRIED,
        "smbios_serial": Fate.LOST,
        "firmware.kind": Fate.CARRIED,
        "firmware.secure_boot": Fate.CARRIED,
        "firmware.nvram": Fate.LOST,
        "firmware.nvram_format": Fate.LOST,
        "cpu.vcpus": Fate.CARRIED,
        "cpu.max_vcpus": Fate.CARRIED,
        "cpu.sockets": Fate.CHANGED,
        "cpu.model": Fate.CHANGED,
        "cpu.features[pcid]": Fate.CARRIED,
        "cpu.features[x]": Fate.LOST,
        "cpu.nested": Fate.LOST,
        "memory.max_bytes": Fate.CARRIED,
        "clock.timezone": Fate.CARRIED,
        "clock.timers[rtc]": Fate.CARRIED,
        "clock.timers[pit]": Fate.CHANGED,
        "clock.timers[tsc]": Fate.LOST,
        "hyperv.relaxed": Fate.CARRIED,
        "hyperv.stimer": Fate.LOST,
        "hyperv.ipi": Fate.CARRIED,
        "hyperv.stimer.direct": Fate.LOST,
        "features.pae": Fate.LOST,
        "features.vmport": Fate.CARRIED,
        "disks[sda].bus": Fate.CARRIED,
        "disks[sda].controller_model": Fate.CHANGED,
        "disks[sda].serial": Fate.CARRIED,
        "disks[sda].readonly": Fate.CARRIED,
        "disks[sda].cache": Fate.CHANGED,
        "disks[sda].boot_order": Fate.CHANGED,
        "disks[sdb].uri": Fate.LOST,
        "disks[sdb].readonly": Fate.CARRIED,
        "disks[fda].device": Fate.LOST,
        "nics[net0].mac": Fate.CHANGED,
        "nics[net0].link_up": Fate.CARRIED,
        "nics[net0].boot_order": Fate.CARRIED,
        "nics[net1].mac": Fate.LOST,
        "devices[0:video]": Fate.CHANGED,
        "devices[10:hostdev]": Fate.LOST,
        "devices[11:controller]": Fate.CHANGED,
        "guest.hostname": Fate.CHANGED,
    }
    assert {field: found[field] for field in expected} == expected


def test_a_second_device_of_a_kind_and_what_a_device_is_set_to_are_not_carried(machine: Build) -> None:
    place = {"address": "pci 0000:06:00.0"}
    found = mapped(
        machine(
            devices=(
                Device(kind="video", model="virtio", detail={"model.heads": "1", "model.primary": "yes"} | place),
                Device(kind="video", model="virtio"),
                Device(kind="rng", model="virtio", detail={"backend.model": "random", "backend": "/dev/urandom"}),
                Device(kind="rng", model="virtio"),
                Device(kind="sound", model="ac97", detail={"codec.type": "micro"}),
                Device(kind="memballoon", model="virtio", detail={"autodeflate": "on"}),
            )
        )
    )
    told = {line.field: (line.fate, line.reason) for line in found.carried if line.field.startswith("devices")}
    assert told == {
        "devices[0:video]": (Fate.CARRIED, ""),
        "devices[1:video]": (Fate.LOST, "KubeVirt has one such device"),
        "devices[2:rng]": (Fate.CARRIED, ""),
        "devices[3:rng]": (Fate.LOST, "KubeVirt has one such device"),
        "devices[4:sound]": (Fate.CHANGED, "without its codec.type: KubeVirt has no such settings"),
        "devices[5:memballoon]": (Fate.CHANGED, "without its autodeflate: KubeVirt has no such settings"),
    }


@pytest.mark.parametrize(
    ("told", "apic"),
    [
        ("on", {"enabled": True}),
        ("on eoi=on", {"enabled": True, "endOfInterrupt": True}),
        ("on eoi=off", {"enabled": True}),
    ],
)
def test_the_end_of_interrupt_is_carried_with_the_apic(machine: Build, told: str, apic: dict[str, bool]) -> None:
    found = mapped(machine(features={"apic": told}))
    assert found.manifests[-1]["spec"]["template"]["spec"]["domain"]["features"]["apic"] == apic


def test_the_policy_shows_in_the_list() -> None:
    policy = Policy(machines={"Web 01": MachinePolicy(firmware="bios", run_strategy="Always", timezone="UTC")})
    found = fates(FULL, policy)
    assert found["firmware.kind"] == Fate.CHANGED
    assert found["autostart"] == Fate.CARRIED
    assert found["clock.timezone"] == Fate.LOST


def test_people_can_read_the_values() -> None:
    told = {line.field: line.source for line in mapped(FULL).carried}
    assert told["memory.size_bytes"] == "2 GiB"
    assert told["firmware.boot_menu"] == "yes"
    assert told["cpu.pinning"] == "0:1-2"
    assert told["cpu.numa[0]"] == "cell=0 cpus=0-1 memory=1 GiB"
    assert told["disks[sda].chain"] == "uri=file:///base.img format=raw"
    assert told["devices[0:video]"] == "video qxl heads=1"


def test_a_secret_of_the_source_stands_in_no_list(machine: Build) -> None:
    screen = Device(kind="graphics", model="vnc", detail={"type": "vnc", "passwd": "hunter2"})
    facts = (SourceFact(path="/domain/x/@password", value="hunter2"),)
    made = mapped(machine(devices=(screen,), metadata={"api-token": "hunter2"}, unmodelled=facts))
    assert "hunter2" not in str(made.carried) + str(made.concerns) + str(made.manifests)
    assert any(line.source == "graphics type=vnc passwd=…" for line in made.carried)


Build = Callable[..., Machine]


def test_a_long_value_is_cut_in_the_list_only(machine: Build) -> None:
    made = mapped(machine(description="x" * 20000))
    line = next(line for line in made.carried if line.field == "description")
    assert len(line.source) == 400
    assert line.fate == Fate.CHANGED
