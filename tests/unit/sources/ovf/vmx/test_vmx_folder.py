"""A VMX with what lies beside it, as people copy it out of a datastore: read, assessed, and copied block by block."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converters.engine.disks import copy_disk
from kubeferry.documents import SourceConfig, save
from kubeferry.errors import SourceRefused
from kubeferry.model import DiskDevice, DiskRef, Machine, Power, Severity
from kubeferry.outside import process
from kubeferry.sources import Source, open_source
from kubeferry.sources.exported import read_exported, read_files
from kubeferry.sources.ovf.vmx.files import read_machines
from lab import vmx
from tests.needs import here
from tests.unit.sources.ovf.assessing import concerns_of

MIB = 1 << 20
CONTENT = os.urandom(MIB) + bytes(MIB) + os.urandom(512)
DISK = "sata0:0"


def machine_of(path: Path) -> Machine:
    (machine,) = read_machines(path, "exports")
    return machine


def source_at(path: Path) -> Source:
    return open_source("exports", SourceConfig(kind="ova", uri=path.as_uri()))


def refused(path: Path) -> str:
    """Why the source does not read its disks."""
    source = source_at(path)
    (machine,) = source.discover().machines
    concerns = source.concerns(machine)
    assert {(one.id, one.severity) for one in concerns} == {("source.refused", Severity.CRITICAL)}
    with pytest.raises(SourceRefused):
        source.open_round(machine, since=None, final=True, remote=False, ledger=lambda _thing: None)
    return " ".join(f"{one.what} {one.fix}" for one in concerns)


def copied(path: Path, folder: Path, disk: str = DISK) -> bytes:
    source = source_at(path)
    (machine,) = source.discover().machines
    assert source.concerns(machine) == []
    opened = source.open_round(machine, since=None, final=True, remote=False, ledger=lambda _thing: None)
    target = folder / "target.raw"
    target.write_bytes(bytes(len(CONTENT)))
    copy_disk(opened.refs[disk], DiskRef(uri=target.as_uri()), folder / "copy.kff")
    return target.read_bytes()


def image(folder: Path, name: str, *options: str) -> Path:
    """A VMDK that qemu-img wrote beside the VMX, in another form than ESXi's."""
    here("qemu-img")
    (folder / "in.raw").write_bytes(CONTENT)
    made = folder / name
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", *options, str(folder / "in.raw"), str(made)])
    (folder / "in.raw").unlink()
    return made


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["app", "Büro 1", "a#1?x%20y"])
def test_a_flat_disk_is_copied_from_where_its_descriptor_says(name: str, tmp_path: Path) -> None:
    path = vmx.machine(tmp_path / "app", name, {name: CONTENT})
    assert machine_of(path).disks[0].capacity_bytes == len(CONTENT)
    assert not {"ova.header", "vmx.delta", "disk.size-unknown"} & concerns_of(machine_of(path)).keys()
    assert copied(path, tmp_path) == CONTENT
    save(source_at(tmp_path).discover(), tmp_path / "inventory.yaml")


@pytest.mark.parametrize("codec", ["windows-1252", "UTF-8"])
def test_names_in_a_descriptor_are_read_in_its_own_encoding(codec: str, tmp_path: Path) -> None:
    path = vmx.machine(tmp_path / "app", "app", {"Büro à": CONTENT})
    text = vmx.descriptor(len(CONTENT), "Büro à-flat.vmdk", encoding=codec)
    (path.parent / "Büro à.vmdk").write_bytes(text.encode(codec))
    assert copied(path, tmp_path) == CONTENT


@pytest.mark.parametrize("form", ["monolithicSparse", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "monolithicFlat"])
def test_disks_of_workstation_are_copied_in_all_their_forms(form: str, tmp_path: Path) -> None:
    path = vmx.machine(tmp_path / "app", "app", {"app": CONTENT})
    for old in path.parent.glob("*.vmdk"):
        old.unlink()
    image(path.parent, "app.vmdk", "-o", f"subformat={form}")
    assert copied(path, tmp_path) == CONTENT


def test_machines_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        vmx.machine(tmp_path / name, "app", {"app": CONTENT}, ethernet0__generatedAddress=f"00:0c:29:00:00:0{number}")
    source = source_at(tmp_path)
    found = source.discover()
    assert [one.id for one in found.machines] == ["one/app.vmx#app", "two/app.vmx#app"]
    assert len({one.name for one in found.machines}) == 2
    assert all(source.power(one) is Power.OFF for one in found.machines)


@pytest.mark.parametrize(
    ("told", "serial"),
    [("60 00 C2 9f 1a 2b 3c 4d-5e 6f 70 81 92 a3 b4 c5", "6000c29f1a2b3c4d5e6f708192a3b4c5"), ("not one", None)],
)
def test_a_guest_keeps_the_serial_of_its_disk_where_it_saw_one(told: str, serial: str | None, tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT}, disk__EnableUUID="TRUE")
    (tmp_path / "app.vmdk").write_text(vmx.descriptor(len(CONTENT), "app-flat.vmdk", **{"ddb.uuid": told}))
    assert machine_of(path).disks[0].serial == serial
    path.write_text(path.read_text().replace("disk.EnableUUID", "disk.other"))
    assert machine_of(path).disks[0].serial is None


def test_a_template_is_read_and_called_one(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "gold", {"gold": CONTENT}).rename(tmp_path / "gold.vmtx")
    assert copied(path, tmp_path) == CONTENT
    assert "machine.template" in concerns_of(machine_of(path))


def test_the_number_of_snapshots_is_that_of_the_list_beside_it(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    assert machine_of(path).snapshots is None
    (tmp_path / "app.vmsd").write_text('.encoding = "UTF-8"\nsnapshot.numSnapshots = "2"\nsnapshot0.uid = "1"\n')
    assert machine_of(path).snapshots == 2


# --- what is refused, by name ----------------------------------------------------------------------------------------


def deltas(folder: Path, depth: int = 1) -> Path:
    """A machine on a chain of snapshots that qemu-img made."""
    path = vmx.machine(folder, "app", {"app": CONTENT})
    for old in folder.glob("*.vmdk"):
        old.unlink()
    image(folder, "app.vmdk")
    below = "app.vmdk"
    for number in range(1, depth + 1):
        name = f"app-{number:06}.vmdk"
        command = ["qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", below, name]
        process.run(["env", "-C", str(folder), *command])
        below = name
    path.write_text(path.read_text().replace('"app.vmdk"', f'"{below}"'))
    return path


def test_a_disk_on_snapshots_is_refused_by_name_and_its_fix_gives_the_whole_disk(tmp_path: Path) -> None:
    path = deltas(tmp_path / "app", 2)
    machine = machine_of(path)
    assert [link.uri for link in machine.disks[0].chain or ()] == ["file:app-000001.vmdk", "file:app.vmdk"]
    assert machine.disks[0].capacity_bytes == len(CONTENT)
    told = concerns_of(machine)["vmx.delta"]
    assert told.severity is Severity.CRITICAL
    assert "app-000002.vmdk" in told.what
    assert "app-000001.vmdk, app.vmdk" in told.what
    assert "ova.header" not in concerns_of(machine)
    assert "app-000001.vmdk, app.vmdk" in refused(path)
    before = {one: one.read_bytes() for one in path.parent.glob("*.vmdk")}
    command = told.fix.partition("`")[2].partition("`")[0].replace("TOP", "app-000002").replace("WHOLE", "whole")
    process.run(["env", "-C", str(path.parent), *command.split()])
    assert {one: one.read_bytes() for one in before} == before
    path.write_text(path.read_text().replace("app-000002.vmdk", "whole.vmdk"))
    assert copied(path, tmp_path) == CONTENT


@pytest.mark.parametrize(("kind", "extent"), [("vmfsSparse", "VMFSSPARSE"), ("seSparse", "SESPARSE")])
def test_the_deltas_of_esxi_are_known_by_their_descriptors(kind: str, extent: str, tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    text = vmx.descriptor(
        len(CONTENT), "app-000001-delta.vmdk", extent,
        createType=kind, parentCID="fffffffe", parentFileNameHint="/vmfs/volumes/ds1/app/app.vmdk",
    )  # fmt: skip
    (tmp_path / "app-000001.vmdk").write_text(text)
    path.write_text(path.read_text().replace('"app.vmdk"', '"app-000001.vmdk"'))
    machine = machine_of(path)
    assert [link.uri for link in machine.disks[0].chain or ()] == ["file:app.vmdk"]
    assert machine.disks[0].capacity_bytes == len(CONTENT)
    assert "vmx.delta" in concerns_of(machine)


def test_a_chain_that_leads_in_a_circle_has_an_end(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    (tmp_path / "app.vmdk").write_text(vmx.descriptor(512, "x.vmdk", "SPARSE", parentFileNameHint="app.vmdk"))
    assert "vmx.delta" in concerns_of(machine_of(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.vmdk", "'gone.vmdk' is not beside the VMX"),
        ("/vmfs/volumes/ds2/app/app.vmdk", "outside the folder"),
        ("../other/app.vmdk", "outside the folder"),
        ("D:|5Cvms|5Capp.vmdk", "outside the folder"),
    ],
)
def test_nothing_is_taken_for_a_disk_that_lies_elsewhere(name: str, said: str, tmp_path: Path) -> None:
    """Disks of one machine on two datastores have one name: the file here is another one."""
    vmx.machine(tmp_path / "other", "other", {"app": b"other".ljust(512)}).unlink()
    path = vmx.machine(tmp_path / "app", "app", {"app": CONTENT})
    path.write_text(path.read_text().replace('"app.vmdk"', f'"{name}"'))
    machine = machine_of(path)
    assert machine.disks[0].capacity_bytes is None
    told = concerns_of(machine)
    assert said in told["ova.header"].what
    assert not {"disk.unreadable", "vmx.delta"} & told.keys()
    assert said in refused(path)


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path / "app", "app", {"app": CONTENT})
    (path.parent / "app.vmdk").rename(tmp_path / "app.vmdk")
    (path.parent / "app.vmdk").symlink_to(tmp_path / "app.vmdk")
    assert "is not beside the VMX" in refused(path)


@pytest.mark.parametrize(("size", "said"), [(len(CONTENT) - 512, "is cut off"), (0, "is cut off")])
def test_a_flat_file_that_is_cut_off_is_known_before_it_is_copied(size: int, said: str, tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    os.truncate(tmp_path / "app-flat.vmdk", size)
    assert said in concerns_of(machine_of(path))["ova.header"].what
    assert said in refused(path)


def test_a_split_disk_that_lacks_the_end_of_one_part_is_known_before_it_is_copied(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    for old in tmp_path.glob("*.vmdk"):
        old.unlink()
    image(tmp_path, "app.vmdk", "-o", "subformat=twoGbMaxExtentSparse")
    part = tmp_path / "app-s001.vmdk"
    os.truncate(part, part.stat().st_size // 2 // 512 * 512)
    assert "is cut off" in concerns_of(machine_of(path))["ova.header"].what


def test_the_flat_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    (tmp_path / "app-flat.vmdk").unlink()
    assert "'app-flat.vmdk', which is not beside it" in refused(path)


def test_a_mapped_lun_is_one_and_is_not_read(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    text = vmx.descriptor(len(CONTENT), "app-rdm.vmdk", "VMFSRDM", createType="vmfsRawDeviceMap")
    (tmp_path / "app.vmdk").write_text(text)
    assert machine_of(path).disks[0].device is DiskDevice.LUN
    assert "VMFSRDM" in refused(path)


def test_a_suspended_machine_is_refused_whatever_the_policy_accepts(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT}, checkpoint__vmState="app-1a2b.vmss")
    assert concerns_of(machine_of(path))["vmx.suspended"].severity is Severity.CRITICAL
    assert "it is suspended" in refused(path)


@pytest.mark.parametrize(
    "name", ["app.vmx.lck", "app.vmdk.lck", ".lck-5a0000000000", "564d1f2c.vmem", "app-5b2c.vswp", "app-1a2b.vmss"]
)
def test_what_lies_beside_a_running_machine_is_told(name: str, tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    assert "vmx.in-use" not in concerns_of(machine_of(path))
    (tmp_path / name).mkdir() if name.endswith("x.lck") else (tmp_path / name).write_bytes(b"x")
    told = concerns_of(machine_of(path))["vmx.in-use"]
    assert name in told.what
    assert "accept" in told.fix


def test_a_machine_that_was_started_after_its_plan_is_refused(tmp_path: Path) -> None:
    """A datastore that is mounted here is no copy: somebody may start the machine there."""
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    planned = machine_of(path).model_copy(update={"source": "exports"})
    source = source_at(path)
    assert source.concerns(planned) == []
    (tmp_path / ".lck-5a0000000000").write_bytes(b"")
    (concern,) = source.concerns(planned)
    assert ".lck-5a0000000000" in concern.what
    with pytest.raises(SourceRefused, match="say that it runs"):
        source.open_round(planned, since=None, final=True, remote=False, ledger=lambda _thing: None)
    assert source.concerns(machine_of(path)) == [], "what was there at the inventory is for the policy"


def test_the_memory_of_a_snapshot_and_the_locks_of_another_machine_are_none_of_its_own(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    vmx.machine(tmp_path, "app2", {"app2": CONTENT})
    for name in ("app-Snapshot1.vmem", "app2.vmx.lck", "vmx-app2-77.vswp"):
        (tmp_path / name).write_bytes(b"x")
    assert "vmx.in-use" not in concerns_of(machine_of(path))
    assert "vmx.in-use" in concerns_of(machine_of(tmp_path / "app2.vmx"))


# --- for an assessment -----------------------------------------------------------------------------------------------


def test_everything_beside_a_vmx_is_accounted_for_and_no_stranger(tmp_path: Path) -> None:
    vmx.machine(tmp_path / "app", "app", {"app": CONTENT})
    for name in (
        "app.nvram", "app.vmsd", "app.vmxf", "app-1a2b.vswp", "vmware.log", "vmware-12.log", "app.vmx~", "app-aux.xml",
        "app-Snapshot1.vmsn", "app-Snapshot1.vmem", "app-000001-ctk.vmdk", "app-1a.hlog", ".lck-01", "vmx-app-1.vswp",
    ):  # fmt: skip
        (tmp_path / "app" / name).write_bytes(b"<?xml version='1.0'?><a/>")
    (tmp_path / "app" / "app.vmx.lck").mkdir()
    (tmp_path / "app" / "app.vmx.lck" / "M12345.lck").write_bytes(b"")
    reading, kinds = read_files(tmp_path, "lab")
    assert [machine.name for _, machine in reading.machines] == ["app"]
    assert kinds == {"vmx-export"}
    assert {one.severity for one in reading.told} == {Severity.INFO}
    assert "no kind that holds machines" not in " ".join(one.what for one in reading.told)


def test_a_domain_may_be_called_like_what_esxi_writes(tmp_path: Path) -> None:
    xml = "<domain type='kvm'><name>a</name><memory>1024</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>"
    (tmp_path / "db-aux.xml").write_text(xml)
    assert [one.name for one in read_exported(tmp_path, "lab").machines] == ["a"]


def test_a_vmx_alone_is_assessed_with_disks_of_unknown_size(tmp_path: Path) -> None:
    path = vmx.machine(tmp_path, "app", {"app": CONTENT})
    for old in tmp_path.glob("*.vmdk"):
        old.unlink()
    found = read_exported(tmp_path, "lab")
    assert found.source_kind == "vmx-export"
    told = concerns_of(found.machines[0])
    assert "disk.size-unknown" in told
    assert not {"ova.header", "disk.unreadable", "vmx.in-use"} & told.keys()
    assert path.exists()


def test_a_vmx_that_cannot_be_read_costs_no_other_one(tmp_path: Path) -> None:
    vmx.machine(tmp_path, "app", {"app": CONTENT})
    (tmp_path / "broken.vmx").write_text('displayName = "x"\n')
    found = source_at(tmp_path).discover()
    assert [one.name for one in found.machines] == ["app"]
    assert "memsize" in found.unreadable[0].what
