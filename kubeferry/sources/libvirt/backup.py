"""The words of libvirt's backup jobs and checkpoints, and the names that ours have. Pure.

A view is one backup job; where a disk can have bitmaps, a checkpoint of the same name begins with it. A checkpoint's
description holds what its disks were, so that a later round knows whether its bitmaps still tell of the same disks.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from kubeferry.errors import InputInvalid
from kubeferry.model import DiskRef
from kubeferry.sources.facts.xml_tree import Node, read_tree
from kubeferry.sources.libvirt.domain.dialect import DOMAIN

NAME = re.compile(r"kubeferry-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-[0-9a-f]{8}", re.ASCII)
SOCKET = re.compile(rf"({NAME.pattern})\.(frozen|crash)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DiskState:
    """What a disk was when a checkpoint was made: its size in bytes, format and URI of its images from the top, and
    which files those were (`image_files`)."""

    size: int
    images: tuple[tuple[str, str], ...]
    files: tuple[str, ...] = ()

    def is_still(self, earlier: DiskState | None) -> bool:
        """Whether this is the disk that it was, file by file: another file may have got its name since, with notes
        under the name of ours. One of which it is not known which it is, is not."""
        return self == earlier and len(self.files) == len(self.images) and all(self.files)


@dataclass(frozen=True, slots=True)
class Asked:
    """One disk of a backup: where what it held before goes, and the checkpoint since which changes are wanted."""

    scratch: Path
    since: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A backup job that runs. `name` is None for a job that is not ours; `since` has each disk that is served."""

    name: str | None
    socket: Path
    consistency: str
    since: dict[str, str | None]


def new_name(now: str) -> str:
    """The name of a view made at `now` (ISO 8601, UTC): its checkpoint's, its bitmaps', its marker's token."""
    return f"kubeferry-{re.sub(r'[^0-9T]', '', now[:19])}Z-{secrets.token_hex(4)}"


def taken_at(name: str) -> str:
    """When a view was made, ISO 8601 in UTC."""
    found = NAME.fullmatch(name)
    parts = found.groups() if found else ("1970", "01", "01", "00", "00", "00")
    return "{}-{}-{}T{}:{}:{}+00:00".format(*parts)


def backup_xml(name: str, socket: Path, disks: Mapping[str, Asked], others: Iterable[str]) -> str:
    """A pull-mode job that serves `disks` on a socket, each as an export of its own name, and leaves out `others`."""
    backup = ET.Element("domainbackup", mode="pull")
    ET.SubElement(backup, "server", transport="unix", socket=str(socket))
    listed = ET.SubElement(backup, "disks")
    for disk, asked in disks.items():
        element = ET.SubElement(listed, "disk", name=disk, backup="yes", type="file", exportname=disk)
        if asked.since is None:
            element.set("backupmode", "full")
        else:
            element.attrib |= {"backupmode": "incremental", "incremental": asked.since, "exportbitmap": name}
        ET.SubElement(element, "scratch", file=str(asked.scratch))
    for disk in others:
        ET.SubElement(listed, "disk", name=disk, backup="no")
    return ET.tostring(backup, encoding="unicode")


def checkpoint_xml(name: str, disks: Mapping[str, DiskState], others: Iterable[str]) -> str:
    """A checkpoint of `disks`; `others` have none."""
    checkpoint = ET.Element("domaincheckpoint")
    ET.SubElement(checkpoint, "name").text = name
    states = {disk: asdict(state) for disk, state in disks.items()}
    ET.SubElement(checkpoint, "description").text = json.dumps({"kubeferry": states}, sort_keys=True)
    listed = ET.SubElement(checkpoint, "disks")
    for disk in disks:
        ET.SubElement(listed, "disk", name=disk, checkpoint="bitmap", bitmap=name)
    for disk in others:
        ET.SubElement(listed, "disk", name=disk, checkpoint="no")
    return ET.tostring(checkpoint, encoding="unicode")


def job_of(xml: str) -> Job:
    """The job that libvirt describes."""
    root = read_tree(xml, "backup job", DOMAIN)
    socket = Path(root.value("server@socket") or "")
    ours = SOCKET.fullmatch(socket.stem) if root.value(".@mode") == "pull" else None
    served = [disk for disk in root.all("disks/disk") if disk.value(".@backup") != "no"]
    return Job(
        name=ours[1] if ours else None,
        socket=socket,
        consistency=socket.stem.rpartition(".")[2] if ours else "crash",
        since={disk.value(".@name") or "": disk.value(".@incremental") for disk in served},
    )


def states_of(xml: str) -> dict[str, DiskState]:
    """What the disks of one of our checkpoints were; nothing for one that is not ours, or was tampered with."""
    try:
        root = read_tree(xml, "checkpoint", DOMAIN)
        told = json.loads(root.value("description") or "{}")["kubeferry"]
        return {disk: _state(state) for disk, state in told.items()}
    except (InputInvalid, ValueError, KeyError, TypeError, AttributeError):
        return {}


def state_of(ref: DiskRef, files: tuple[str, ...] = ()) -> DiskState:
    """What a disk is now."""
    images: list[tuple[str, str]] = []
    link: DiskRef | None = ref
    while link is not None:
        images.append((link.format, link.uri))
        link = link.backing
    return DiskState(ref.size_bytes or 0, tuple(images), files)


def owner_of_qemu(domain_xml: str) -> tuple[int, int] | None:
    """User and group that a running machine's QEMU has, None where libvirt did not give it others than its own."""
    root = read_tree(domain_xml, "domain", DOMAIN)
    labels = [label for label in root.all("seclabel") if label.value(".@model") == "dac"]
    found = re.fullmatch(r"\+(\d{1,10}):\+(\d{1,10})", _label(labels[0]) if labels else "", re.ASCII)
    return (int(found[1]), int(found[2])) if found else None


def _label(node: Node) -> str:
    return node.value("label") or ""


def _state(told: Mapping[str, Any]) -> DiskState:
    files = told.get("files", [])  # checkpoints of earlier versions do not tell them
    if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
        raise TypeError("no list of files")
    return DiskState(int(told["size"]), _images(told["images"]), tuple(files))


def _images(told: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(told, list):
        raise TypeError("no list of images")
    return tuple(_image(pair) for pair in told)


def _image(told: object) -> tuple[str, str]:
    match told:
        case [str(form), str(uri)]:
            return form, uri
    raise ValueError("no image")
