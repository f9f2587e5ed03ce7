"""Configurations of Proxmox: what `qm config` prints and /etc/pve/qemu-server holds, key by key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeferry.documents import Policy
from kubeferry.errors import InputInvalid
from kubeferry.model import DiskBus, DiskDevice, FirmwareKind, Machine, Power, Severity
from kubeferry.sources.exported import read_exported
from kubeferry.sources.proxmox.config_files import read_machines
from kubeferry.sources.proxmox.disks import size_of
from kubeferry.sources.proxmox.machine import parse_config
from kubeferry.sources.proxmox.sections import read_sections
from mappings.assessment import assess

GOLDEN = Path(__file__).parents[3] / "golden" / "proxmox"


def machine(text: str, called: str = "100") -> Machine:
    return parse_config(read_sections(f"scsihw: virtio-scsi-pci\n{text}\n", "100.conf"), source="lab", called=called)


def facts(found: Machine) -> dict[str, str]:
    return {fact.path: fact.value for fact in found.unmodelled}


def test_what_is_left_out_has_proxmox_s_own_default() -> None:
    found = machine("")
    assert (found.id, found.name, found.power, found.arch) == ("100", "VM 100", Power.UNKNOWN, "x86_64")
    assert (found.machine_type, found.firmware.kind, found.firmware.secure_boot) == ("pc", FirmwareKind.BIOS, None)
    assert (found.cpu.vcpus, found.cpu.max_vcpus, found.memory.size_bytes) == (1, None, 512 << 20)
    assert (found.guest.agent_channel, found.autostart, found.snapshots, found.clock.offset) == (False, False, 0, "utc")
    assert facts(found) == {}


def test_sections_of_snapshots_are_passed_over_and_counted_and_what_waits_is_told() -> None:
    found = machine(
        "name: web\nmemory: 4096\nparent: two\n[PENDING]\nmemory: 8192\ndelete: net1\n[one]\nname: old\nmemory: 1024\n"
        "snaptime: 1\n[two]\nmemory: 2048\n[special:cloudinit]\nname: no\n[special:fleecing]\nfleecing-images: x"
    )
    assert (found.name, found.memory.size_bytes, found.snapshots) == ("web", 4096 << 20, 2)
    assert facts(found) == {"pending": "memory, delete"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#first%3A line\n#\n#<b>100%25</b>", "first: line\n\n<b>100%</b>"),
        ("description: one%0Atwo%3A", "one\ntwo:"),
        ("#qmdump#map:scsi0:drive-scsi0:lvm::", None),
        ("[one]\n#of the snapshot", None),
    ],
)
def test_the_description_is_unescaped(text: str, said: str | None) -> None:
    assert machine(text).description == said


def test_a_key_that_is_told_twice_is_refused_and_a_line_that_is_none_is_told() -> None:
    with pytest.raises(InputInvalid, match="cores is told twice"):
        machine("cores: 2\ncores: 4")
    with pytest.raises(InputInvalid, match="cores is 'many'"):
        machine("cores: many")
    with pytest.raises(InputInvalid, match="no amount of memory"):
        machine("memory: plenty")
    found = machine("no line\nname: web")
    assert (found.name, facts(found)) == ("web", {"line[2]": "no line"})


def test_processors_are_those_that_are_switched_on() -> None:
    cpu = machine("sockets: 2\ncores: 4\nvcpus: 6\ncpu: EPYC-Rome,flags=+aes;-pcid,hidden=1\naffinity: 0-3").cpu
    assert (cpu.vcpus, cpu.max_vcpus, cpu.sockets, cpu.cores, cpu.mode, cpu.model) == (
        6,
        8,
        2,
        4,
        "custom",
        "EPYC-Rome",
    )
    assert [(one.name, one.policy) for one in cpu.features] == [("aes", "require"), ("pcid", "disable")]
    assert cpu.pinning[0] == (0, "0-3")
    assert machine("cpu: cputype=host").cpu.mode == "host-passthrough"
    assert facts(machine("cpu: host,hidden=1,hv-vendor-id=x")) == {"cpu/hidden": "1", "cpu/hv-vendor-id": "x"}


def test_firmware_is_that_of_its_bios_and_its_disk_of_variables() -> None:
    plain = machine("bios: ovmf\nefidisk0: lvm:vm-100-disk-0,efitype=4m,size=4M").firmware
    keys = machine("bios: ovmf\nefidisk0: lvm:vm-100-disk-0,pre-enrolled-keys=1,size=4M").firmware
    assert (plain.kind, plain.secure_boot, keys.secure_boot) == (FirmwareKind.UEFI, False, True)
    assert machine("bios: ovmf").firmware.secure_boot is None


@pytest.mark.parametrize(
    ("text", "orders", "classes"),
    [
        ("boot: order=scsi1;net0;scsi0", {"scsi0": 3, "scsi1": 1, "net0": 2}, ()),
        ("boot: cdn", {"scsi0": None, "scsi1": None, "net0": None}, ("hd", "cdrom", "network")),
        ("boot: c\nbootdisk: scsi1", {"scsi0": None, "scsi1": 1, "net0": None}, ()),
        ("boot: dc\nbootdisk: scsi1", {"scsi0": None, "scsi1": None, "net0": None}, ("cdrom", "hd")),
        ("boot: legacy=n", {"scsi0": None, "scsi1": None, "net0": None}, ("network",)),
    ],
)
def test_the_boot_order_is_read_in_both_forms(
    text: str, orders: dict[str, int | None], classes: tuple[str, ...]
) -> None:
    found = machine(f"scsi0: lvm:a,size=1G\nscsi1: lvm:b,size=1G\nnet0: virtio=BC:24:11:00:00:01,bridge=vmbr0\n{text}")
    assert {one.id: one.boot_order for one in (*found.disks, *found.nics)} == orders
    assert found.firmware.boot_order == classes


def test_disks_have_their_bus_size_and_modes() -> None:
    found = machine(
        "virtio10: local-lvm:vm-100-disk-2,size=32G,iothread=1,cache=writeback,discard=on,aio=native,serial=ab1\n"
        "virtio2: local:100/vm-100-disk-1.qcow2,size=1.5T,ro=1,backup=0,replicate=0\n"
        "scsi0: file=nfs:9000/base-9000-disk-0.raw/100/vm-100-disk-0.raw,size=528K,ssd=1,mbps_rd=10,snapshot=1\n"
        "sata0: /dev/sdb\nide0: local:iso/a b.iso,media=cdrom,size=600M\nide2: none,media=cdrom\n"
        "ide3: local-lvm:vm-100-cloudinit,media=cdrom"
    )
    assert [(one.id, one.bus, one.capacity_bytes, one.format) for one in found.disks] == [
        ("ide0", DiskBus.IDE, None, None),
        ("ide2", DiskBus.IDE, None, None),
        ("ide3", DiskBus.IDE, None, None),
        ("sata0", DiskBus.SATA, None, "raw"),
        ("scsi0", DiskBus.SCSI, 528 << 10, "raw"),
        ("virtio2", DiskBus.VIRTIO, 3 << 39, "qcow2"),
        ("virtio10", DiskBus.VIRTIO, 32 << 30, "raw"),
    ]
    by_name = {one.id: one for one in found.disks}
    assert [one.id for one in found.disks if one.device is DiskDevice.CDROM] == ["ide0", "ide2", "ide3"]
    assert (by_name["ide0"].uri, by_name["ide2"].uri, by_name["ide3"].uri) == (
        "proxmox:local:iso/a%20b.iso",
        None,
        None,
    )
    assert [link.uri for link in by_name["scsi0"].chain or ()] == ["proxmox:nfs:base-9000-disk-0.raw"]
    scsi, virtio = by_name["scsi0"], by_name["virtio10"]
    assert (scsi.controller_model, scsi.throttled, scsi.transient) == ("virtio-scsi", True, True)
    assert (virtio.io_thread, virtio.cache, virtio.discard, virtio.io) == (True, "writeback", "unmap", "native")
    assert (virtio.serial, by_name["virtio2"].readonly) == ("ab1", True)
    assert facts(found) == {"scsi0/ssd": "1"}


@pytest.mark.parametrize(
    ("told", "size"),
    [
        ("32G", 32 << 30),
        ("528K", 528 << 10),
        ("1.5G", 3 << 29),
        ("4096", 4096),
        ("2T", 2 << 40),
        ("x", None),
        ("", None),
    ],
)
def test_sizes_are_read_in_all_their_units(told: str, size: int | None) -> None:
    assert size_of(told) == size


def test_cards_are_read_in_both_forms() -> None:
    found = machine(
        "net10: virtio=BC:24:11:00:00:0A,bridge=vmbr0,tag=12,firewall=1,link_down=1,mtu=1450,queues=4,rate=10\n"
        "net2: model=e1000,macaddr=BC:24:11:00:00:02\nnet3: virtio,bridge=vmbr1,trunks=1;3-5,mtu=1"
    )
    assert [(one.id, one.model, one.mac, one.network_kind, one.network, one.vlans) for one in found.nics] == [
        ("net2", "e1000", "BC:24:11:00:00:02", "user", None, ()),
        ("net3", "virtio", None, "bridge", "vmbr1", (1, 3, 4, 5)),
        ("net10", "virtio", "BC:24:11:00:00:0A", "bridge", "vmbr0", (12,)),
    ]
    last = found.nics[-1]
    assert (last.filtered, last.link_up, last.mtu, last.queues, last.throttled) == (True, False, 1450, 4, True)
    assert found.nics[1].mtu is None
    assert facts(found) == {}


def test_all_other_devices_have_their_kind() -> None:
    found = machine(
        "hostpci0: 0000:01:00.0,pcie=1\nusb0: host=1234:5678\nusb1: spice\nserial0: socket\naudio0: device=AC97\n"
        "vga: virtio\nrng0: source=/dev/urandom\nvirtiofs0: share\nballoon: 0\ntpmstate0: lvm:x,size=4M,version=v2.0\n"
        "watchdog: i6300esb,action=poweroff"
    )
    assert [(one.kind, one.model) for one in found.devices] == [
        ("hostdev", "pci"), ("hostdev", "usb"), ("redirdev", "spice"), ("serial", None), ("sound", "ac97"),
        ("video", "virtio"), ("rng", None), ("filesystem", None),
    ]  # fmt: skip
    assert found.tpm is not None
    assert found.watchdog is not None
    assert (found.tpm.version, found.watchdog.action) == ("2.0", "poweroff")
    assert machine("").devices[0].model == "vga"
    assert "video" not in {one.kind for one in machine("vga: serial0").devices}
    assert facts(found) == {}


def test_identity_is_unpacked_and_secrets_are_hidden() -> None:
    found = machine(
        "smbios1: uuid=b3247ab1-1fe6-428e-965b-08a1b64a8746,base64=1,manufacturer=QWNtZQ==,serial=U04x\n"
        "cipassword: $5$abc\nargs: -device x\nlock: backup\ntags: prod;web\nostype: win10\nagent: enabled=1,type=isa\n"
        "onboot: 1\nprotection: 1\nvmgenid: 0\nstartup: order=1"
    )
    assert (found.uuid, found.smbios_serial) == ("b3247ab1-1fe6-428e-965b-08a1b64a8746", "SN1")
    assert (found.guest.os_name, found.guest.agent_channel, found.autostart) == ("Microsoft Windows 10", True, True)
    assert (found.metadata, found.clock.offset) == ({"tags": "prod;web"}, "localtime")
    left = facts(found)
    assert left.pop("cipassword") == "(not shown: it may be a secret)"
    assert left == {
        "smbios1/manufacturer": "Acme", "args": "-device x", "lock": "backup", "protection": "1", "vmgenid": "0",
        "startup": "order=1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ("-drive file=/x.img,if=virtio", "-drive"),
        (f"-smbios type=1,product={'x' * 300} -drive file=/x.img", "-drive"),
        ("-object secret,id=s,data=abc -blockdev driver=raw,key-secret=s", "-blockdev"),
        ("-usbdevice disk:/i/u.img", "-usbdevice"),
        ("-smbios type=1", ""),
    ],
)
def test_a_disk_that_only_qemu_knows_is_not_copied(tmp_path: Path, args: str, told: str) -> None:
    (tmp_path / "100.conf").write_text(f"args: {args}\ncores: 1\nmemory: 512\nname: t\nscsi0: a:b,size=1G\n")
    found = read_exported(tmp_path, "pve")
    assert "abc" not in facts(found.machines[0])["args"]
    (row,) = assess(found, Policy(namespace="migrated"))
    ours = [one for one in row.concerns if one.id == "device.by-arguments"]
    assert [(one.severity, told in one.what) for one in ours] == ([(Severity.CRITICAL, True)] if told else [])


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_folder_of_configurations_is_an_inventory() -> None:
    found = read_exported(GOLDEN, "pve")
    assert found.source_kind == "proxmox-export"
    assert len(found.machines) == len(list(GOLDEN.glob("*.conf")))
    assert {one.severity for one in found.unreadable} == {Severity.INFO}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "101.conf",
            "arch: amd64\ncores: 2\nhostname: ct\nmemory: 512\nrootfs: lvm:vm-101-disk-0,size=8G\n",
            "container",
        ),
        ("nginx.conf", "server {\n  listen 80;\n}\n", "no kind that holds machines"),
        ("domain.conf", "<domain type='kvm'>", "it holds a domain"),
        ("empty.conf", "\n", "it is empty"),
        ("latin.conf", b"name: B\xfcro\nboot: order=scsi0\n", "no text in UTF-8: its byte 7 (0xfc) is part of none"),
    ],
)
def test_what_is_no_configuration_is_called_by_what_it_is(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "web.conf").write_text("name: web\nscsihw: pvscsi\n")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_exported(tmp_path, "pve")
    assert [one.name for one in found.machines] == ["web"]
    (told,) = found.unreadable
    assert said in f"{told.what} {told.fix}"
    assert name in told.what


@pytest.mark.parametrize("name", ["100", "100.txt", "qm-config-100.out"])
def test_what_a_shell_wrote_is_read_under_any_name(name: str, tmp_path: Path) -> None:
    notes = "#" + "%3Ch1%3E a long description" * 700 + "\n"
    (tmp_path / name).write_text(f"{notes}boot: order=scsi0\ncores: 2\nname: web\nscsi0: lvm:vm-100-disk-0,size=4G\n")
    (tmp_path / "notes.txt").write_text("net0: the first card\nof the machine: web\n")
    found = read_exported(tmp_path, "pve")
    assert [one.name for one in found.machines] == ["web"]
    assert ["notes.txt" in one.what for one in found.unreadable] == [True]


def test_a_windows_shell_may_have_written_it(tmp_path: Path) -> None:
    (tmp_path / "web.conf").write_bytes("name: Büro\r\nscsihw: pvscsi\r\nmemory: 1024\r\n".encode("utf-16"))
    (found,) = read_machines(tmp_path / "web.conf", "pve")
    assert isinstance(found, Machine)
    assert (found.name, found.memory.size_bytes) == ("Büro", 1 << 30)
    assert [one.name for one in read_exported(tmp_path, "pve").machines] == ["Büro"]


def test_machines_of_one_number_in_two_clusters_are_told_apart(tmp_path: Path) -> None:
    for cluster in ("a", "b"):
        (tmp_path / cluster).mkdir()
        (tmp_path / cluster / "100.conf").write_text(f"name: web\nscsihw: pvscsi\ncores: {ord(cluster) - 96}\n")
    assert len({one.name for one in read_exported(tmp_path, "pve").machines}) == 2


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), path=st.sampled_from(sorted(GOLDEN.glob("*.conf"))))
def test_whatever_its_bytes_it_ends_in_words(data: st.DataObject, path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    (tmp_path / "x.conf").write_bytes(whole[:at] + data.draw(st.binary(max_size=20)) + whole[at + 7 :])
    try:
        found = read_exported(tmp_path, "pve")
    except InputInvalid as error:
        str(error).encode()
        return
    found.model_dump_json()
    assert len(assess(found, Policy(namespace="migrated"))) == 1
