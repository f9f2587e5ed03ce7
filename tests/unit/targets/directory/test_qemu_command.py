"""The manifest-to-QEMU table: what each field of a VirtualMachine becomes on the command line."""

from __future__ import annotations

import copy
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import TargetRefused
from kubeferry.targets.directory import qemu
from kubeferry.targets.directory.devices import Layer, Wire, joined

LAYERS = {f"claim{n}": Layer(Path(f"/run/{n}.qcow2"), Path(f"/disks/{n}.img")) for n in range(9)}


def options(**changed: Any) -> qemu.Options:
    values: dict[str, Any] = {
        "accelerator": "tcg",
        "qmp_socket": Path("/s/qmp"),
        "agent_socket": Path("/s/agent"),
        "serial_log": Path("/run/serial.log"),
        "now": datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC),
    }
    return qemu.Options(**(values | changed))


def manifest(domain: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A machine with one virtio disk; `domain` and `spec` are laid over it."""
    plain: dict[str, Any] = {
        "memory": {"guest": "256Mi"},
        "machine": {"type": "q35"},
        "devices": {"disks": [{"name": "vda", "disk": {"bus": "virtio"}}]},
    }
    merged = _merged(plain, domain or {})
    volumes = [{"name": "vda", "persistentVolumeClaim": {"claimName": "claim0"}}]
    return {
        "kind": "VirtualMachine",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"domain": merged, "volumes": volumes, **spec}}},
    }


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def with_disks(*disks: dict[str, Any]) -> dict[str, Any]:
    volumes = [{"name": d["name"], "dataVolume": {"name": f"claim{n}"}} for n, d in enumerate(disks)]
    return manifest({"devices": {"disks": list(disks)}}, volumes=volumes)


def said(vm: dict[str, Any], **changed: Any) -> list[str]:
    return list(qemu.command(vm, LAYERS, options(**changed)).argv)


def after(argv: list[str], flag: str) -> list[str]:
    return [value for name, value in itertools.pairwise(argv) if name == flag]


def device(argv: list[str], driver: str) -> str:
    (found,) = [value for value in after(argv, "-device") if value.split(",")[0] == driver]
    return found


@pytest.mark.parametrize(
    ("domain", "flag", "part"),
    [
        ({"cpu": {"sockets": 2, "cores": 3, "threads": 2}}, "-smp", "cpus=12,sockets=2,cores=3,threads=2"),
        ({}, "-smp", "cpus=1,sockets=1,cores=1,threads=1"),
        ({"cpu": {"model": "Nehalem"}}, "-cpu", "Nehalem"),
        ({"cpu": {"model": "host-passthrough"}}, "-cpu", "max"),
        ({"cpu": {"features": [{"name": "vmx", "policy": "disable"}, {"name": "aes"}]}}, "-cpu", "max,vmx=off,aes=on"),
        ({"memory": {"guest": "1.5Gi"}}, "-m", "size=1572864K"),
        (
            {"firmware": {"uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223"}},
            "-uuid",
            "5d307ca9-b3ef-428c-8861-06e72d69f223",
        ),
        ({"firmware": {"serial": "a,b"}}, "-smbios", "type=1,serial=a,,b"),
        ({"chassis": {"asset": "7"}}, "-smbios", "type=3,asset=7"),
        ({"clock": {"utc": {}}}, "-rtc", "base=utc"),
        ({"clock": {"utc": {"offsetSeconds": 90}}}, "-rtc", "base=2026-01-15T12:01:30"),
        ({"clock": {"timezone": "Europe/Berlin"}}, "-rtc", "base=2026-01-15T13:00:00"),
        ({"clock": {"timer": {"rtc": {"tickPolicy": "catchup"}}}}, "-rtc", "base=utc,driftfix=slew"),
        ({"clock": {"timer": {"hpet": {"present": False}}}}, "-machine", "hpet=off"),
        ({"features": {"acpi": {"enabled": False}}}, "-machine", "acpi=off"),
        ({"features": {"smm": {"enabled": True}}}, "-machine", "smm=on"),
        ({}, "-machine", "q35,accel=tcg,smm=off"),
        ({"devices": {"watchdog": {"name": "w", "i6300esb": {"action": "poweroff"}}}}, "-action", "watchdog=poweroff"),
    ],
)
def test_a_field_of_the_domain(domain: dict[str, Any], flag: str, part: str) -> None:
    assert any(part in value for value in after(said(manifest(domain)), flag))


@pytest.mark.parametrize(
    ("devices", "driver", "parts"),
    [
        ({"rng": {}}, "virtio-rng-pci", ["disable-legacy=on"]),
        ({"useVirtioTransitional": True}, "virtio-blk-pci", ["disable-legacy=off"]),
        ({}, "virtio-blk-pci", ["drive=layer0", "bootindex=1", "disable-legacy=on"]),
        ({}, "virtserialport", ["chardev=agent", "name=org.qemu.guest_agent.0"]),
        ({}, "isa-serial", ["chardev=console"]),
        ({}, "VGA", ["addr=0x1"]),
        ({"video": {"type": "virtio"}}, "virtio-vga", ["addr=0x1"]),
        ({"watchdog": {"name": "w", "i6300esb": {}}}, "i6300esb", ["bus=conventional"]),
        ({"inputs": [{"name": "t", "type": "tablet", "bus": "usb"}]}, "usb-tablet", ["bus=usb.0"]),
        ({"inputs": [{"name": "t", "type": "tablet", "bus": "virtio"}]}, "virtio-tablet-pci", ["bus=port"]),
    ],
)
def test_a_device(devices: dict[str, Any], driver: str, parts: list[str]) -> None:
    found = device(said(manifest({"devices": devices})), driver)
    assert all(part in found for part in parts), found


@pytest.mark.parametrize(
    ("switch", "driver"),
    [
        ("autoattachGraphicsDevice", "VGA"),
        ("autoattachSerialConsole", "isa-serial"),
        ("autoattachMemBalloon", "virtio-balloon-pci"),
    ],
)
def test_what_kubevirt_attaches_by_itself_can_be_switched_off(switch: str, driver: str) -> None:
    drivers = [value.split(",")[0] for value in after(said(manifest({"devices": {switch: False}})), "-device")]
    assert driver not in drivers
    assert driver in [value.split(",")[0] for value in after(said(manifest()), "-device")]


@pytest.mark.parametrize(
    ("disk", "driver", "parts"),
    [
        ({"disk": {"bus": "virtio"}, "serial": "s,1"}, "virtio-blk-pci", ["serial=s,,1"]),
        ({"disk": {"bus": "sata"}, "bootOrder": 2}, "ide-hd", ["bus=ide.0", "bootindex=2"]),
        ({"disk": {}}, "ide-hd", ["bus=ide.0"]),
        ({"disk": {"bus": "scsi"}}, "scsi-hd", ["bus=scsi.0"]),
        ({"disk": {"bus": "usb"}}, "usb-storage", ["bus=usb.0"]),
        ({"cdrom": {"bus": "sata"}}, "ide-cd", ["drive=layer0"]),
        (
            {
                "disk": {"bus": "virtio"},
                "blockSize": {"custom": {"logical": 512, "physical": 4096, "discardGranularity": 65536}},
            },
            "virtio-blk-pci",
            ["logical_block_size=512", "physical_block_size=4096", "discard_granularity=65536"],
        ),
    ],
)
def test_a_disk(disk: dict[str, Any], driver: str, parts: list[str]) -> None:
    found = device(said(with_disks({"name": "vda", **disk})), driver)
    assert all(part in found.split(",") or part in found for part in parts), found


def test_seven_sata_disks_get_a_second_controller() -> None:
    argv = said(with_disks(*({"name": f"sd{n}", "disk": {"bus": "sata"}} for n in range(7))))
    buses = [value.rpartition("bus=")[2] for value in after(argv, "-device") if value.startswith("ide-hd")]
    assert buses == ["ide.0", "ide.1", "ide.2", "ide.3", "ide.4", "ide.5", "ahci1.0"]


def test_a_disk_is_a_layer_whose_formats_and_files_are_named_here() -> None:
    (node,) = [json.loads(value) for value in after(said(manifest()), "-blockdev")]
    assert node["driver"] == "qcow2"
    assert node["file"]["filename"] == "/run/0.qcow2"
    assert node["backing"]["driver"] == "raw"
    assert node["backing"]["file"]["filename"] == "/disks/0.img"
    assert node["backing"]["read-only"] is True
    assert node["backing"]["file"]["read-only"] is True


def test_boot_order_of_the_manifest_wins_over_the_first_disk() -> None:
    argv = said(
        with_disks({"name": "a", "disk": {"bus": "virtio"}}, {"name": "b", "bootOrder": 1, "disk": {"bus": "sata"}})
    )
    assert "bootindex" not in device(argv, "virtio-blk-pci")
    assert "bootindex=1" in device(argv, "ide-hd")


def test_every_network_lets_nothing_out_and_forwards_the_probed_ports() -> None:
    cards = [{"name": "a", "masquerade": {}, "macAddress": "52:54:00:00:00:01"}, {"name": "b", "model": "e1000"}]
    argv = said(manifest({"devices": {"interfaces": cards}}), forward_ports=(80, 443))
    networks = after(argv, "-netdev")
    assert len(networks) == 2
    assert all("restrict=on" in network.split(",") for network in networks)
    assert all("hostfwd=tcp:127.0.0.1:0-:80,hostfwd=tcp:127.0.0.1:0-:443" in network for network in networks)
    assert "-object" not in argv, "nobody asks what they send"
    assert "mac=52:54:00:00:00:01" in device(argv, "virtio-net-pci")
    assert "bus=conventional,addr=0x1" in device(argv, "e1000")


def test_what_each_card_sends_is_captured_where_somebody_asks() -> None:
    cards = [{"name": "a", "masquerade": {}}, {"name": "b", "model": "e1000"}]
    argv = said(manifest({"devices": {"interfaces": cards}}), captures=Path("/run/a,b"))
    assert after(argv, "-object") == [
        f"filter-dump,id=card{number}.pcap,netdev=net{number},queue=rx,maxlen=1024,file=/run/a,,b/card{number}.pcap"
        for number in range(2)
    ]


def test_a_card_that_is_joined_to_others_keeps_its_address_and_a_way_in_of_its_own() -> None:
    cards = [{"name": "a", "masquerade": {}, "macAddress": "52:54:00:00:00:01"}, {"name": "b", "masquerade": {}}]
    wires = tuple(
        Wire(0, "198.18.0.0/24", f"198.18.0.{15 + number}", f"52:54:00:aa:00:0{number}", *_ends(number))
        for number in (0, 1)
    )
    argv = said(manifest({"devices": {"interfaces": cards}}), forward_ports=(80,), wires=wires)
    networks = after(argv, "-netdev")
    assert [one.split(",")[0] for one in networks] == ["user", "dgram", "hubport", "hubport", "dgram"] * 2
    assert networks[0] == (
        "user,id=service0,restrict=on,net=198.18.0.0/24,dhcpstart=198.18.0.15,hostfwd=tcp:127.0.0.1:0-:80"
    )
    assert networks[4] == "dgram,id=net0,local.type=unix,local.path=/run/0,remote.type=unix,remote.path=/run/0.far"
    for mac in ("52:54:00:00:00:01", "52:54:00:aa:00:01"):  # the second has none in the manifest
        assert any(f"mac={mac}" in one for one in argv)


def _ends(number: int) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    return (Path(f"/run/{number}"), Path(f"/run/{number}.far")), (Path(f"/run/w{number}"), Path(f"/run/w{number}.far"))


def test_a_machine_without_cards_has_no_network() -> None:
    assert "-netdev" not in said(manifest({"devices": {"autoattachPodInterface": False}}))


@pytest.mark.parametrize(
    ("bootloader", "need"),
    [
        ({"bios": {}}, "bios"),
        ({"efi": {"secureBoot": False}}, "uefi"),
        ({"efi": {}}, "uefi-secure"),
        ({"efi": {"secureBoot": True}}, "uefi-secure"),
    ],
)
def test_the_firmware_that_is_asked_for(bootloader: dict[str, Any], need: str) -> None:
    vm = manifest({"firmware": {"bootloader": bootloader}})
    assert qemu.firmware_need(vm) == need
    argv = said(vm, firmware=None if need == "bios" else (Path("/code"), Path("/vars")))
    assert ("pflash0=firmware-code" in " ".join(argv)) == (need != "bios")
    assert ("property=secure" in " ".join(argv)) == (need == "uefi-secure")


def test_kvm_gets_the_host_processor_and_enlightenments_and_tcg_says_that_they_are_missing() -> None:
    hyperv = {
        "relaxed": {},
        "vapic": {"enabled": False},
        "spinlocks": {"spinlocks": 8191},
        "synictimer": {"enabled": True},
    }
    vm = manifest({"features": {"hyperv": hyperv}})
    assert after(said(vm, accelerator="kvm"), "-cpu") == ["host,hv-relaxed=on,hv-stimer=on,hv-spinlocks=8191"]
    emulated = qemu.command(vm, LAYERS, options())
    assert after(list(emulated.argv), "-cpu") == ["max"]
    assert "domain.features.hyperv.spinlocks.spinlocks" in emulated.not_shown
    assert not any("hyperv" in path for path in qemu.command(vm, LAYERS, options(accelerator="kvm")).not_shown)


def test_what_is_not_shown_is_listed_by_path_and_without_values() -> None:
    vm = manifest(
        {"devices": {"tpm": {"persistent": True}}, "cpu": {"maxSockets": 4}},
        evictionStrategy="LiveMigrate",
        volumes=[
            {"name": "vda", "persistentVolumeClaim": {"claimName": "claim0"}},
            {"name": "init", "cloudInitNoCloud": {"userData": "password: hunter2"}},
        ],
    )
    found = qemu.command(vm, LAYERS, options()).not_shown
    assert "domain.devices.tpm.persistent" in found
    assert "domain.cpu.maxSockets" in found
    assert "evictionStrategy" in found
    assert "volumes[].cloudInitNoCloud.userData" in found
    assert not any("hunter2" in line for line in found)
    assert "domain.memory.guest" not in found


@pytest.mark.parametrize(("kept", "model"), [(True, "tpm-crb"), (False, "tpm-tis"), (None, "tpm-tis")])
def test_a_tpm_is_the_one_behind_the_socket_and_of_kubevirts_model(kept: bool | None, model: str) -> None:
    asked = {} if kept is None else {"persistent": kept}
    vm = manifest({"devices": {"tpm": asked}})
    found = qemu.command(vm, LAYERS, options(tpm_socket=Path("/run/tpm")))
    assert f"{model},tpmdev=tpm0" in after(list(found.argv), "-device")
    assert "socket,id=tpm,path=/run/tpm" in after(list(found.argv), "-chardev")
    assert not any("tpm" in path for path in found.not_shown)
    without = qemu.command(vm, LAYERS, options())
    assert not any("tpm" in word for word in without.argv)
    assert any("tpm" in path for path in without.not_shown)


@pytest.mark.parametrize(
    "vm",
    [
        manifest({"machine": {"type": "pc-i440fx-9.0"}}),
        manifest(architecture="arm64"),
        manifest({"memory": {"guest": "many"}}),
        manifest({"memory": {"guest": None}}),
        manifest({"cpu": {"cores": "three"}}),
        manifest({"cpu": "fast"}),
        manifest({"clock": {"timezone": "Mars/Olympus"}}),
        manifest({"clock": {"timezone": "../../etc/passwd"}}),
        manifest({"devices": {"interfaces": [{"name": "a", "model": "vmxnet3"}]}}),
        manifest({"devices": {"disks": [{"name": "vda", "disk": {"bus": "ide"}}]}}),
        manifest({"devices": {"disks": ["vda"]}}),
        manifest(volumes=[{"name": "vda", "persistentVolumeClaim": {"claimName": "of-somebody-else"}}]),
    ],
)
def test_what_no_such_machine_can_have_is_refused(vm: dict[str, Any]) -> None:
    with pytest.raises(TargetRefused) as caught:
        said(vm)
    assert caught.value.what


def test_exactly_one_machine_is_in_a_plan_entry() -> None:
    vm = manifest()
    assert qemu.virtual_machine(({"kind": "Secret"}, vm)) is vm
    for wrong in ((), (vm, vm)):
        with pytest.raises(TargetRefused):
            qemu.virtual_machine(wrong)


@pytest.mark.parametrize(
    ("text", "size"), [("512Mi", 2**29), ("1G", 10**9), ("0.5Gi", 2**29), (1048576, 2**20), ("2k", 2000)]
)
def test_quantities(text: object, size: int) -> None:
    assert qemu.quantity(text) == size


@pytest.mark.parametrize("text", ["", "-1Mi", "1 Mi", "1MB", "Mi", "1e400", "9" * 40, None])
def test_no_quantities(text: object) -> None:
    with pytest.raises(TargetRefused):
        qemu.quantity(text)


@given(st.lists(st.text(alphabet="ab=,", max_size=6), min_size=1, max_size=4))
def test_no_value_can_add_an_option_of_its_own(values: list[str]) -> None:
    """QEMU's own rule, `,,` is a comma and `,` ends an option, gives the values back."""
    text = joined("driver", *(f"p{number}={value}" for number, value in enumerate(values)))
    parts = [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]
    # A value that begins with a comma follows a "=", never a separator: the split is exact.
    assert parts == ["driver", *(f"p{number}={value}" for number, value in enumerate(values))]


def test_an_instance_type_is_said_to_be_stood_in_for_and_so_is_a_preference() -> None:
    vm = manifest()
    kinds = {"instancetype": "VirtualMachineClusterInstancetype", "preference": "VirtualMachineClusterPreference"}
    vm["spec"] |= {field: {"kind": kind, "name": f"a-{field}"} for field, kind in kinds.items()}
    told = qemu.command(vm, LAYERS, options()).not_shown
    assert "instancetype: a-instancetype (processors and memory as the plan knows them stand in)" in told
    assert "preference: a-preference" in told
