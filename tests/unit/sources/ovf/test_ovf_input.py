"""OVFs that are wrong or hostile: refused with every problem and its line; units, formats and older spellings."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from kubeferry.model import Disk, FirmwareKind, Machine, Power
from kubeferry.sources.ovf.machines import parse_ovf
from kubeferry.sources.ovf.references import File
from kubeferry.sources.ovf.units import to_bytes
from lab import ova

GOLDEN = Path(__file__).parents[3] / "golden" / "ovf"
OVFS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob("*.ovf"))}
NEEDLE = "n33dle"
DISKS = [ova.PackedDisk("d1", "a.vmdk", 512, b""), ova.PackedDisk("d2", "b.vmdk", 512, b"")]
PLAIN = ova.descriptor("web", DISKS, {"a.vmdk": 1, "b.vmdk": 2})


def parsed(text: str) -> list[Machine]:
    def locate(file: File, shape: str | None, stream: bool) -> str:
        return f"file:{file.href}?{shape}{'-stream' if stream else ''}"

    return parse_ovf(text, source="lab", where="web.ovf", name="web.ova", locate=locate)


def one(text: str) -> Machine:
    (machine,) = parsed(text)
    return machine


def problems(text: str) -> list[str]:
    with pytest.raises(InputInvalid) as refused:
        parsed(text)
    assert all(problem.where.startswith("web.ovf") and problem.fix for problem in refused.value.problems)
    return [problem.what for problem in refused.value.problems]


def test_what_the_envelope_says_of_all_is_told_however_much_a_machine_says() -> None:
    many = "".join(f"<odd{number}>x</odd{number}>" for number in range(300))
    text = PLAIN.replace("</VirtualSystem>", f"{many}</VirtualSystem><StartupSection><Item/></StartupSection>")
    paths = [fact.path for fact in one(text).unmodelled]
    assert "StartupSection/Item" in paths
    assert "VirtualSystem" not in paths


def test_what_the_root_says_of_itself_is_told_by_its_name() -> None:
    facts = one(PLAIN.replace("<Envelope", '<Envelope odd="1"', 1)).unmodelled
    assert [fact.value for fact in facts if fact.path == "Envelope"] == ["odd=1 vmw:buildId=build-1"]


def test_a_label_without_end_is_not_repeated_for_all_that_is_below_it() -> None:
    wide = f'<File id="{"x" * 1_000_000}" href="a">{"<a/>" * 3000}</File></References>'
    begun = time.process_time()
    found = one(PLAIN.replace("</References>", wide, 1))
    assert time.process_time() - begun < 5
    assert max(len(fact.path) for fact in found.unmodelled) <= 200


# --- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "unit", "expected"),
    [
        ("0", "byte", 0),
        ("512", "bytes", 512),
        ("2", "byte * 2^30", 2 << 30),
        ("2", "byte*2^30", 2 << 30),
        ("3", "byte * 1024", 3072),
        ("3", "byte * 2^10 * 2^10", 3 << 20),
        ("3", "byte * 10^6", 3_000_000),
        ("7", "MegaBytes", 7 << 20),
        ("7", "GigaBytes", 7 << 30),
        ("7", "KB", 7 << 10),
        ("7", "GiB", 7 << 30),
        (" 7 ", " MB ", 7 << 20),
        ("62", "byte * 2^40", 62 << 40),
    ],
)
def test_amounts(amount: str, unit: str, expected: int) -> None:
    assert to_bytes(amount, unit) == expected


@pytest.mark.parametrize(
    ("amount", "unit"),
    [
        ("", "byte"),
        ("-1", "byte"),
        ("1.5", "byte"),
        ("${size}", "byte"),
        ("1e3", "byte"),
        ("1" * 30, "byte"),
        ("1", ""),
        ("1", "hertz * 10^6"),
        ("1", "byte * 2^"),
        ("1", "byte * 2^999"),
        ("1", "byte * 9999999999^99"),
        ("1", "byte * 2^40 * 2^40"),
        ("\u0663", "byte"),
    ],
)
def test_what_is_no_amount(amount: str, unit: str) -> None:
    assert to_bytes(amount, unit) is None


# --- the text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not well-formed"),
        ("<Envelope>", "not well-formed"),
        ("<domain/>", "not an OVF's envelope"),
        ("<Envelope/>", "0 virtual systems"),
        ("<Envelope>" + "<VirtualSystem/>" * 1001 + "</Envelope>", "1001 virtual systems"),
        ('<!DOCTYPE a [<!ENTITY e "x">]><Envelope>&e;</Envelope>', "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><Envelope/>', "document type"),
        ('<!DOCTYPE a [<!ENTITY % p SYSTEM "http://example.com/x">%p;]><Envelope/>', "document type"),
        ("<Envelope>" + "<a>" * 400 + "</a>" * 400 + "</Envelope>", "deep"),
        ("<Envelope>" + "<a/>" * 60_000 + "</Envelope>", "elements"),
        ("<Envelope>" + " " * (5 << 20) + "</Envelope>", "characters"),
        ("<Envelope>&nbsp;</Envelope>", "not well-formed"),
    ],
    ids=["empty", "open", "domain", "no system", "systems", "entity", "external", "parameter", "deep", "many", "long",
         "undefined"],
)  # fmt: skip
def test_text_that_cannot_be_trusted_is_refused(text: str, what: str) -> None:
    (found,) = problems(text)
    assert what in found


WRONG = {
    "a disk that is not there": (("ovf:/disk/d1", "ovf:/disk/d9"), "'ovf:/disk/d9' is no disk"),
    "a disk twice": (("ovf:/disk/d2", "ovf:/disk/d1"), "'d1' is there twice in one machine"),
    "two disks of one id": (('ovf:diskId="d2"', 'ovf:diskId="d1"'), "'d1' is there twice"),
    "a file that is not there": (('ovf:fileRef="file-d1"', 'ovf:fileRef="no"'), "'no' is no file"),
    "two files of one id": (('ovf:id="file-d2"', 'ovf:id="file-d1"'), "'file-d1' is there twice"),
    "a parent": (('ovf:diskId="d1"', 'ovf:parentRef="d0" ovf:diskId="d1"'), "differs from another one"),
    "a capacity": (("ovf:capacity='512'", "ovf:capacity='${size}'"), "is no amount of bytes"),
    "a compression": (("ovf:size='1'", "ovf:size='1' ovf:compression='bzip2'"), "'bzip2' is not read"),
    "chunks of nothing": (("ovf:size='1'", "ovf:size='1' ovf:chunkSize='0'"), "chunks of 0 bytes"),
    "many chunks": (("ovf:size='1'", "ovf:size='5000' ovf:chunkSize='1'"), "chunks of 1 bytes, of 5000"),
    "chunks of an unknown size": (("ovf:size='1'", "ovf:chunkSize='7'"), "chunks of 7 bytes, of None"),
    "a size that is none": (("ovf:size='1'", "ovf:size='many'"), "'many' is not a whole number"),
    "no processors": (("<rasd:ResourceType>3<", "<rasd:ResourceType>1<"), "how much processors"),
    "zero processors": (("<rasd:VirtualQuantity>1<", "<rasd:VirtualQuantity>0<"), "at least one processor"),
    "no memory": (("<rasd:ResourceType>4<", "<rasd:ResourceType>1<"), "how much memory"),
    "memory without a unit": (("<rasd:AllocationUnits>byte * 2^20<", "<rasd:AllocationUnits><"), "no amount of memory"),
    "memory in hertz": (("byte * 2^20<", "hertz<"), "no amount of memory"),
    "an instance twice": (("<rasd:InstanceID>2<", "<rasd:InstanceID>1<"), "two items have the instance '1'"),
    "processors twice": (("<rasd:ResourceType>20<", "<rasd:ResourceType>3<"), "are told twice"),
    "a disk without a name": (("<rasd:HostResource>ovf:/disk/d1</rasd:HostResource>", ""), "without a HostResource"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_line(case: str) -> None:
    (old, new), what = WRONG[case]
    assert old in PLAIN
    assert any(what in problem for problem in problems(PLAIN.replace(old, new)))


def test_all_problems_are_told_at_once() -> None:
    text = PLAIN.replace("ovf:capacity='512'", "ovf:capacity='x'").replace("byte * 2^20<", "hertz<")
    assert len(problems(text)) == 3


# --- what products say -----------------------------------------------------------------------------------------------


def golden(name: str) -> Machine:
    return one(OVFS[name])


def test_every_machine_is_off_and_has_no_snapshots() -> None:
    for text in OVFS.values():
        for machine in parsed(text):
            assert (machine.power, machine.snapshots) == (Power.OFF, 0)
            assert machine.id.startswith("web.ova#")


def test_a_collection_has_all_its_systems() -> None:
    assert [machine.name for machine in parsed(OVFS["11-collection-start-order"])] == ["front", "back"]


def test_two_systems_of_one_id_are_refused() -> None:
    assert "two virtual systems are called 'back'" in problems(
        OVFS["11-collection-start-order"].replace('<VirtualSystem ovf:id="front">', '<VirtualSystem ovf:id="back">')
    )


def test_secure_boot_and_firmware_in_the_words_of_each_product() -> None:
    said = {name: (one.firmware.kind, one.firmware.secure_boot) for name, text in OVFS.items() for one in parsed(text)}
    assert said["02-vmware-windows-2022-uefi-secure-boot"] == (FirmwareKind.UEFI, True)
    assert said["15-nvme-and-boot-order"] == (FirmwareKind.UEFI, False)
    assert said["01-vmware-linux-bios"] == (FirmwareKind.BIOS, None)
    assert said["03-virtualbox-ubuntu"] == (FirmwareKind.UEFI, None)
    assert said["09-ovirt-qcow2"] == (FirmwareKind.UEFI, True)
    assert said["10-hyperv-vhd"] == (FirmwareKind.UEFI, None)
    assert said["14-qemu-raw-no-manifest"] == (FirmwareKind.UNKNOWN, None)
    assert one(OVFS["10-hyperv-vhd"].replace("SubType:2", "SubType:1")).firmware.kind is FirmwareKind.BIOS
    assert one(OVFS["03-virtualbox-ubuntu"].replace('<Firmware type="EFI"/>', "")).firmware.kind is FirmwareKind.BIOS


def test_the_default_deployment_option_counts() -> None:
    large = golden("12-deployment-options-and-properties")
    assert (large.cpu.vcpus, large.memory.size_bytes) == (8, 32 << 30)
    small = one(OVFS["12-deployment-options-and-properties"].replace(' ovf:default="true"', ""))
    assert (small.cpu.vcpus, small.memory.size_bytes) == (2, 2 << 30)


def test_passwords_of_properties_are_not_shown() -> None:
    for key in ("admin_password", "setting"):
        told = one(OVFS["12-deployment-options-and-properties"].replace("admin_password", key)).model_dump_json()
        assert "hunter2" not in told


@pytest.mark.parametrize(
    ("vcpus", "each", "expected"), [(8, 4, (2, 4)), (1, 1, (1, 1)), (6, 4, (None, None)), (4, 0, (None, None))]
)
def test_sockets_are_told_where_they_are_full(vcpus: int, each: int, expected: tuple[int, int]) -> None:
    text = PLAIN.replace(
        "<rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>",
        f"<rasd:VirtualQuantity>{vcpus}</rasd:VirtualQuantity><vmw:CoresPerSocket>{each}</vmw:CoresPerSocket></Item>",
    )
    cpu = one(text).cpu
    assert (cpu.vcpus, (cpu.sockets, cpu.cores)) == (vcpus, expected)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (ova.STREAM, ("vmdk", "file:a.vmdk?vmdk-stream")),
        ("http://www.vmware.com/interfaces/specifications/vmdk.html#sparse", ("vmdk", "file:a.vmdk?vmdk")),
        ("http://www.vmware.com/specifications/vmdk.html#compressed", ("vmdk", "file:a.vmdk?vmdk-stream")),
        ("http://www.gnome.org/~markmc/qcow-image-format.html", ("qcow2", "file:a.vmdk?qcow2")),
        ("raw", ("raw", "file:a.vmdk?raw")),
        ("http://example.com/unheard-of", (None, "file:a.vmdk?None")),
        ("", (None, "file:a.vmdk?None")),
    ],
)
def test_formats_are_what_the_ovf_says_and_never_guessed(told: str, expected: tuple[str | None, str]) -> None:
    disk: Disk = one(PLAIN.replace(ova.STREAM, told)).disks[0]
    assert (disk.format, disk.uri) == expected


# --- nothing is lost -------------------------------------------------------------------------------------------------

# Headings and labels; what stands for the same thing a second time; and options that were not chosen.
LEFT_OUT = {
    "Info", "Caption", "ElementName", "Description", "Network", "InstanceID", "InstanceId", "License", "Address",
    "BusNumber", "AutomaticAllocation", "Type", "Device",
}  # fmt: skip


def places(root: ET.Element) -> list[ET.Element]:
    """All elements that something may be added to."""
    found = []
    for child in root:
        name = child.tag.rpartition("}")[2]
        other = any(key.endswith(("configuration", "bound")) for key in child.attrib)
        if name not in LEFT_OUT and not other:
            found += [child, *places(child)]
    return found


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(OVFS)), st.sampled_from(["attribute", "element", "deep"]), st.data())
def test_whatever_is_added_is_told(
    name: str, kind: Literal["attribute", "element", "deep"], data: st.DataObject
) -> None:
    root = ET.fromstring(OVFS[name].encode())  # noqa: S314 (ours)
    place = data.draw(st.sampled_from([root, *places(root)]), label="place")
    if kind == "attribute":
        place.set("unheardOf", NEEDLE)
    elif kind == "deep":
        ET.SubElement(ET.SubElement(place, "unheard"), "of", state=NEEDLE)
    else:
        ET.SubElement(place, NEEDLE)
    told = "".join(machine.model_dump_json() for machine in parsed(ET.tostring(root, encoding="unicode")))
    assert NEEDLE in told or "it may be a secret" in told, place.tag


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(OVFS)), st.data())
def test_an_ovf_that_lacks_something_is_read_or_refused_with_a_line(name: str, data: st.DataObject) -> None:
    root = ET.fromstring(OVFS[name].encode())  # noqa: S314 (ours)
    parent = data.draw(st.sampled_from([one for one in root.iter() if len(one)]), label="parent")
    parent.remove(data.draw(st.sampled_from(list(parent)), label="removed"))
    read_or_refused(root)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(OVFS)), st.sampled_from(["", "-1", "0", "x", "9" * 30, "\u0663", "1e9", " 7 "]), st.data()
)
def test_a_value_that_is_none_is_refused_or_told_and_never_breaks(name: str, value: str, data: st.DataObject) -> None:
    root = ET.fromstring(OVFS[name].encode())  # noqa: S314 (ours)
    place = data.draw(st.sampled_from(list(root.iter())), label="place")
    if place.attrib and data.draw(st.booleans(), label="an attribute"):
        place.set(data.draw(st.sampled_from(sorted(place.attrib))), value)
    elif not len(place):
        place.text = value
    read_or_refused(root)


def read_or_refused(root: ET.Element) -> None:
    try:
        machines = parsed(ET.tostring(root, encoding="unicode"))
    except InputInvalid as error:
        assert error.problems  # noqa: PT017 (either is right)
        assert all(problem.where.startswith("web.ovf:") and problem.fix for problem in error.problems)  # noqa: PT017
        return
    for machine in machines:
        assert Machine.model_validate_json(machine.model_dump_json()) == machine


def test_an_export_of_ovirt_that_holds_no_machine_is_told_as_such() -> None:
    """Its namespace ends in a slash, and is read."""
    text = '<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1/"><References/></ovf:Envelope>'
    with pytest.raises(InputInvalid) as refused:
        parsed(text)
    (problem,) = refused.value.problems
    assert "0 virtual systems" in problem.what
