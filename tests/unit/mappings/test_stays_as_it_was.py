"""What the guest would notice stays as it was: virtio's generation, sectors, queues, cards, clock and platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import MachinePolicy, NetworkMap, Policy
from kubeferry.model import Clock, Concern, Device, Disk, Guest, Machine, Nic, SourceFact
from mappings.admission.check import check_all
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names

Build = Callable[..., Machine]
EL6 = Guest(os_id="http://centos.org/centos/6.10")
DISK = {"id": "vda", "bus": "virtio", "uri": "file:///a.img", "format": "raw", "chain": (), "capacity_bytes": 1 << 30}
PLAIN = Policy()
LAN = NetworkMap(target="multus", multus_name="lab/lan")


def mapped(machine: Machine, policy: Policy = PLAIN) -> Mapped:
    return to_manifests(machine, policy, machine_names([machine], policy)[machine.name])


def domain(machine: Machine, policy: Policy = PLAIN) -> dict[str, Any]:
    made = mapped(machine, policy)
    assert check_all(made.manifests) == []
    found: dict[str, Any] = made.manifests[-1]["spec"]["template"]["spec"]["domain"]
    return found


def concern(machine: Machine, name: str, policy: Policy = PLAIN) -> Concern:
    return next(one for one in mapped(machine, policy).concerns if one.id == name)


def raised(machine: Machine, policy: Policy = PLAIN) -> set[str]:
    return {one.id for one in mapped(machine, policy).concerns}


def chosen(machine: Machine, **wishes: Any) -> Policy:
    return Policy(machines={machine.name: MachinePolicy(**wishes)})


def test_a_system_that_knows_virtio_0_9_only_gets_transitional_devices(machine: Build) -> None:
    old = machine(guest=EL6, machine_type="pc-i440fx-2.9")
    assert domain(old)["devices"]["useVirtioTransitional"] is True
    assert "guest.virtio-transitional" in raised(old)
    assert "useVirtioTransitional" not in domain(old, chosen(old, virtio_transitional=False))["devices"]


def test_a_system_that_nobody_knows_on_an_old_board_is_told_and_the_policy_settles_it(machine: Build) -> None:
    unknown = machine(guest=Guest(), machine_type="pc-i440fx-7.2")
    assert "useVirtioTransitional" not in domain(unknown)["devices"]
    assert "guest.virtio-unknown" in raised(unknown)
    assert domain(unknown, chosen(unknown, virtio_transitional=True))["devices"]["useVirtioTransitional"] is True
    for settled in (True, False):
        assert "guest.virtio-unknown" not in raised(unknown, chosen(unknown, virtio_transitional=settled))
    assert "guest.virtio-unknown" not in raised(machine(guest=Guest(), machine_type="pc-q35-7.2"))


def test_devices_that_the_source_calls_transitional_are_carried(machine: Build) -> None:
    disk = machine(disks=(Disk(**DISK, virtio="virtio-transitional"),))
    card = machine(nics=(Nic(id="net0", model="virtio-transitional"),))
    for one in (disk, card):
        assert domain(one)["devices"]["useVirtioTransitional"] is True
    assert domain(card)["devices"]["interfaces"][0]["model"] == "virtio"
    assert "nic.model-changed" not in raised(card)
    fates = {line.field: line for line in mapped(card).carried}
    assert fates["nics[net0].model"].target == "domain.devices.useVirtioTransitional"


def test_a_disk_keeps_its_sectors(machine: Build) -> None:
    native = machine(disks=(Disk(**DISK, logical_block_bytes=4096, physical_block_bytes=4096),))
    assert domain(native)["devices"]["disks"][0]["blockSize"] == {"custom": {"logical": 4096, "physical": 4096}}
    emulated = machine(disks=(Disk(**DISK, logical_block_bytes=512, physical_block_bytes=4096),))
    assert domain(emulated)["devices"]["disks"][0]["blockSize"] == {"custom": {"logical": 512, "physical": 4096}}
    usual = machine(disks=(Disk(**DISK, logical_block_bytes=512),))
    assert "blockSize" not in domain(usual)["devices"]["disks"][0]


@pytest.mark.parametrize(
    ("told", "bus", "custom"),
    [
        ({"discard_granularity_bytes": 65536}, "virtio", (512, 512, 65536)),
        ({"discard_granularity_bytes": 0}, "virtio", (512, 512, 0)),
        ({"discard_granularity_bytes": 65536, "logical_block_bytes": 4096}, "scsi", (4096, 4096, 65536)),
        ({"discard_granularity_bytes": 512}, "sata", (512, 512, 512)),
        ({"discard_granularity_bytes": 65536}, "sata", None),  # QEMU: must be 512 for ide
        ({"discard_granularity_bytes": 1000}, "virtio", None),
        ({"discard_granularity_bytes": 1000, "logical_block_bytes": 1000}, "virtio", None),
    ],
)
def test_a_disk_keeps_what_its_guest_may_discard(
    told: dict[str, int], bus: str, custom: tuple[int, ...] | None, machine: Build
) -> None:
    one = machine(disks=(Disk(**DISK, **told),))
    found = domain(one, chosen(one, disk_bus=bus))["devices"]["disks"][0].get("blockSize")
    names = ("logical", "physical", "discardGranularity")
    assert found == (None if custom is None else {"custom": dict(zip(names, custom, strict=True))})


def test_sectors_that_the_bus_has_not_refuse_the_machine(machine: Build) -> None:
    native = machine(disks=(Disk(**DISK, logical_block_bytes=4096),))
    found = concern(native, "disk.sectors-lost", chosen(native, disk_bus="sata"))
    assert found.severity == "critical"
    assert "4096" in found.what
    assert "disk.sectors-lost" not in raised(native)


def test_error_policy_threads_and_queues_go_along(machine: Build) -> None:
    tuned = machine(
        disks=(Disk(**DISK, error_policy="report", queues=4, io_thread=True),), nics=(Nic(id="net0", queues=4),)
    )
    devices = domain(tuned)["devices"]
    assert devices["disks"][0]["errorPolicy"] == "report"
    assert devices["disks"][0]["dedicatedIOThread"] is True
    assert (devices["blockMultiQueue"], devices["networkInterfaceMultiqueue"]) == (True, True)
    slow = domain(tuned, chosen(tuned, disk_bus="sata"))["devices"]
    assert "dedicatedIOThread" not in slow["disks"][0]
    assert "blockMultiQueue" not in slow


def test_the_chassis_that_the_guest_sees_stays(machine: Build) -> None:
    assert domain(machine(chassis={"asset": "INV-4711"}))["chassis"] == {"asset": "INV-4711"}


def test_a_card_keeps_the_number_by_which_the_firmware_names_it(machine: Build) -> None:
    numbered = machine(nics=(Nic(id="net0", acpi_index=7, model="virtio"),), machine_type="pc-i440fx-2.9")
    assert domain(numbered)["devices"]["interfaces"][0]["acpiIndex"] == 7
    assert "nic.name-changed" not in raised(numbered)


def test_on_request_every_card_gets_a_number_in_the_sources_order(machine: Build) -> None:
    cards = tuple(Nic(id=f"net{number}", acpi_index=2 if number == 2 else None) for number in range(3))
    several = machine(nics=cards)
    policy = Policy(networks=(LAN,), acpi_index=True)
    made = domain(several, policy)["devices"]["interfaces"]
    assert [one["acpiIndex"] for one in made] == [1, 3, 2]
    assert "acpiIndex" not in domain(several, Policy(networks=(LAN,)))["devices"]["interfaces"][0]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"machine_type": "pc-i440fx-2.9"}, "net0 is called enp1s0"),
        (
            {"nics": (Nic(id="4000", model="vmxnet3"),), "machine_type": None},
            "4000, ens192 in most guests, is called enp1s0",
        ),
    ],
)
def test_a_card_that_the_guest_will_call_otherwise_is_told(machine: Build, facts: dict[str, Any], told: str) -> None:
    assert told in concern(machine(**facts), "nic.name-changed").what


def test_the_slot_of_a_card_tells_its_name(machine: Build) -> None:
    place = SourceFact(path="devices/interface[net0]/address", value="pci 0000:00:03.0")
    found = concern(machine(machine_type="pc", unmodelled=(place,)), "nic.name-changed")
    assert "net0, ens3 in most guests," in found.what


def test_a_clock_keeps_its_distance_from_utc(machine: Build) -> None:
    early = machine(clock=Clock(offset="variable", adjustment=3600))
    assert domain(early)["clock"] == {"utc": {"offsetSeconds": 3600}}
    assert "clock.offset" not in raised(early)
    assert domain(early, chosen(early, timezone="Europe/Berlin"))["clock"] == {"timezone": "Europe/Berlin"}


def test_windows_from_a_hypervisor_that_says_nothing_of_its_platform(machine: Build) -> None:
    moved = machine(
        guest=Guest(os_id="windows2019srv_64Guest"),
        features={},
        hyperv={},
        devices=(),
        clock=Clock(),
        nics=(Nic(id="4000", model="vmxnet3"),),
    )
    made = domain(moved)
    assert made["features"]["hyperv"]["spinlocks"] == {"enabled": True, "spinlocks": 8191}
    assert made["features"]["hyperv"]["synictimer"] == {"enabled": True, "direct": {"enabled": True}}
    assert made["clock"]["timer"]["hpet"] == {"present": False}
    assert made["devices"]["inputs"] == [{"name": "tablet0", "type": "tablet", "bus": "usb"}]
    assert made["devices"]["interfaces"][0]["model"] == "e1000e"
    assert {"windows.platform", "windows.clock", "windows.cards"} <= raised(moved)
    assert "windows.clock" not in raised(moved, chosen(moved, timezone="Europe/Berlin"))


@pytest.mark.parametrize(
    "listed",
    [Device(kind="controller", model="VirtualSCSI"), Device(kind="video", model="vmvga"), Device(kind="serial")],
    ids=lambda one: str(one.kind),
)
def test_windows_gets_its_tablet_beside_whatever_else_its_source_lists(machine: Build, listed: Device) -> None:
    moved = machine(guest=Guest(os_id="windows2019srv_64Guest"), features={}, hyperv={}, devices=(listed,))
    assert domain(moved)["devices"]["inputs"] == [{"name": "tablet0", "type": "tablet", "bus": "usb"}]
    own = Device(kind="input", detail={"type": "tablet", "bus": "virtio"})
    had = moved.model_copy(update={"devices": (listed, own)})
    assert domain(had)["devices"]["inputs"] == [{"name": "tablet0", "type": "tablet", "bus": "virtio"}]


def test_windows_of_a_proxmox_that_says_no_tablet_gets_none(machine: Build) -> None:
    none = (SourceFact(path="tablet", value="0"),)
    moved = machine(guest=Guest(os_name="Windows 10"), features={}, hyperv={}, unmodelled=none)
    assert "inputs" not in domain(moved)["devices"]


def test_a_list_of_devices_that_is_whole_and_without_a_tablet_stays_so(machine: Build) -> None:
    mouse = Device(kind="input", detail={"type": "mouse", "bus": "ps2"})
    own = machine(guest=Guest(os_id="http://microsoft.com/win/2k19"), features={"acpi": "on"}, devices=(mouse,))
    assert "inputs" not in domain(own)["devices"]


def test_windows_whose_source_names_its_platform_keeps_that(machine: Build) -> None:
    own = machine(guest=Guest(os_id="http://microsoft.com/win/2k19"), hyperv={"relaxed": "on"}, features={"acpi": "on"})
    assert set(domain(own)["features"]["hyperv"]) == {"relaxed"}
    assert "windows.platform" not in raised(own)
    virtio = machine(guest=Guest(os_id="http://microsoft.com/win/2k19"), nics=(Nic(id="net0", model="virtio"),))
    assert domain(virtio)["devices"]["interfaces"][0]["model"] == "virtio"


def test_no_video_beside_a_server_for_one_stays_none(machine: Build) -> None:
    blind = machine(headless=True, devices=(Device(kind="video", model="none"), Device(kind="graphics", model="vnc")))
    assert domain(blind)["devices"]["autoattachGraphicsDevice"] is False
    fates = {line.field: str(line.fate) for line in mapped(blind).carried}
    assert fates["devices[0:video]"] == "carried"


@pytest.mark.parametrize(
    ("facts", "wishes"),
    [
        ({"nics": (Nic(id="net0", model="VmxNet3"),)}, {}),
        ({"nics": (Nic(id="net0"),), "machine_type": "pc-i440fx-2.9"}, {}),
        ({"disks": (Disk(**{**DISK, "bus": "ide"}),)}, {"disk_bus": "virtio"}),
        ({"disks": (Disk(**{**DISK, "bus": "scsi"}),)}, {}),
        ({"guest": EL6.model_copy(update={"agent_channel": True})}, {}),
    ],
    ids=["vmxnet3", "card without a model", "the policy's bus", "virtio-scsi", "agent"],
)
def test_an_old_system_gets_transitional_devices_where_only_the_target_is_virtio(
    machine: Build, facts: dict[str, Any], wishes: dict[str, Any]
) -> None:
    plain = {"guest": EL6, "machine_type": None, "nics": (), "disks": (Disk(**{**DISK, "bus": "ide"}),)}
    old = machine(**(plain | facts))
    assert domain(old, chosen(old, **wishes))["devices"]["useVirtioTransitional"] is True
    assert "guest.virtio-transitional" in raised(old, chosen(old, **wishes))


def test_an_old_system_that_gets_no_virtio_device_is_left_alone(machine: Build) -> None:
    old = machine(guest=EL6, nics=(Nic(id="net0", model="e1000"),), disks=(Disk(**{**DISK, "bus": "ide"}),))
    assert "useVirtioTransitional" not in domain(old)["devices"]
    given = machine(guest=EL6, disks=(Disk(**DISK),))
    assert "useVirtioTransitional" not in domain(given, chosen(given, disk_bus="sata", nic_model="e1000"))["devices"]


def test_a_system_that_nobody_knows_and_that_gets_its_first_virtio_here_is_told(machine: Build) -> None:
    cards, disks = (Nic(id="net0", model="e1000"),), (Disk(**{**DISK, "bus": "sata"}),)
    unknown = machine(guest=Guest(), machine_type="pc-q35-7.2", nics=cards, disks=disks)
    assert "guest.virtio-unknown" not in raised(unknown)
    assert "guest.virtio-unknown" in raised(unknown, chosen(unknown, disk_bus="virtio"))


def test_the_cards_of_a_q35_are_told_where_their_buses_change(machine: Build) -> None:
    def cards(*buses: str) -> Machine:
        places = [
            SourceFact(path=f"devices/interface[net{at}]/address", value=f"pci 0000:{bus}:00.0")
            for at, bus in enumerate(buses)
        ]
        nics = tuple(Nic(id=f"net{at}", model="virtio") for at in range(len(buses)))
        return machine(machine_type="pc-q35-7.2", nics=nics, unmodelled=tuple(places))

    policy = Policy(networks=(LAN,))
    told = [one.what for one in mapped(cards("05", "03"), policy).concerns if one.id == "nic.name-changed"]
    assert "net0, enp5s0 in most guests, is called enp1s0" in " ".join(told)
    assert "net1, enp3s0 in most guests, is called enp2s0" in " ".join(told)
    assert "nic.name-changed" not in raised(cards("01", "02"), policy)
    assert "nic.name-changed" not in raised(cards(), policy)
