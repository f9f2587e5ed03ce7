"""What the standard and products allow in an OVF: namespaces, identities, units, lists, empty disks, usual values."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.errors import InputInvalid
from kubeferry.model import DiskBus, FirmwareKind, Machine, Tpm
from kubeferry.sources.ovf.machines import parse_ovf
from kubeferry.sources.ovf.references import File
from kubeferry.sources.ovf.units import to_bytes
from lab import ova
from tests.unit.sources.ovf.assessing import concerns_of

SLASHED = "http://schemas.dmtf.org/ovf/envelope/1/"
UUID = "5f6a0c1e-75a2-4f0e-8a6e-5d3d3f1f9a10"
PLAIN = ova.descriptor(
    "web",
    [ova.PackedDisk("d1", "a.vmdk", 512, b""), ova.PackedDisk("d2", "b.vmdk", 512, b"")],
    {"a.vmdk": 1, "b.vmdk": 2},
)
GOLDEN = Path(__file__).parents[3] / "golden" / "ovf"
DISK_2 = ' ovf:fileRef="file-d2"'


def one(text: str) -> Machine:
    def locate(file: File, shape: str | None, stream: bool) -> str:
        return f"file:{file.href}?{shape}{'-stream' if stream else ''}"

    (machine,) = parse_ovf(text, source="lab", where="web.ovf", name="web.ova", locate=locate)
    return machine


def replaced(*pairs: tuple[str, str]) -> str:
    text = PLAIN
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def hardware(*settings: str) -> str:
    """The machine with more in its hardware list."""
    return replaced(("</VirtualHardwareSection>", f"{''.join(settings)}</VirtualHardwareSection>"))


def config(key: str, value: str) -> str:
    return f"<vmw:Config ovf:required='false' vmw:key='{key}' vmw:value='{value}'/>"


def item(instance: int, kind: int, **values: object) -> str:
    told = {"InstanceID": instance, "ResourceType": kind, **values}
    return f"<Item>{''.join(f'<rasd:{key}>{value}</rasd:{key}>' for key, value in told.items())}</Item>"


def concerns(machine: Machine) -> dict[str, str]:
    return {name: one.what for name, one in concerns_of(machine).items()}


# --- namespaces and identities ---------------------------------------------------------------------------------------


def test_a_namespace_with_a_slash_at_its_end_is_ovf() -> None:
    assert one(replaced(("http://schemas.dmtf.org/ovf/envelope/1", SLASHED))) == one(PLAIN)


EARLY = (GOLDEN / "19-ovirt-early-form.ovf").read_text(encoding="utf-8")


def test_ovirts_early_form_is_read_with_all_that_an_assessment_needs() -> None:
    found = one(EARLY)
    assert (found.name, found.uuid, found.arch, found.description) == ("app", UUID, "x86_64", "an app")
    assert (found.firmware.kind, found.firmware.secure_boot) == (FirmwareKind.UEFI, False)
    assert (found.cpu.vcpus, found.cpu.sockets, found.cpu.cores, found.cpu.max_vcpus) == (4, 2, 2, 32)
    assert (found.memory.size_bytes, found.memory.max_bytes) == (8 << 30, 16 << 30)
    assert (found.clock.offset, found.guest.os_name, found.snapshots) == ("utc", "rhel_8x64", 0)
    (nic,) = found.nics
    assert (nic.network, nic.model, nic.mac, nic.boot_order) == ("ovirtmgmt", "virtio", "56:6f:00:00:00:01", None)
    first, second = found.disks
    assert (first.id, first.format, first.bus, first.controller_model) == ("i1", "raw", DiskBus.SCSI, "virtio-scsi")
    assert (first.capacity_bytes, first.allocated_bytes, first.chain) == (10 << 30, 3 << 30, ())
    assert (second.format, second.bus, second.shareable, second.boot_order) == ("qcow2", DiskBus.VIRTIO, True, 1)
    assert (second.capacity_bytes, second.uri) == (20 << 30, "file:g2/i2?qcow2")
    assert second.chain is None  # a snapshot's image below it is not told


def test_ovirts_list_of_snapshots_names_the_machine_as_it_is_too() -> None:
    snapshot = '<Snapshot ovf:id="s1"><Type>REGULAR</Type></Snapshot>'
    assert one(EARLY.replace("<Snapshot ", f"{snapshot}<Snapshot ", 1)).snapshots == 1


def test_a_boot_order_of_an_item_counts_more_than_the_mark_of_a_disk() -> None:
    first, second = one(
        EARLY.replace("<IsPlugged>true</IsPlugged></Item>\n<Item>", "<BootOrder>1</BootOrder></Item>\n<Item>", 1)
    ).disks
    assert (first.boot_order, second.boot_order) == (1, None)
    card = one(EARLY.replace("<BootOrder>0<", "<BootOrder>1<"))
    assert [disk.boot_order for disk in card.disks] == [None, None]
    assert card.nics[0].boot_order == 1


@pytest.mark.parametrize(
    ("system", "guest", "expected"),
    [(UUID, "80", UUID), (UUID.upper(), UUID[:-1] + "1", UUID.upper()), ("app", UUID, UUID), ("app", "80", None)],
)
def test_an_ovirt_machines_uuid_is_the_id_of_its_system_and_no_number_of_the_standard(
    system: str, guest: str, expected: str | None
) -> None:
    text = replaced(
        (">vmx-19<", ">ENGINE 4.5.0.0<"), ('ovf:id="web"', f'ovf:id="{system}"'), ("ovf:id='101'", f"ovf:id='{guest}'")
    )
    assert one(text).uuid == expected


@pytest.mark.parametrize(
    ("zone", "offset", "named"),
    [
        ("Etc/GMT", "utc", None),
        ("Europe/Berlin", "timezone", "Europe/Berlin"),
        ("W. Europe Standard Time", "unknown", None),
    ],
)
def test_a_time_zone_of_ovirts(zone: str, offset: str, named: str | None) -> None:
    clock = one(EARLY.replace(">Etc/GMT<", f">{zone}<")).clock
    assert (clock.offset, clock.timezone) == (offset, named)


# --- hardware --------------------------------------------------------------------------------------------------------


def test_disks_come_in_the_order_of_controllers_and_places() -> None:
    place = "<rasd:AddressOnParent>{}</rasd:AddressOnParent>"
    backwards = replaced(
        (place.format(0), place.format("x")), (place.format(1), place.format(0)), (place.format("x"), place.format(1))
    )
    assert [disk.id for disk in one(PLAIN).disks] == ["d1", "d2"]
    assert [disk.id for disk in one(backwards).disks] == ["d2", "d1"]


def two_controllers(kinds: tuple[tuple[int, str, int], tuple[int, str, int]]) -> str:
    """The first disk on the first controller of the list, the second on the second."""
    (first, model, number), (second, other, number_2) = kinds
    more = item(3, first, ResourceSubType=model, Address=number) + item(
        4, second, ResourceSubType=other, Address=number_2
    )
    begin = PLAIN.index("<Item><rasd:ElementName>item 3<")
    text = PLAIN[:begin] + more + PLAIN[PLAIN.index("</Item>", begin) + len("</Item>") :]
    head, _, tail = text.partition("ovf:/disk/d2")
    return head + "ovf:/disk/d2" + tail.replace("<rasd:Parent>3<", "<rasd:Parent>4<")


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (((6, "VirtualSCSI", 0), (6, "lsilogic", 1)), ["d1", "d2"]),
        (((6, "VirtualSCSI", 1), (6, "lsilogic", 0)), ["d2", "d1"]),
        (((20, "vmware.sata.ahci", 0), (20, "vmware.nvme.controller", 0)), ["d1", "d2"]),
        (((20, "vmware.sata.ahci", 1), (20, "vmware.nvme.controller", 0)), ["d1", "d2"]),
        (((5, "", 1), (6, "VirtualSCSI", 0)), ["d1", "d2"]),
    ],
)
def test_controllers_of_one_kind_come_in_the_order_of_their_numbers(
    kinds: tuple[tuple[int, str, int], tuple[int, str, int]], expected: list[str]
) -> None:
    assert [disk.id for disk in one(two_controllers(kinds)).disks] == expected


def test_where_a_place_is_not_told_disks_stay_as_they_are_listed() -> None:
    untold = replaced(("<rasd:AddressOnParent>0</rasd:AddressOnParent>", ""))
    assert [disk.id for disk in one(untold).disks] == ["d1", "d2"]


def test_drives_keep_their_names_among_disks_in_another_order() -> None:
    drive = item(40, 15, Parent=3, AddressOnParent=9)
    place = "<rasd:AddressOnParent>{}</rasd:AddressOnParent>"
    text = replaced(
        (place.format(0), place.format(5)), ("<Item><rasd:AddressOnParent>1<", f"{drive}<Item><rasd:AddressOnParent>1<")
    )
    assert [disk.id for disk in one(text).disks] == ["d2", "cdrom0", "d1"]


@pytest.mark.parametrize("kind", [1, 20, 34])
def test_a_tpm_is_known_by_its_subtype_whatever_its_type(kind: int) -> None:
    found = one(hardware(item(60, kind, ResourceSubType="vmware.vtpm")))
    assert found.tpm == Tpm(version="2.0")
    assert "vmware.vtpm" not in {device.model for device in found.devices}
    assert "tpm.state-lost" in concerns(found)


@pytest.mark.parametrize(
    ("told", "bus", "model"),
    [
        ("virtio lsilogic", DiskBus.VIRTIO, None),
        ("unheard-of VirtualSCSI lsilogic", DiskBus.SCSI, "pvscsi"),
        ("lsilogicsas", DiskBus.SCSI, "lsisas1068"),
        ("buslogic lsilogic", DiskBus.SCSI, "buslogic"),
        ("what nobody knows", DiskBus.SCSI, "what nobody knows"),
    ],
)
def test_of_a_list_of_subtypes_of_a_controller_the_first_that_is_known_counts(
    told: str, bus: DiskBus, model: str | None
) -> None:
    found = one(
        replaced((">vmware.sata.ahci<", f">{told}<"), ("<rasd:ResourceType>20<", "<rasd:ResourceType>6<"))
    ).disks[0]
    assert (found.bus, found.controller_model) == (bus, model)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("VirtIO VmxNet3", "virtio"),
        ("x VmxNet3 E1000", "vmxnet3"),
        ("PCNet32 E1000", "pcnet"),
        ("E1000e", "e1000e"),
        ("a b", "a b"),
    ],
)
def test_of_a_list_of_subtypes_of_a_card_the_first_that_is_known_counts(told: str, expected: str) -> None:
    assert one(replaced((">E1000<", f">{told}<"))).nics[0].model == expected


@pytest.mark.parametrize(
    ("units", "quantity", "expected"),
    [
        (None, "byte * 2^20", 256 << 20),
        ("byte * 2^20", None, 256 << 20),
        ("byte", "MegaBytes", 256 << 20),
        ("megabytes", None, 256 << 20),
        (None, "mebibyte", 256 << 20),
        ("byte * 1024 * 1024", None, 256 << 20),
        ("byte*2^30", None, 256 << 30),
        ("byte * 2^20", "count", 256 << 20),
    ],
)
def test_memory_is_counted_in_the_units_of_its_quantity(units: str | None, quantity: str | None, expected: int) -> None:
    told = "".join(
        f"<rasd:{name}>{value}</rasd:{name}>"
        for name, value in (("AllocationUnits", units), ("VirtualQuantityUnits", quantity))
        if value
    )
    text = replaced(("<rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>", told))
    assert one(text).memory.size_bytes == expected


@pytest.mark.parametrize(("unit", "expected"), [("kibibytes", 1 << 10), ("GibiByte", 1 << 30), ("tebibyte", 1 << 40)])
def test_binary_words_of_units(unit: str, expected: int) -> None:
    assert to_bytes("1", unit) == expected


def test_vclouds_section_tells_macs_and_networks() -> None:
    namespace = "xmlns:vcloud='http://www.vmware.com/vcloud/v1.5'"
    section = (
        f"<vcloud:NetworkConnectionSection {namespace}><Info>x</Info>"
        "<vcloud:NetworkConnection network='lan'><vcloud:NetworkConnectionIndex>1</vcloud:NetworkConnectionIndex>"
        "<vcloud:IsConnected>true</vcloud:IsConnected><vcloud:MACAddress>00:50:56:01:02:03</vcloud:MACAddress>"
        "</vcloud:NetworkConnection><vcloud:NetworkConnection network='none'>"
        "<vcloud:NetworkConnectionIndex>0</vcloud:NetworkConnectionIndex><vcloud:IsConnected>false</vcloud:IsConnected>"
        "<vcloud:MACAddress>00:50:56:01:02:04</vcloud:MACAddress></vcloud:NetworkConnection>"
        "</vcloud:NetworkConnectionSection>"
    )
    cards = item(60, 10, AddressOnParent=1, ResourceSubType="VMXNET3") + item(
        61, 10, AddressOnParent=0, Connection="none"
    )
    text = hardware(cards).replace("</VirtualHardwareSection>", f"</VirtualHardwareSection>{section}")
    _, first, second = one(text).nics
    assert (first.network, first.network_kind, first.mac) == ("lan", "network", "00:50:56:01:02:03")
    assert (second.network, second.mac, second.link_up) == (None, "00:50:56:01:02:04", False)


# --- disks that are not there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (ova.STREAM, set()),
        ("http://www.gnome.org/~markmc/qcow-image-format.html", set()),
        ("http://go.microsoft.com/fwlink/?LinkId=137171", set()),
        ("http://x/#vhdx", {"ova.format-unread"}),
        ("http://x/#vdi", {"ova.format-unread"}),
    ],
)
def test_a_disk_that_is_not_beside_its_descriptor_is_judged_by_its_format_alone(told: str, expected: set[str]) -> None:
    """An estate is assessed without its disks."""
    text = replaced((ova.STREAM, told))

    def locate(file: File, _shape: str | None, _stream: bool) -> str:
        return f"file:{file.href}"

    (machine,) = parse_ovf(text, source="lab", where="web.ovf", name="web.ova", locate=locate)
    assert {"disk.unreadable", "ova.format-unread"} & concerns(machine).keys() == expected


# --- empty disks -----------------------------------------------------------------------------------------------------


def test_a_disk_without_a_file_is_empty_and_is_made() -> None:
    found = one(replaced((DISK_2, ""))).disks[1]
    assert (found.uri, found.format, found.chain, found.capacity_bytes) == ("zero:512", "raw", (), 512)
    told = concerns(one(replaced((DISK_2, ""))))
    assert "it is made, and holds nothing" in told["ova.empty-disk"]
    assert not {"disk.source-missing", "ova.format-unread", "disk.format-unknown"} & told.keys()


def test_a_reference_to_no_file_is_not_taken_for_an_empty_disk() -> None:
    with pytest.raises(InputInvalid, match="fileRef is empty"):
        one(replaced((DISK_2, DISK_2.replace("file-d2", ""))))


def test_a_disk_of_ovirts_that_is_no_image_is_not_taken_for_an_empty_one() -> None:
    """A LUN has no file, and holds what it holds."""
    lun = EARLY.replace(' ovf:fileRef="g1/i1"', "").replace(
        'ovf:diskId="i1"', 'ovf:diskId="i1" ovf:disk_storage_type="LUN"'
    )
    found = one(lun.replace(">g1/i1<", ">i1<"))
    assert (found.disks[0].id, found.disks[0].uri) == ("i1", None)
    assert "disk.source-missing" in concerns(found)


SECTION = (
    "<ProductSection ovf:class='x.y'><Info>p</Info>"
    "<Property ovf:key='size' ovf:type='int' ovf:value='5'><Value ovf:configuration='large' ovf:value='7'/></Property>"
    "<Property ovf:key='none' ovf:type='int'/></ProductSection>"
)


@pytest.mark.parametrize(
    ("name", "option", "expected"), [("size", "", 5), ("x.y.size", "", 5), ("size", "large", 7), ("size", "small", 5)]
)
def test_a_capacity_may_be_a_property_with_its_default(name: str, option: str, expected: int) -> None:
    options = f"<DeploymentOptionSection><Info>o</Info><Configuration ovf:id='{option}'/></DeploymentOptionSection>"
    text = replaced(
        (
            f"{DISK_2} ovf:capacity='512' ovf:capacityAllocationUnits='byte'",
            f"{DISK_2} ovf:capacity='${{{name}}}' ovf:capacityAllocationUnits='byte * 2^30'",
        ),
        ("<VirtualHardwareSection>", f"{SECTION}<VirtualHardwareSection>"),
        ("<NetworkSection>", f"{options if option else ''}<NetworkSection>"),
    )
    assert one(text).disks[1].capacity_bytes == expected << 30


@pytest.mark.parametrize("name", ["gone", "none"])
def test_a_capacity_whose_property_has_no_value_is_refused(name: str) -> None:
    text = replaced(
        (f"{DISK_2} ovf:capacity='512'", f"{DISK_2} ovf:capacity='${{{name}}}'"),
        ("<VirtualHardwareSection>", f"{SECTION}<VirtualHardwareSection>"),
    )
    with pytest.raises(InputInvalid, match=rf"capacity '\$\{{{name}\}}'"):
        one(text)


# --- settings --------------------------------------------------------------------------------------------------------


def test_what_may_be_added_to_a_running_machine_is_told() -> None:
    both = concerns(one(hardware(config("cpuHotAddEnabled", "true"), config("memoryHotAddEnabled", "true"))))
    assert both["ova.hot-plug"].startswith("Processors and Memory may be added")
    assert "limit that the source does not tell" in both["memory.hotplug-lost"]
    cpu = concerns(one(hardware(config("cpuHotAddEnabled", "true"), config("memoryHotAddEnabled", "false"))))
    assert cpu["ova.hot-plug"].startswith("Processors may be added")
    assert "memory.hotplug-lost" not in cpu


def test_what_may_be_added_is_told_in_the_words_of_each_product() -> None:
    extra = config("vcpu.hotadd", "TRUE").replace("vmw:Config", "vmw:ExtraConfig")
    assert "ova.hot-plug" in concerns(one(hardware(extra)))
    assert "ova.hot-plug" not in concerns(one(hardware(extra.replace("TRUE", "FALSE"))))
    vbox = (GOLDEN / "03-virtualbox-ubuntu.ovf").read_text(encoding="utf-8")
    assert "<CPU " in vbox
    assert "ova.hot-plug" in concerns(one(vbox.replace("<CPU ", '<CPU hotplug="true" ', 1)))


def test_guests_of_the_guest_are_told() -> None:
    assert one(hardware(config("nestedHVEnabled", "true"))).cpu.nested is True
    assert one(hardware(config("nestedHVEnabled", "false"))).cpu.nested is None


USUAL = {
    "cpuHotAddEnabled": "false",
    "cpuHotRemoveEnabled": "false",
    "memoryHotAddEnabled": "false",
    "nestedHVEnabled": "false",
    "virtualICH7MPresent": "false",
    "virtualSMCPresent": "false",
    "flags.vbsEnabled": "false",
    "flags.vvtdEnabled": "false",
    "tools.syncTimeWithHost": "false",
    "tools.afterPowerOn": "true",
    "powerOpInfo.powerOffType": "soft",
    "powerOpInfo.standbyAction": "checkpoint",
    "cpuAllocation.shares.level": "normal",
    "slotInfo.pciSlotNumber": "160",
}
UNUSUAL = {
    "cpuHotAddEnabled": "true",
    "tools.syncTimeWithHost": "true",
    "tools.afterPowerOn": "false",
    "flags.vbsEnabled": "true",
    "cpuAllocation.shares.level": "high",
    "powerOpInfo.powerOffType": "odd",
    "unheard.of": "false",
}


def test_settings_that_are_off_or_usual_are_no_loss() -> None:
    found = one(hardware(*(config(key, value) for key, value in USUAL.items())))
    assert [fact.path for fact in found.unmodelled if "Config" in fact.path] == []


@pytest.mark.parametrize("key", UNUSUAL)
def test_a_setting_that_is_not_usual_stays_one(key: str) -> None:
    found = one(hardware(config(key, UNUSUAL[key])))
    assert [fact.value for fact in found.unmodelled if f"[{key}]" in fact.path] == [f"vmw:value={UNUSUAL[key]}"]


@pytest.mark.parametrize(
    "key",
    ["user-data", "userdata", "user_data", "vendor-data", "meta-data", "guestinfo.userdata", "guestinfo.metadata",
     "ignition.config.data", "coreos.config.data", "cloud-init", "guestinfo.x"],
)  # fmt: skip
@pytest.mark.parametrize("element", ["Property", "vmw:ExtraConfig"])
def test_what_a_guest_is_set_up_by_is_not_shown(key: str, element: str) -> None:
    kind = "ovf" if element == "Property" else "vmw"
    told = f"<{element} {kind}:key='{key}' {kind}:value='I2Nsb3VkLWNvbmZpZwp4'/>"
    if element == "Property":
        found = one(replaced(("</VirtualSystem>", f"<ProductSection>{told}</ProductSection></VirtualSystem>")))
    else:
        found = one(hardware(told))
    assert "I2Nsb3Vk" not in found.model_dump_json()
    assert [fact.value for fact in found.unmodelled if key in fact.path] == ["(not shown: it may be a secret)"]


def test_names_are_told_without_vcenters_escapes_and_the_id_stays() -> None:
    found = one(replaced((">web<", ">b%2fc %5C 5%25 %20<"), ('id="web"', 'id="b%2fc"')))
    assert found.name == "b/c \\ 5% %20"
    assert "/" not in found.id
    card = item(9, 10, Connection="VM%2fNet", ResourceSubType="Flexible")
    (*_, nic) = one(hardware(card)).nics
    assert (nic.network, nic.model) == ("VM/Net", "pcnet")


def test_every_place_that_microsoft_names_for_vhd_is_a_vhd() -> None:
    for place in (
        "http://technet.microsoft.com/en-us/virtualserver/bb676673.aspx",
        "http://go.microsoft.com/fwlink/?LinkId=137171",
    ):
        assert one(replaced((ova.STREAM, place))).disks[0].uri == "file:a.vmdk?vhd"
