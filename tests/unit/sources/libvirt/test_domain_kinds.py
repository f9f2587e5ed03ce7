"""Kinds of domains that people have and that are easily taken for something else: what is read of each, what is said.

Each domain is written here with the one trait that it is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Inventory, NetworkMap, Plan, Platform, Policy, Probe, StoragePolicy
from kubeferry.model import Carried, Fate, Machine, Power, Severity
from kubeferry.sources.exported import read_exported
from kubeferry.sources.libvirt.domain.machine import parse_domain
from kubeferry.versions import SUPPORTED
from mappings.admission.check import check_all
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names
from mappings.plan import make_plan

DISK = (
    "<disk type='file'><driver name='qemu' type='raw'/><source file='/i/root.img'/><target dev='vda' bus='virtio'/>"
    "</disk>"
)
_TARGET = "protocol='iscsi' name='iqn.x:t/1'"
ISCSI = f"<source {_TARGET}><host name='h'/></source>"
ISER = f"<source {_TARGET}><host name='h' transport='rdma'/></source>"
OVER_LUN = (
    f"<source file='/i/a'/><backingStore type='network'><format type='raw'/>{ISCSI}<backingStore/></backingStore>"
)
ISCSI_SLICE = f"<source {_TARGET}><host name='h'/><slices><slice type='storage' offset='1' size='2'/></slices></source>"
SLICE = "<source file='/i/a'><slices><slice type='storage' offset='1' size='2'/></slices></source>"
BELOW = (
    "<source file='/i/a'/><backingStore type='file'><format type='vmdk'/><source file='/i/b'/><backingStore/>"
    "</backingStore>"
)
POLICY = Policy(
    namespace="apps",
    storage=StoragePolicy(storage_class="fast", access_mode="ReadWriteMany", volume_mode="Block"),
    networks=(NetworkMap(source_kind="bridge", target="multus", multus_name="apps/lan"), NetworkMap()),
    probes=(Probe(kind="tcp", port=22),),
)


def domain(
    devices: str = "",
    *,
    name: str = "trait",
    start: str = "<domain type='kvm'>",
    os: str = "<type arch='x86_64' machine='pc-q35-8.2'>hvm</type>",
    features: str = "<acpi/><apic/>",
    disk: str = DISK,
    more: str = "",
) -> str:
    return (
        f"{start}<name>{name}</name><memory unit='GiB'>2</memory><vcpu>2</vcpu><os>{os}</os>"
        f"<features>{features}</features><cpu mode='host-model'/><clock offset='utc'/>{more}"
        f"<devices>{disk}{devices}</devices></domain>"
    )


def read(text: str) -> Machine:
    machine = parse_domain(text, source="lab")
    disks = tuple(one.model_copy(update={"capacity_bytes": 4 << 30}) for one in machine.disks)
    return machine.model_copy(update={"disks": disks})


def mapped(machine: Machine, policy: Policy = POLICY) -> Mapped:
    return to_manifests(machine, policy, machine_names([machine], policy)[machine.name])


def ids(machine: Machine, severity: Severity | None = None) -> set[str]:
    return {one.id for one in mapped(machine).concerns if severity in {None, one.severity}}


def fate(machine: Machine, field: str) -> Carried:
    return next(one for one in mapped(machine).carried if one.field == field)


def planned(*machines: Machine) -> Plan:
    inventory = Inventory(source="lab", source_kind="libvirt", observed_at="2026-01-01", machines=machines)
    return make_plan(inventory, POLICY, name="kinds", created_at="2026-01-01")


# --- what is no machine, or another one than it seems ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "os", "said"),
    [
        ("<domain type='lxc'>", "<type arch='x86_64'>exe</type><init>/sbin/init</init>", "a container"),
        ("<domain type='xen'>", "<type arch='x86_64'>linux</type><kernel>/k</kernel>", "a paravirtual guest (linux)"),
        ("<domain type='xen'>", "<type arch='x86_64' machine='xenfv'>hvm</type>", "another hypervisor (xen)"),
        ("<domain type='xen' id='7'>", "<type arch='x86_64' machine='xenfv'>hvm</type>", "another hypervisor (xen)"),
        ("<domain type='bhyve'>", "<type arch='x86_64'>hvm</type>", "another hypervisor (bhyve)"),
        ("<domain type='vz'>", "<type arch='x86_64'>hvm</type>", "another hypervisor (vz)"),
    ],
)
def test_a_container_is_no_machine(start: str, os: str, said: str) -> None:
    machine = read(domain(start=start, os=os))
    (told,) = [one for one in mapped(machine).concerns if one.id == "machine.container"]
    assert told.severity is Severity.CRITICAL
    assert said in told.what
    assert "accept" not in told.fix, "no word of the user's makes it one"
    assert "firmware.unknown" not in ids(machine), "there is none to name"
    assert "machine.container" in planned(machine).excluded["trait"]


@pytest.mark.parametrize("kind", ["kvm", "qemu", "hvf"])
def test_a_machine_of_qemu_is_one_whatever_runs_its_code(kind: str) -> None:
    assert "machine.container" not in ids(read(domain(start=f"<domain type='{kind}'>")))


@pytest.mark.parametrize(("match", "told"), [("exact", {}), ("minimum", "match=minimum"), ("strict", "match=strict")])
def test_how_the_host_s_processor_has_to_match_is_told(match: str, told: str | dict[str, str]) -> None:
    text = domain().replace(
        "<cpu mode='host-model'/>", f"<cpu mode='custom' match='{match}'><model>Skylake-Server</model></cpu>"
    )
    facts = {fact.path: fact.value for fact in read(text).unmodelled}
    assert facts == ({"cpu": told} if told else {})


def test_a_32_bit_pc_is_an_amd64_machine() -> None:
    machine = read(domain(os="<type arch='i686' machine='pc-i440fx-6.2'>hvm</type>"))
    assert "arch.unsupported" not in ids(machine)
    assert "arch.32-bit" in ids(machine, Severity.INFO)
    assert (fate(machine, "arch").fate, fate(machine, "arch").target) == (Fate.CHANGED, "architecture")
    assert mapped(machine).manifests[-1]["spec"]["template"]["spec"]["architecture"] == "amd64"


def test_the_xml_of_a_running_domain_is_that_of_a_machine_that_runs() -> None:
    assert read(domain(start="<domain type='kvm' id='12'>")).power is Power.RUNNING
    assert read(domain()).power is Power.UNKNOWN
    told = parse_domain(domain(start="<domain type='kvm' id='12'>"), source="lab", power=Power.PAUSED)
    assert told.power is Power.PAUSED, "who asked libvirt knows better"


# --- the platform ---------------------------------------------------------------------------------------------------


def test_the_chipsets_own_watchdog_is_there_too() -> None:
    machine = read(domain("<watchdog model='itco' action='reset'/>"))
    assert "watchdog" not in mapped(machine).manifests[-1]["spec"]["template"]["spec"]["domain"]["devices"]
    assert not {one for one in ids(machine) if one.startswith("watchdog")}
    assert fate(machine, "watchdog.model").fate is Fate.CARRIED
    assert fate(machine, "watchdog.action").fate is Fate.CARRIED
    paused = read(domain("<watchdog model='itco' action='pause'/>"))
    assert fate(paused, "watchdog.action").fate is Fate.LOST


def test_a_watchdog_that_somebody_chose_counts_before_the_chipsets() -> None:
    machine = read(domain("<watchdog model='itco' action='reset'/><watchdog model='i6300esb' action='poweroff'/>"))
    assert machine.watchdog is not None
    assert (machine.watchdog.model, machine.watchdog.action) == ("i6300esb", "poweroff")
    assert not [one.path for one in machine.unmodelled if "watchdog" in one.path]


def test_a_pc_without_acpi_gets_one_and_is_told() -> None:
    machine = read(domain(features="<apic/>"))
    assert "acpi.added" in ids(machine, Severity.WARNING)
    assert fate(machine, "features.acpi").fate is Fate.CHANGED
    assert "acpi.added" not in ids(read(domain()))


def test_one_numa_cell_is_the_whole_machine() -> None:
    cell = "<cell id='{}' cpus='{}' memory='1' unit='GiB'/>"
    one = read(domain().replace("<cpu mode='host-model'/>", f"<cpu><numa>{cell.format(0, '0-1')}</numa></cpu>"))
    assert "cpu.numa" not in ids(one)
    assert fate(one, "cpu.numa[0]").fate is Fate.CARRIED
    cells = cell.format(0, "0") + cell.format(1, "1")
    two = read(domain().replace("<cpu mode='host-model'/>", f"<cpu><numa>{cells}</numa></cpu>"))
    assert "cpu.numa" in ids(two)
    assert fate(two, "cpu.numa[0]").fate is Fate.LOST


def test_what_a_bridge_has_beyond_its_number_is_told() -> None:
    bridges = (
        "<controller type='pci' index='0' model='pcie-root'><pcihole64 unit='GiB'>64</pcihole64></controller>"
        "<controller type='pci' index='1' model='pcie-root-port'><model name='pcie-root-port'/>"
        "<target chassis='1' port='0x10'/><address type='pci' slot='0x02'/></controller>"
        "<controller type='pci' index='2' model='pcie-expander-bus'><target busNr='180'><node>1</node></target>"
        "</controller>"
    )
    told = {one.path: one.value for one in read(domain(bridges)).unmodelled}
    assert set(told) == {
        "devices/controller[pcie-root-1]/pcihole64",
        "devices/controller[pcie-expander-bus-1]/target",
        "devices/controller[pcie-expander-bus-1]/target/node",
    }
    assert "64" in told["devices/controller[pcie-root-1]/pcihole64"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("/usr/share/OVMF/OVMF_VARS_4M.fd", None),
        ("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", True),
        ("/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd", True),
        ("/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin", True),
        ("/usr/share/qemu/ovmf-x86_64-ms-4m-vars.bin", True),
        ("/usr/share/qemu/ovmf-x86_64-smm-opensuse-vars.bin", True),
        ("/usr/share/qemu/ovmf-x86_64-smm-vars.bin", None),
    ],
)
def test_variables_without_keys_check_nothing(template: str, expected: bool | None) -> None:
    loader = "<loader readonly='yes' secure='yes' type='pflash'>/f/OVMF_CODE.secboot.fd</loader>"
    nvram = f"<nvram template='{template}'>/n/x_VARS.fd</nvram>"
    machine = read(domain(os=f"<type arch='x86_64' machine='q35'>hvm</type>{loader}{nvram}"))
    assert machine.firmware.secure_boot is expected
    assert (template in str(machine.unmodelled)) is (expected is None), "what decided stays a fact"
    assert ("firmware.secure-boot-unknown" in ids(machine)) is (expected is None)


# --- disks and drives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        ("<disk type='network'><source protocol='rbd' name='root'/>{}</disk>", "lies on a server of its own"),
        ("<disk type='network'><source protocol='iscsi' name='iqn.x:t/1'/>{}</disk>", "lies on a server of its own"),
        ("<disk type='network'><source protocol='sheepdog' name='root'/>{}</disk>", "lies on a server of its own"),
        (f"<disk type='network'><driver type='qcow2'/>{ISCSI}{{}}</disk>", "is qcow2 on a server"),
        (f"<disk type='network'><driver type='raw'/>{ISCSI_SLICE}{{}}</disk>", "lies on a server of its own"),
        (f"<disk type='network'><driver type='raw'/>{ISER}{{}}</disk>", "lies on a server of its own"),
        ("<disk type='nvme'><source namespace='1'><address bus='0x01'/></source>{}</disk>", "is an NVMe device"),
        ("<disk type='vhostuser'><source type='unix' path='/run/b.sock'/>{}</disk>", "is served by a program"),
        ("<disk type='vhostvdpa'><source dev='/dev/vhost-vdpa-0'/>{}</disk>", "is a device of the host's"),
        ("<disk type='dir'><source dir='/srv'/>{}</disk>", "is a folder shown as a disk"),
        ("<disk type='file'><driver name='qemu' type='vdi'/><source file='/i/a'/>{}</disk>", "is vdi"),
        ("<disk type='file'><driver name='qemu' type='vmdk'/><source file='/i/a'/>{}</disk>", "is vmdk"),
        (f"<disk type='file'><driver type='raw'/>{SLICE}{{}}</disk>", "is a slice of its image"),
        (f"<disk type='file'><driver type='qcow2'/>{BELOW}{{}}</disk>", "lies on an image that is vmdk"),
        (
            f"<disk type='file'><driver type='qcow2'/>{OVER_LUN}{{}}</disk>",
            "is no file or device (iscsi://h/iqn.x%3At/1)",
        ),
    ],
)
def test_a_disk_of_a_kind_that_is_not_read_keeps_its_machine_out(disk: str, said: str) -> None:
    machine = read(domain(disk=disk.format("<target dev='vdb' bus='virtio'/>")))
    (told,) = [one for one in mapped(machine).concerns if one.id == "disk.unreadable"]
    assert told.severity is Severity.CRITICAL
    assert said in told.what
    assert "Disk vdb" in told.what
    assert planned(machine).entries == ()


@pytest.mark.parametrize(
    "disk",
    [
        f"<disk type='network'><driver type='raw'/>{ISCSI}<target dev='vdb' bus='virtio'/></disk>",
        "<disk type='network'><driver type='raw'/><source protocol='rbd' name='vms/root'/><target dev='vdb'/></disk>",
    ],
)
def test_disks_on_servers_that_qemu_reads_are_read(disk: str) -> None:
    assert "disk.unreadable" not in ids(read(domain(disk)))


def test_files_and_devices_are_read() -> None:
    block = DISK.replace("type='file'", "type='block'").replace("file=", "dev=").replace("vda", "vdb")
    assert "disk.unreadable" not in ids(read(domain(block)))


def test_a_volume_of_a_pool_that_nobody_asked() -> None:
    disk = "<disk type='volume'><driver name='qemu' type='qcow2'/><source pool='default' volume='root.qcow2'/>{}</disk>"
    machine = read(domain(disk=disk.format("<target dev='vda' bus='virtio'/>")))
    (told,) = [one for one in mapped(machine).concerns if one.id == "disk.pool-unasked"]
    assert told.severity is Severity.CRITICAL
    assert "volume://default/root.qcow2" in told.what
    assert "running libvirt" in told.fix


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-drive", "file=/i/b.qcow2,if=none,id=d2", "-device", "virtio-blk-pci,drive=d2"), "-drive, -device"),
        (("-netdev", "user,id=n"), "-netdev"),
        (("--blockdev", "driver=file"), "--blockdev"),
        (("-readconfig", "/etc/q.cfg"), "-readconfig"),
        (("-usbdevice", "disk:/i/u.img"), "-usbdevice"),
        (("-cpu", "host,-kvm"), ""),
    ],
)
def test_a_disk_that_only_qemu_knows_is_not_copied(arguments: tuple[str, ...], told: str) -> None:
    more = "".join(f"<q:arg value='{one}'/>" for one in arguments)
    start = "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
    machine = read(domain(start=start, more=f"<q:commandline>{more}</q:commandline>"))
    found = [one for one in mapped(machine).concerns if one.id == "device.by-arguments"]
    assert bool(found) is bool(told)
    assert all(told in one.what and one.severity is Severity.CRITICAL for one in found)


def test_what_persistent_memory_holds_is_not_copied_and_a_module_is_memory() -> None:
    size = "<target><size unit='MiB'>512</size></target>"
    for model in ("nvdimm", "virtio-pmem"):
        machine = read(domain(f"<memory model='{model}'><source><path>/i/nv.img</path></source>{size}</memory>"))
        (told,) = [one for one in mapped(machine).concerns if one.id == "memory.persistent"]
        assert told.severity is Severity.CRITICAL
        assert "/i/nv.img" in told.what
        assert "device.host-bound" not in ids(machine)
    for model in ("dimm", "virtio-mem"):
        machine = read(domain(f"<memory model='{model}'>{size}</memory>"))
        assert not {"memory.persistent", "device.host-bound"} & ids(machine)
        assert fate(machine, "devices[0:memory]").target == "domain.memory.guest"
    assert "device.host-bound" in ids(read(domain(f"<memory model='sgx-epc'>{size}</memory>")))


def test_drives_are_told_with_reasons_that_fit() -> None:
    devices = (
        "<controller type='scsi' index='0' model='virtio-scsi'/>"
        "<disk type='file' device='cdrom'><driver type='raw'/><target dev='sda' bus='scsi'/><readonly/></disk>"
        "<disk type='file' device='floppy'><driver type='raw'/><target dev='fda' bus='fdc'/><readonly/></disk>"
    )
    machine = read(domain(devices))
    controller = fate(machine, "disks[sda].controller_model")
    assert (controller.fate, controller.target) == (Fate.CARRIED, "domain.devices.disks[sda].cdrom.bus")
    assert fate(machine, "disks[fda].readonly").reason == "KubeVirt has no floppy drives"


def test_how_the_old_host_treats_an_image_says_nothing_of_the_machine() -> None:
    disk = (
        "<disk type='file' snapshot='no'><driver name='qemu' type='raw'/><source file='/i/a' startupPolicy='optional'>"
        "<seclabel model='dac' relabel='no'/></source><target dev='vdb' bus='virtio'/></disk>"
    )
    assert read(domain(disk, more="<iothreads>1</iothreads>")).unmodelled == ()


# --- network cards --------------------------------------------------------------------------------------------------

PAIR = (
    "<interface type='bridge'><mac address='52:54:00:aa:f0:01'/><source bridge='br0'/><model type='virtio'/>"
    "<teaming type='persistent'/><alias name='ua-backup0'/></interface>"
    "<interface type='hostdev'><mac address='52:54:00:aa:f0:01'/><source><address type='pci' bus='0x03'/></source>"
    "<teaming type='transient' persistent='ua-backup0'/></interface>"
)


def test_of_a_failover_pair_the_card_that_stays_is_moved(tmp_path: Path) -> None:
    (tmp_path / "pair.xml").write_text(domain(PAIR))
    (found,) = read_exported(tmp_path, "lab").machines
    assert [nic.teaming for nic in found.nics] == ["persistent", "transient"]
    machine = read(domain(PAIR))
    interfaces = mapped(machine).manifests[-1]["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    assert [(one["name"], one["macAddress"]) for one in interfaces] == [("net0", "52:54:00:aa:f0:01")]
    assert "nic.failover" in ids(machine, Severity.WARNING)
    assert "mac.duplicate" not in str(planned(machine).entries[0].concerns)
    lost = [one for one in mapped(machine).carried if one.field.startswith("nics[net1]")]
    assert {(one.fate, one.reason) for one in lost} == {
        (Fate.LOST, "KubeVirt has no failover pairs: its partner stays alone")
    }


def test_two_cards_of_one_mac_that_are_no_pair_are_told() -> None:
    cards = PAIR.replace("<teaming type='persistent'/>", "").replace(
        "<teaming type='transient' persistent='ua-backup0'/>", ""
    )
    inventory = Inventory(
        source="lab", source_kind="libvirt", observed_at="2026-01-01", machines=(read(domain(cards)),)
    )
    with pytest.raises(Exception, match="MAC address"):
        make_plan(inventory, POLICY, name="kinds", created_at="2026-01-01")


# --- folders of files -----------------------------------------------------------------------------------------------


def card(mac: str) -> str:
    return f"<interface type='bridge'><mac address='{mac}'/><source bridge='br0'/></interface>"


def folder(tmp_path: Path, **files: Any) -> Path:
    (tmp_path / "good.xml").write_text(domain(card("52:54:00:aa:00:01"), name="good"))
    for name, content in files.items():
        path = tmp_path / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def test_a_suffix_in_capitals_is_read(tmp_path: Path) -> None:
    found = read_exported(folder(tmp_path, UPPER__XML=domain(name="upper")), "lab")
    assert {one.name for one in found.machines} == {"good", "upper"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_what_a_shell_of_windows_writes_is_read(tmp_path: Path, encoding: str) -> None:
    text = "<?xml version='1.0' encoding='UTF-16'?>" if encoding == "utf-16" else ""
    content = (text + domain(name="wide")).encode(encoding)
    assert {one.name for one in read_exported(folder(tmp_path, wide__xml=content), "lab").machines} == {"good", "wide"}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("empty__xml", "", "it is empty"),
        ("net__xml", "<network><name>default</name></network>", "it is a network, no domain"),
        ("snap__xml", f"<domainsnapshot><name>s1</name>{domain()}</domainsnapshot>", "it is a snapshot of a domain"),
        ("pool__xml", "<pool type='dir'><name>default</name></pool>", "it is a storage pool"),
        ("dump__txt", domain(name="txt"), "is not read by its name"),
    ],
)
def test_a_file_of_another_kind_is_told_and_the_others_are_read(
    tmp_path: Path, file: str, content: str, said: str
) -> None:
    found = read_exported(folder(tmp_path, **{file: content}), "lab")
    assert [one.name for one in found.machines] == ["good"]
    (told,) = found.unreadable
    assert said in told.what
    assert file.replace("__", ".") in told.what


@pytest.mark.parametrize("text", ["see <domain type='kvm'> in the manual", "<domainsnapshot/>", "#!/bin/sh\n"])
def test_a_file_that_holds_no_domain_is_left_alone(tmp_path: Path, text: str) -> None:
    (one,) = read_exported(folder(tmp_path, notes__txt=text), "lab").unreadable
    assert (one.id, "notes.txt" in one.what) == ("file.passed-over", True)


def test_a_clone_with_the_same_mac_is_read_and_told(tmp_path: Path) -> None:
    clone = domain(card("52:54:00:AA:00:01"), name="clone")
    found = read_exported(folder(tmp_path, clone__xml=clone), "lab")
    assert {one.name for one in found.machines} == {"good", "clone"}
    with pytest.raises(Exception, match=r"52:54:00:aa:00:01 is also that of"):
        make_plan(found, POLICY, name="kinds", created_at="2026-01-01")


# --- every version --------------------------------------------------------------------------------------------------

EVERYTHING = (
    "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
    "<video><model type='virtio'/></video><graphics type='vnc'/><panic model='isa'/>"
    "<watchdog model='itco' action='reset'/><tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
)


SECTORS = DISK.replace("<target", "<blockio logical_block_size='4096' physical_block_size='4096'/><target")
NUMBERED = (
    "<interface type='bridge'><mac address='52:54:00:aa:f0:02'/><source bridge='br0'/><model type='virtio'/>"
    "<acpi index='7'/><address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></interface>"
)
CHASSIS = (
    "<sysinfo type='smbios'><chassis><entry name='manufacturer'>Dell</entry><entry name='asset'>A-1</entry></chassis>"
    "</sysinfo>"
)
SECURE = (
    "<type arch='x86_64' machine='q35'>hvm</type>"
    "<loader readonly='yes' secure='yes' type='pflash'>/f/OVMF_CODE.secboot.fd</loader><nvram>/n/x_VARS.fd</nvram>"
)
TRAITS = {
    "everything": domain(EVERYTHING),
    "failover pair": domain(PAIR),
    "no ACPI": domain(features="<apic/>"),
    "sectors of 4096 bytes": domain(disk=SECTORS),
    "numbered card": domain(NUMBERED),
    "chassis": domain(more=CHASSIS, os="<type arch='x86_64' machine='q35'>hvm</type><smbios mode='sysinfo'/>"),
    "32-bit PC": domain(os="<type arch='i686' machine='pc-i440fx-6.2'>hvm</type>"),
    "running": domain(start="<domain type='kvm' id='12'>"),
    "no graphics": domain("<video><model type='none'/></video><graphics type='vnc'/>"),
    "transitional": domain(disk=DISK.replace("<disk ", "<disk model='virtio-transitional' ")),
    "clock of oVirt": domain().replace(
        "<clock offset='utc'/>", "<clock offset='variable' adjustment='0' basis='utc'/>"
    ),
    "drives on SCSI": domain(
        "<controller type='scsi' index='0' model='virtio-scsi'/>"
        "<disk type='file' device='cdrom'><target dev='sdb' bus='scsi'/><readonly/></disk>"
    ),
    "secure loader": domain(os=SECURE, features="<acpi/><apic/><smm state='on'/>"),
}


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("trait", TRAITS)
def test_each_version_takes_what_is_made_for_it(trait: str, version: str) -> None:
    found = mapped(read(TRAITS[trait]), POLICY.model_copy(update={"kubevirt": version}))
    assert check_all(found.manifests, Platform(version=version)) == []
