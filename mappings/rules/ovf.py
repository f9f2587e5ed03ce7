"""Rules about machines that were exported to an OVF: what an export is, and what it asks of whoever imports it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kubeferry.model import Disk
from kubeferry.uris import local_path, packed, zero_size
from mappings.quantities import human_bytes
from mappings.rules.hardware import hot_add
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when

_READ = ("vmdk", "raw")
_IMAGES = ("qcow2", "vhd")
_REQUIRED = re.compile(r"(?:^| )required=(?:true|1)(?: |$)")


def is_exported(disk: Disk) -> bool:
    """Whether a disk is one of an export: where it is not there, its descriptor names it by a path from its folder."""
    uri = disk.uri or ""
    return packed(uri) is not None or (uri.startswith("file:") and local_path(uri) is None)


def _is_exported(case: Case) -> bool:
    return any(packed(disk.uri or "") is not None for disk in case.machine.disks)


def _original(case: Case) -> Iterable[str]:
    what = "The machine is an export: what its original wrote since is not in it, and the original may still run."
    return when(_is_exported(case), what)


def _unread(case: Case) -> Iterator[str]:
    for disk in case.machine.data_disks:
        if not is_exported(disk) or disk.format in {*_READ, None}:
            continue
        place = packed(disk.uri or "")
        if disk.format not in _IMAGES:
            yield f"Disk {disk.id} is {disk.format}, which is not read where it lies."
        elif place is not None and not place.as_it_is:
            yield f"Disk {disk.id} is {disk.format}, packed or in chunks, and is not read from that."


def _undigested(disk: Disk) -> bool:
    place = packed(disk.uri or "")
    return place is not None and not all(part.digest for part in place.parts)


def _no_digest(case: Case) -> Iterator[str]:
    for disk in case.machine.data_disks:
        if _undigested(disk):
            yield f"Disk {disk.id} has no digest in a manifest: damage on its way here would not be noticed."


def _told(case: Case, pattern: str) -> list[str]:
    """Paths of facts in which this is a whole part."""
    part = re.compile(rf"(?:^|/){pattern}(?:\[[^/]*\])?(?:/|$)")
    return [fact.path for fact in case.machine.unmodelled if part.search(fact.path)]


def _environment(case: Case) -> Iterable[str]:
    asked = [fact for fact in case.machine.unmodelled if fact.path.endswith("VirtualHardwareSection")]
    transport = any("transport=" in fact.value for fact in asked)
    properties = len({path.partition("Property")[2].partition("/")[0] for path in _told(case, "Property")})
    count = f" of {properties} propert{'y' if properties == 1 else 'ies'}" if properties else ""
    return when(
        transport or bool(properties), f"The guest may expect an OVF environment{count}, which nobody gives it there."
    )


def _options(case: Case) -> Iterable[str]:
    return when(
        bool(_told(case, "DeploymentOptionSection")),
        "The OVF has several deployment options; the machine is that of the default one.",
    )


def _start_order(case: Case) -> Iterable[str]:
    return when(bool(_told(case, "StartupSection")), "The OVF orders when its machines start, which is not carried.")


def _required(case: Case) -> Iterator[str]:
    for fact in case.machine.unmodelled:
        if _REQUIRED.search(fact.value):
            yield f"The OVF asks that {fact.path} be understood, and it is not."


def _manifest(case: Case) -> Iterator[str]:
    for fact in case.machine.unmodelled:
        if fact.path.startswith("manifest["):
            yield f"In the manifest {fact.value}: nothing is compared with that."


def _header(case: Case) -> Iterator[str]:
    for disk, what in _of_disks(case, "header"):
        yield f"Disk {disk} cannot be read: {what}."


def _capacity(case: Case) -> Iterator[str]:
    for disk, what in _of_disks(case, "capacity"):
        yield f"Of disk {disk} the descriptor says that it has {what}: it is moved as it is."


def _of_disks(case: Case, path: str) -> Iterator[tuple[str, str]]:
    """Disks, and what the reader of an export noted of each under this path; of one that is left out nothing."""
    for fact in case.machine.unmodelled:
        disk = fact.path[len(path) + 1 : -1]
        if fact.path == f"{path}[{disk}]" and disk not in (case.machine.left_out or ()):
            yield disk, fact.value


def _hot_plug(case: Case) -> Iterable[str]:
    found = [name for key, name in (("cpu", "Processors"), ("memory", "Memory")) if hot_add(case.machine, key)]
    what = f"{' and '.join(found)} may be added while it runs"
    return when(bool(found), f"{what}; at the target within what the policy makes room for.")


def _empty(case: Case) -> Iterator[str]:
    for disk in case.machine.data_disks:
        if (size := zero_size(disk.uri or "")) is not None:
            yield f"Disk {disk.id} ({human_bytes(size)}) has no file in the export: it is made, and holds nothing."


def _signature(case: Case) -> Iterable[str]:
    return when(bool(_told(case, "certificate")), "The export is signed; the signature was not checked.")


RULES = (
    Rule(
        "ova.format-unread",
        CRITICAL,
        "a disk in an export whose format is not read there",
        "Export the machine with VMDK disks, or convert the disk with `qemu-img convert`.",
        _unread,
        False,
    ),
    Rule(
        "ova.header",
        CRITICAL,
        "a disk of an export that says of itself what does not fit: another format, encrypted, cut off",
        "Get its file again from where the machine was exported, or export it again.",
        _header,
        False,
    ),
    Rule(
        "ova.capacity",
        WARNING,
        "a disk of another size than its descriptor says",
        "Nothing, if the guest has it so; its disk at the target has the size of its file.",
        _capacity,
    ),
    Rule(
        "ova.original",
        WARNING,
        "a machine that is an export of another",
        "Make sure that the original is off and stays off before the migrated machine starts.",
        _original,
    ),
    Rule(
        "ova.no-digest",
        WARNING,
        "a disk of an export without a digest",
        "Export with a manifest, or compare the files with their origin.",
        _no_digest,
    ),
    Rule(
        "ova.manifest",
        WARNING,
        "a manifest with lines that say nothing which can be checked, or nothing of the descriptor",
        "Compare the files with their origin, or export again with a manifest.",
        _manifest,
    ),
    Rule(
        "ova.required",
        WARNING,
        "a part of an OVF that an importer has to understand",
        "Find out what it is for before the machine starts.",
        _required,
    ),
    Rule(
        "ova.environment",
        WARNING,
        "an OVF environment: settings that the guest reads when it starts",
        "Give the guest its settings by cloud-init or by hand.",
        _environment,
    ),
    Rule(
        "ova.start-order",
        WARNING,
        "an order in which machines start",
        "Put the machines into waves in the policy, and start them in this order.",
        _start_order,
    ),
    Rule(
        "ova.options",
        INFO,
        "several deployment options",
        "Set processors and memory after the move if another option is wanted.",
        _options,
    ),
    Rule(
        "ova.hot-plug",
        INFO,
        "processors or memory that may be added",
        "Make room for it in the policy if it is used.",
        _hot_plug,
    ),
    Rule(
        "ova.empty-disk",
        INFO,
        "a disk that the export has no file for",
        "Nothing, if the guest expects an empty disk there; else export the machine again with it.",
        _empty,
    ),
    Rule(
        "ova.signature",
        INFO,
        "a signature that was not checked",
        "Check it with the tool of the product that made the export.",
        _signature,
    ),
)
