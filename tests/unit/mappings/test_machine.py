"""The manifests of a machine, field by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry import marks
from kubeferry.documents import MachinePolicy, NetworkMap, Policy, StoragePolicy
from kubeferry.model import (
    Clock,
    Cpu,
    CpuFeature,
    Device,
    Disk,
    Fate,
    Firmware,
    Machine,
    Memory,
    Nic,
    Power,
    Timer,
    Tpm,
    Watchdog,
)
from mappings.admission.check import check_all
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names

Build = Callable[..., Machine]
BuildDisk = Callable[..., Disk]
GIB = 1 << 30


def mapped(machine: Machine, policy: Policy | None = None) -> Mapped:
    policy = policy or Policy()
    return to_manifests(machine, policy, machine_names([machine], policy)[machine.name])


def template(machine: Machine, policy: Policy | None = None) -> dict[str, Any]:
    made = mapped(machine, policy)
    assert check_all(made.manifests) == []
    spec: dict[str, Any] = made.manifests[-1]["spec"]["template"]["spec"]
    return spec


def domain(machine: Machine, policy: Policy | None = None) -> dict[str, Any]:
    found: dict[str, Any] = template(machine, policy)["domain"]
    return found


@pytest.mark.parametrize(
    ("power", "said", "strategy"),
    [
        (Power.RUNNING, None, "Always"),
        (Power.PAUSED, None, "Always"),
        (Power.OFF, None, "Halted"),
        (Power.UNKNOWN, None, "Manual"),
        (Power.CRASHED, None, "Manual"),
        (Power.RUNNING, "Manual", "Manual"),
        (Power.OFF, "Always", "Always"),
    ],
)
def test_a_machine_is_run_as_its_source_was_unless_the_policy_says_otherwise(
    machine: Build, power: Power, said: Any, strategy: str
) -> None:
    found = mapped(machine(power=power), Policy(run_strategy=said)).manifests[-1]
    assert found["spec"]["runStrategy"] == strategy


def test_a_machine_that_is_off_by_a_stop_of_ours_is_run_as_before_it(machine: Build) -> None:
    """It was discovered anew after a move that broke off; off at its source, it would be off at the target as well."""
    when = "2026-01-01T00:00:00Z"
    mark = marks.StopMark(marks.short(machine().id), Power.RUNNING, when, "0" * 64, when, "", "wave 1")
    stopped = machine(power=Power.OFF, metadata={marks.KEY: marks.written(mark)})
    assert mapped(stopped).manifests[-1]["spec"]["runStrategy"] == "Always"
    assert mapped(stopped, Policy(run_strategy="Halted")).manifests[-1]["spec"]["runStrategy"] == "Halted"
    (power,) = (one for one in mapped(stopped).carried if one.field == "power")
    assert (power.fate, power.reason) == (Fate.CHANGED, "Always, as before kubeferry stopped it")


def test_everything_that_kubevirt_would_guess_is_written(machine: Build) -> None:
    vm = mapped(machine()).manifests[-1]
    spec = vm["spec"]["template"]["spec"]
    assert vm["spec"]["runStrategy"] == "Halted"
    assert spec["evictionStrategy"] == "LiveMigrateIfPossible"
    assert spec["architecture"] == "amd64"
    assert spec["domain"]["machine"] == {"type": "q35"}
    assert spec["domain"]["firmware"] == {
        "bootloader": {"bios": {}},
        "uuid": "6f1d2b3c-1111-4222-8333-444455556666",
    }
    assert spec["domain"]["cpu"] == {"model": "host-model", "sockets": 2, "cores": 1, "threads": 1, "maxSockets": 2}
    assert spec["domain"]["memory"] == {"guest": "2Gi", "maxGuest": "2Gi"}
    assert spec["domain"]["clock"] == {"utc": {}}
    assert spec["domain"]["devices"]["autoattachPodInterface"] is False
    assert spec["domain"]["devices"]["disks"] == [{"name": "vda", "disk": {"bus": "virtio"}, "bootOrder": 1}]
    assert spec["domain"]["devices"]["interfaces"] == [
        {"name": "net0", "masquerade": {}, "model": "virtio", "macAddress": "52:54:00:00:00:01"}
    ]
    assert spec["networks"] == [{"name": "net0", "pod": {}}]
    assert spec["volumes"] == [{"name": "vda", "persistentVolumeClaim": {"claimName": "web-vda"}}]


def test_objects_say_where_they_come_from(machine: Build) -> None:
    claim, vm = mapped(machine(title="Shop", description="Sells things"), Policy(labels={"team": "shop"})).manifests
    for manifest in (claim, vm):
        assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kubeferry"
        assert manifest["metadata"]["labels"]["kubeferry.io/source"] == "lab"
        assert manifest["metadata"]["labels"]["team"] == "shop"
        assert manifest["metadata"]["annotations"]["kubeferry.io/machine-id"] == "4c1f"
    assert claim["metadata"]["annotations"]["kubeferry.io/disk-id"] == "vda"
    assert vm["metadata"]["annotations"]["kubeferry.io/title"] == "Shop"
    assert vm["metadata"]["annotations"]["kubeferry.io/description"] == "Sells things"


@pytest.mark.parametrize(
    ("firmware", "bootloader", "smm"),
    [
        (Firmware(kind="uefi", secure_boot=False), {"efi": {"secureBoot": False, "persistent": False}}, None),
        (Firmware(kind="uefi"), {"efi": {"secureBoot": False, "persistent": False}}, None),
        (
            Firmware(kind="uefi", secure_boot=True),
            {"efi": {"secureBoot": True, "persistent": False}},
            {"enabled": True},
        ),
        (Firmware(kind="bios", secure_boot=True), {"bios": {}}, None),
    ],
)
def test_firmware(machine: Build, firmware: Firmware, bootloader: dict[str, Any], smm: dict[str, Any] | None) -> None:
    made = domain(machine(firmware=firmware))
    assert made["firmware"]["bootloader"] == bootloader
    assert made["features"].get("smm") == smm


@pytest.mark.parametrize(
    ("cpu", "shape"),
    [
        (Cpu(vcpus=8, max_vcpus=8, sockets=1, cores=4, threads=2), (1, 4, 2, 1)),
        (Cpu(vcpus=4), (4, 1, 1, 4)),
        (Cpu(vcpus=2, max_vcpus=8), (2, 1, 1, 8)),
        (Cpu(vcpus=4, max_vcpus=16, sockets=4, cores=2, threads=2), (1, 2, 2, 4)),
        (Cpu(vcpus=3, max_vcpus=8, sockets=1, cores=4, threads=2), (3, 1, 1, 8)),
        (Cpu(vcpus=4, max_vcpus=4, sockets=2, cores=4, threads=1), (1, 4, 1, 1)),
    ],
)
def test_topology(machine: Build, cpu: Cpu, shape: tuple[int, ...]) -> None:
    made = domain(machine(cpu=cpu))["cpu"]
    assert tuple(made[name] for name in ("sockets", "cores", "threads", "maxSockets")) == shape


@pytest.mark.parametrize(
    ("cpu", "model"),
    [
        (Cpu(vcpus=1, mode="custom", model="EPYC-Rome"), "EPYC-Rome"),
        (Cpu(vcpus=1, model="Icelake-Server-noTSX"), "Icelake-Server-noTSX"),
        (Cpu(vcpus=1, mode="custom", model="kvm64"), "host-model"),
        (Cpu(vcpus=1, mode="host-model", model="EPYC-Rome"), "host-model"),
        (Cpu(vcpus=1, mode="host-passthrough"), "host-passthrough"),
        (Cpu(vcpus=1, mode="maximum"), "host-model"),
        (Cpu(vcpus=1), "host-model"),
    ],
)
def test_cpu_model(machine: Build, cpu: Cpu, model: str) -> None:
    assert domain(machine(cpu=cpu))["cpu"]["model"] == model


def test_cpu_features_keep_their_policy(machine: Build) -> None:
    features = tuple(CpuFeature(name=policy, policy=policy) for policy in ("force", "require", "disable", "hope"))
    made = domain(machine(cpu=Cpu(vcpus=1, features=features)))["cpu"]["features"]
    assert made == [{"name": name, "policy": name} for name in ("force", "require", "disable")]


@pytest.mark.parametrize(
    ("memory", "made"),
    [
        (Memory(size_bytes=GIB), {"guest": "1Gi", "maxGuest": "1Gi"}),
        (Memory(size_bytes=GIB, max_bytes=4 * GIB), {"guest": "1Gi", "maxGuest": "4Gi"}),
        (Memory(size_bytes=GIB // 2, max_bytes=GIB), {"guest": "512Mi"}),
        (Memory(size_bytes=GIB + (1 << 20)), {"guest": "1025Mi"}),
        (
            Memory(size_bytes=GIB, hugepage_bytes=2 << 20),
            {"guest": "1Gi", "maxGuest": "1Gi", "hugepages": {"pageSize": "2Mi"}},
        ),
        (Memory(size_bytes=GIB // 2, hugepage_bytes=GIB), {"guest": "512Mi"}),
        (
            Memory(size_bytes=4 * GIB, max_bytes=9 * GIB // 2, hugepage_bytes=GIB),
            {"guest": "4Gi", "maxGuest": "4Gi", "hugepages": {"pageSize": "1Gi"}},
        ),
    ],
)
def test_memory(machine: Build, memory: Memory, made: dict[str, Any]) -> None:
    assert domain(machine(memory=memory))["memory"] == made


@pytest.mark.parametrize(
    ("change", "bus"),
    [
        ({"bus": "virtio"}, "virtio"),
        ({"bus": "sata"}, "sata"),
        ({"bus": "ide"}, "sata"),
        ({"bus": "nvme"}, "sata"),
        ({"bus": "unknown"}, "sata"),
        ({"bus": "usb"}, "usb"),
        ({"bus": "scsi"}, "scsi"),
        ({"bus": "scsi", "controller_model": "virtio-scsi"}, "scsi"),
        ({"bus": "scsi", "controller_model": "lsilogic"}, "sata"),
        ({"bus": "scsi", "controller_model": "virtio-scsi", "device": "lun"}, "scsi"),
    ],
)
def test_disk_bus(machine: Build, disk: BuildDisk, change: dict[str, Any], bus: str) -> None:
    made = domain(machine(disks=(disk("sda", **change),)))["devices"]["disks"][0]
    assert made["disk"]["bus"] == bus


def test_the_policy_chooses_buses(machine: Build, disk: BuildDisk) -> None:
    ide = machine(disks=(disk("hda", bus="ide"),))
    assert domain(ide, Policy(legacy_disk_bus="virtio"))["devices"]["disks"][0]["disk"] == {"bus": "virtio"}
    own = Policy(machines={"web": MachinePolicy(disk_bus="scsi")})
    assert domain(ide, own)["devices"]["disks"][0]["disk"] == {"bus": "scsi"}


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ({"cache": "none", "io": "native", "serial": "WD-1"}, {"cache": "none", "io": "native", "serial": "WD-1"}),
        ({"cache": "directsync", "io": "native"}, {"cache": "none", "io": "native"}),
        ({"cache": "unsafe", "io": "io_uring"}, {"cache": "writeback"}),
        ({"cache": "writeback", "io": "native"}, {"cache": "writeback"}),
        ({"io": "native"}, {}),
        ({"serial": "no good"}, {}),
        ({"shareable": True, "cache": "writeback"}, {"cache": "writeback"}),
    ],
)
def test_disk_options(machine: Build, disk: BuildDisk, change: dict[str, Any], made: dict[str, Any]) -> None:
    found = domain(machine(disks=(disk("vda", **change),)))["devices"]["disks"][0]
    assert found == {"name": "vda", "disk": {"bus": "virtio"}, "bootOrder": 1} | made


def test_a_copy_that_is_the_machine_s_own_is_not_said_to_be_shareable(machine: Build, disk: BuildDisk) -> None:
    policy = Policy(storage=StoragePolicy(access_mode="ReadWriteMany", volume_mode="Block"))
    found = domain(machine(disks=(disk("vda", shareable=True, cache="none"),)), policy)["devices"]["disks"][0]
    assert "shareable" not in found
    assert found["cache"] == "none"


def test_a_read_only_disk_stays_so_but_on_sata(machine: Build, disk: BuildDisk) -> None:
    both = machine(disks=(disk("vda", readonly=True), disk("sda", bus="sata", readonly=True)))
    made = domain(both)["devices"]["disks"]
    assert [one["disk"] for one in made] == [{"bus": "virtio", "readonly": True}, {"bus": "sata"}]


def test_drives_are_empty_and_floppies_gone(machine: Build, disk: BuildDisk) -> None:
    with_drives = machine(
        disks=(
            disk("vda"),
            disk("hdc", device="cdrom", bus="ide", serial="X"),
            disk("fda", device="floppy", bus="fdc"),
        )
    )
    spec = template(with_drives)
    assert spec["domain"]["devices"]["disks"][1:] == [{"name": "hdc", "cdrom": {"bus": "sata"}}]
    assert [volume["name"] for volume in spec["volumes"]] == ["vda"]
    assert [planned.disk for planned in mapped(with_drives).disks] == ["vda"]


def orders(made: dict[str, Any]) -> dict[str, int | None]:
    devices = made["devices"]
    return {one["name"]: one.get("bootOrder") for one in (*devices["disks"], *devices["interfaces"])}


TWO_NETWORKS = Policy(
    networks=(
        NetworkMap(source_kind="network", target="pod"),
        NetworkMap(target="multus", multus_name="prod/lan"),
    )
)


def test_boot_order(machine: Build, disk: BuildDisk) -> None:
    nic = Nic(id="net0", model="virtio", mac="52:54:00:00:00:01", boot_order=1)
    own = machine(disks=(disk("vda", boot_order=7), disk("vdb")), nics=(nic,))
    assert orders(domain(own)) == {"vda": 2, "vdb": None, "net0": 1}
    classes = machine(
        firmware=Firmware(kind="bios", boot_order=("network", "cdrom", "hd")),
        disks=(disk("vda"), disk("vdb"), disk("sda", device="cdrom", bus="sata")),
    )
    assert orders(domain(classes)) == {"vda": 3, "vdb": None, "sda": 2, "net0": 1}
    second = Nic(id="net1", model="virtio", mac="52:54:00:00:00:02")
    first = Nic(id="net0", network_kind="network", network="default", model="virtio", mac="52:54:00:00:00:01")
    cards = orders(domain(classes.model_copy(update={"nics": (first, second)}), TWO_NETWORKS))
    assert cards == {"vda": 3, "vdb": None, "sda": 2, "net0": 1, "net1": None}, "the first card only, as of each class"
    unknown = machine(firmware=Firmware(kind="bios"), disks=(disk("vda"), disk("vdb")))
    assert orders(domain(unknown)) == {"vda": 1, "vdb": None, "net0": None}


NETWORKS = (
    NetworkMap(source_kind="network", source_name="default", target="pod"),
    NetworkMap(source_kind="bridge", source_name="br0", target="multus", multus_name="prod/lan"),
    NetworkMap(source_kind="user", target="drop"),
)


def test_networks_follow_the_first_rule_that_fits(machine: Build) -> None:
    nics = (
        Nic(id="a", network_kind="network", network="default", model="rtl8139", mac="52-54-00-AA-BB-01"),
        Nic(id="b", network_kind="bridge", network="br0", model="vmxnet3", mac="01:00:5e:00:00:01", link_up=False),
        Nic(id="c", network_kind="user", model="virtio"),
        Nic(id="d", network_kind="direct", network="eth0"),
    )
    spec = template(machine(nics=nics), Policy(networks=NETWORKS))
    assert spec["domain"]["devices"]["interfaces"] == [
        {"name": "a", "masquerade": {}, "model": "rtl8139", "macAddress": "52:54:00:aa:bb:01"},
        {"name": "b", "bridge": {}, "model": "virtio", "state": "down"},
    ]
    assert spec["networks"] == [{"name": "a", "pod": {}}, {"name": "b", "multus": {"networkName": "prod/lan"}}]


def test_a_machine_without_cards_gets_none(machine: Build) -> None:
    spec = template(machine(nics=()))
    assert (spec["networks"], spec["domain"]["devices"]["interfaces"]) == ([], [])
    assert spec["domain"]["devices"]["autoattachPodInterface"] is False


@pytest.mark.parametrize(
    ("clock", "policy", "made"),
    [
        (Clock(offset="utc"), {}, {"utc": {}}),
        (Clock(offset="localtime"), {}, {"utc": {}}),
        (Clock(offset="localtime"), {"timezone": "Europe/Berlin"}, {"timezone": "Europe/Berlin"}),
        (Clock(offset="timezone", timezone="America/New_York"), {}, {"timezone": "America/New_York"}),
        (Clock(offset="utc"), {"timezone": "Asia/Tokyo"}, {"timezone": "Asia/Tokyo"}),
        (Clock(offset="timezone", timezone="Asia/Tokyo"), {"timezone": "UTC"}, {"utc": {}}),
    ],
)
def test_clock(machine: Build, clock: Clock, policy: dict[str, Any], made: dict[str, Any]) -> None:
    assert domain(machine(clock=clock), Policy(machines={"web": MachinePolicy(**policy)}))["clock"] == made


def test_timers(machine: Build) -> None:
    timers = (
        Timer(name="rtc", tickpolicy="catchup", track="guest"),
        Timer(name="pit", tickpolicy="merge"),
        Timer(name="hpet", present=False),
        Timer(name="kvmclock", present=True),
        Timer(name="hypervclock", present=True),
        Timer(name="tsc", present=True),
    )
    assert domain(machine(clock=Clock(offset="utc", timers=timers)))["clock"]["timer"] == {
        "rtc": {"present": True, "tickPolicy": "catchup", "track": "guest"},
        "pit": {"present": True},
        "hpet": {"present": False},
        "kvm": {"present": True},
        "hyperv": {"present": True},
    }


def test_hyperv_keeps_only_what_stands_on_its_feet(machine: Build) -> None:
    on = {
        "relaxed": "on",
        "spinlocks": "on retries=8191",
        "synic": "on",
        "stimer": "on",
        "vpindex": "off",
        "avic": "on",
    }
    assert domain(machine(hyperv=on))["features"]["hyperv"] == {
        "relaxed": {"enabled": True},
        "spinlocks": {"enabled": True, "spinlocks": 8191},
    }
    on |= {"vpindex": "on", "stimer": "on", "stimer.direct": "on", "tlbflush": "on", "tlbflush.extended": "on"}
    made = domain(machine(hyperv=on))["features"]["hyperv"]
    assert made["synictimer"] == {"enabled": True, "direct": {"enabled": True}}
    assert made["tlbflush"] == {"enabled": True, "extended": {"enabled": True}}
    assert {"synic", "synictimer", "vpindex"} <= set(made)


def test_a_hyperv_vendor_is_kept_whole(machine: Build) -> None:
    made = domain(machine(hyperv={"vendor_id": "on value=KVM Hv"}))["features"]["hyperv"]
    assert made == {"vendorid": {"enabled": True, "vendorid": "KVM Hv"}}


def test_hyperv_passthrough_stays_one(machine: Build) -> None:
    features = domain(machine(hyperv={"mode": "passthrough", "relaxed": "on"}))["features"]
    assert features["hypervPassthrough"] == {"enabled": True}
    assert "hyperv" not in features


def test_other_devices(machine: Build) -> None:
    devices = (
        Device(kind="video", model="virtio"),
        Device(kind="graphics", model="vnc"),
        Device(kind="input", model="tablet", detail={"bus": "usb"}),
        Device(kind="sound", model="ich9"),
        Device(kind="rng", model="virtio"),
        Device(kind="memballoon", model="none"),
        Device(kind="panic", model="isa"),
    )
    made = domain(
        machine(devices=devices, tpm=Tpm(model="tpm-crb"), watchdog=Watchdog(model="i6300esb", action="poweroff"))
    )
    parts = made["devices"]
    assert parts["video"] == {"type": "virtio"}
    assert parts["inputs"] == [{"name": "tablet0", "type": "tablet", "bus": "usb"}]
    assert parts["sound"] == {"name": "sound", "model": "ich9"}
    assert parts["rng"] == {}
    assert parts["autoattachMemBalloon"] is False
    assert parts["autoattachGraphicsDevice"] is True
    assert parts["panicDevices"] == [{"model": "isa"}]
    assert parts["tpm"] == {"enabled": True, "persistent": True}
    assert parts["watchdog"] == {"name": "watchdog", "i6300esb": {"action": "poweroff"}}


def test_a_headless_machine_stays_headless(machine: Build) -> None:
    parts = domain(machine(headless=True, devices=(Device(kind="video", model="none"), Device(kind="graphics"))))[
        "devices"
    ]
    assert parts["autoattachGraphicsDevice"] is False
    assert "video" not in parts


def test_silence_about_a_screen_is_no_word_against_one(machine: Build) -> None:
    parts = domain(machine(devices=(Device(kind="controller", model="lsilogic"),)))["devices"]
    assert parts["autoattachGraphicsDevice"] is True


def test_a_watchdog_with_another_action_is_left_out(machine: Build) -> None:
    assert "watchdog" not in domain(machine(watchdog=Watchdog(model="i6300esb", action="pause")))["devices"]


def test_claims_are_sized_and_placed_as_the_policy_says(machine: Build) -> None:
    storage = StoragePolicy(storage_class="fast", access_mode="ReadWriteMany", volume_mode="Block")
    made = mapped(machine(), Policy(storage=storage))
    assert made.manifests[0]["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "volumeMode": "Block",
        "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": "fast",
    }
    assert made.disks[0].claim_bytes == made.disks[0].size_bytes == 10 * GIB
    on_files = mapped(machine()).disks[0]
    assert on_files.claim_bytes == 10894 << 20


def test_data_volumes_adopt_the_claims(machine: Build) -> None:
    made = mapped(machine(), Policy(storage=StoragePolicy(data_volumes=True)))
    claim, volume, vm = made.manifests
    assert volume["metadata"]["name"] == claim["metadata"]["name"]
    assert volume["metadata"]["annotations"]["cdi.kubevirt.io/allowClaimAdoption"] == "true"
    assert volume["spec"] == {"source": {"blank": {}}, "pvc": claim["spec"]}
    assert vm["spec"]["template"]["spec"]["volumes"] == [{"name": "vda", "dataVolume": {"name": "web-vda"}}]
    assert check_all(made.manifests) == []


def test_the_guests_own_host_name_is_kept(machine: Build) -> None:
    guest = machine().guest.model_copy(update={"hostname": "Shop.example.com"})
    assert template(machine(guest=guest))["hostname"] == "shop"
    assert "hostname" not in template(machine())


def test_a_disk_of_unknown_size_has_no_claim(machine: Build, disk: BuildDisk) -> None:
    made = mapped(machine(disks=(disk("vda", capacity_bytes=None),)))
    assert made.disks == ()
    assert [manifest["kind"] for manifest in made.manifests] == ["VirtualMachine"]
