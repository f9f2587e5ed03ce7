"""What becomes of disks and drives."""

from __future__ import annotations

from kubeferry.model import DiskDevice, Fate
from kubeferry.uris import zero_size
from mappings.disks import USUAL_SECTOR
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict
from mappings.fates.kinds import DISK, VOLUME, kept, place_of


def field(name: str, *, changed: str = "", lost: str = "") -> Rule:
    """A field of the disk itself: under `disk` or `cdrom` for the bus, else beside them."""
    return kept(f"{DISK}.{name}", changed=changed, lost=lost)


def unless_left_out(rule: Rule) -> Rule:
    """The rule, but for a disk or drive that the policy leaves behind."""

    def found(mapping: Mapping, leaf: Leaf) -> Verdict:
        left = leaf.key in (mapping.machine.left_out or ())
        return (Fate.LOST, "", LEFT_BEHIND) if left else rule(mapping, leaf)

    return found


def device(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = place_of(DISK, mapping, leaf)
    found = mapping.find(place)
    if found is None:
        return no_drive(mapping, leaf)
    if leaf.value == "cdrom":
        return Fate.CARRIED, f"{place}.cdrom", ""
    return Fate.CHANGED, f"{place}.disk", "a copy of a disk cannot pass SCSI commands to the old storage"


def label(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = place_of(VOLUME, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.NOT_NEEDED, "", "an empty drive has no claim to note it on"
    return Fate.CARRIED, place, "noted on its claim"


def bus(mapping: Mapping, leaf: Leaf) -> Verdict:
    kind = "cdrom" if mapping.find(place_of(f"{DISK}.cdrom", mapping, leaf)) else "disk"
    return kept(
        f"{DISK}.{kind}.bus", changed="KubeVirt has no such bus or the policy names this one", lost="no such drive"
    )(mapping, leaf)


def controller(mapping: Mapping, leaf: Leaf) -> Verdict:
    kind = "cdrom" if mapping.find(place_of(f"{DISK}.cdrom", mapping, leaf)) else "disk"
    place = place_of(f"{DISK}.{kind}.bus", mapping, leaf)
    bus = mapping.find(place)
    if bus == "scsi" and leaf.value == "virtio-scsi":
        return Fate.CARRIED, place, "KubeVirt's SCSI controller is virtio-scsi"
    if bus is None:
        return no_drive(mapping, leaf)
    return Fate.CHANGED, place, f"now the controller of bus {bus}"


FLOPPY = "KubeVirt has no floppy drives"
LEFT_BEHIND = "the policy leaves this disk out"
LEFT_OUT = "this KubeVirt takes no empty drive"
MEDIUM = "a drive's medium is not moved"


def no_drive(mapping: Mapping, leaf: Leaf) -> Verdict:
    """Why a drive is not there."""
    drive = next((disk for disk in mapping.machine.disks if disk.id == leaf.key), None)
    return Fate.LOST, "", LEFT_OUT if drive and drive.device == DiskDevice.CDROM else FLOPPY


def identity(mapping: Mapping, leaf: Leaf) -> Verdict:
    """What it is called."""
    if mapping.find(place_of(DISK, mapping, leaf)) is None:
        return no_drive(mapping, leaf)
    return field("name", changed="not a legal name")(mapping, leaf)


def source(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = place_of(VOLUME, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", MEDIUM
    made = leaf.value == "empty" or zero_size(str(leaf.value)) is not None
    return Fate.CHANGED, place, "an empty disk is made" if made else "the bytes are copied into the claim"


def image_format(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = place_of(VOLUME, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", MEDIUM
    return (Fate.CARRIED, place, "") if leaf.value == "raw" else (Fate.CHANGED, place, "now raw")


def capacity(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = place_of(VOLUME, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", MEDIUM
    return Fate.CARRIED, place, "the claim is larger where a file system takes its share"


def sector(kind: str) -> Rule:
    """The guest's sectors: written where they are not the usual 512 bytes."""

    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        place = place_of(f"{DISK}.blockSize.custom.{kind}", mapping, leaf)
        found = mapping.find(place)
        if found is not None:
            return (Fate.CARRIED, place, "") if found == leaf.value else (Fate.CHANGED, place, f"now {found}")
        if leaf.value == USUAL_SECTOR:
            return Fate.CARRIED, "", "what every disk has there"
        return Fate.LOST, "", "a SATA disk has sectors of 512 bytes"

    return rule


def readonly(mapping: Mapping, leaf: Leaf) -> Verdict:
    if mapping.find(place_of(DISK, mapping, leaf)) is None:
        return no_drive(mapping, leaf)
    if mapping.find(place_of(f"{DISK}.cdrom", mapping, leaf)) is not None:
        return Fate.CARRIED, place_of(f"{DISK}.cdrom", mapping, leaf), "a CD-ROM is read-only"
    return field("disk.readonly", lost="KubeVirt refuses read-only SATA disks")(mapping, leaf)
