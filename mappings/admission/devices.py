"""Admission rules about disks, volumes, interfaces and networks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from kubeferry.errors import Problem
from mappings.admission.view import View, problem
from mappings.disks import CACHES, IO_MODES, SERIAL
from mappings.names import is_dns_label
from mappings.nics import MODELS, mac_problem

_BUSES = ("virtio", "sata", "scsi", "usb")
_ERROR_POLICIES = ("stop", "ignore", "report", "enospace")
_DISK_KINDS = ("disk", "lun", "cdrom")
_BINDINGS = ("masquerade", "bridge", "sriov", "passtBinding", "binding")
_GONE_BINDINGS = ("slirp", "macvtap", "passt")
_INTERFACE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_CLOUD_INIT_LIMIT = 2048


def _repeated(items: Iterable[dict[str, Any]]) -> list[str]:
    return [name for name, count in Counter(item["name"] for item in items).items() if count > 1]


def _disk_names(view: View) -> Iterator[Problem]:
    for where, items in (("devices.disks", view.disks), ("volumes", view.volumes)):
        for name in _repeated(items):
            yield problem(f"{where}[{name}]", "is there twice", "Give one of them another name.")
        for item in items:
            if not is_dns_label(item["name"]):
                yield problem(f"{where}[{item['name']}]", "is not a DNS label", "Use small letters, digits, hyphens.")
    volumes = {volume["name"] for volume in view.volumes}
    for disk in view.disks:
        if disk["name"] not in volumes and "cdrom" not in disk:
            yield problem(f"devices.disks[{disk['name']}]", "has no volume", "Add the volume of this name.")
    for name in sorted(volumes - {disk["name"] for disk in view.disks}):
        fix = "Add its disk; KubeVirt would add a SATA disk by itself."
        yield problem(f"volumes[{name}]", "has no disk", fix)


def _volume_sources(view: View) -> Iterator[Problem]:
    for volume in view.volumes:
        sources = [key for key in volume if key != "name"]
        if len(sources) != 1:
            yield problem(f"volumes[{volume['name']}]", f"has {len(sources)} sources", "Keep exactly one.")
        for kind in ("cloudInitNoCloud", "cloudInitConfigDrive"):
            if kind in volume:
                yield from _cloud_init(volume[kind], f"volumes[{volume['name']}].{kind}")


def _cloud_init(content: dict[str, Any], where: str) -> Iterator[Problem]:
    if not content:
        yield problem(where, "holds nothing", "Give it user data, or remove it.")
    for part, secret in (("userData", "secretRef"), ("networkData", "networkDataSecretRef")):
        given = [key for key in (part, f"{part}Base64", secret) if key in content]
        if len(given) > 1:
            yield problem(f"{where}.{part}", f"is given {len(given)} times", "Keep one of them.")
        if len(content.get(part, "").encode()) > _CLOUD_INIT_LIMIT:
            yield problem(f"{where}.{part}", "is longer than 2048 bytes", "Put it into a Secret.")


def _disks(view: View) -> Iterator[Problem]:
    volumes = {volume["name"]: volume for volume in view.volumes}
    for disk in view.disks:
        where = f"devices.disks[{disk['name']}]"
        kinds = [kind for kind in _DISK_KINDS if kind in disk]
        if len(kinds) > 1:
            yield problem(where, f"is {' and '.join(kinds)} at once", "Keep one of them.")
        for kind in kinds:
            yield from _disk_target(kind, disk, where)
        if "lun" in disk and not {"persistentVolumeClaim", "dataVolume"} & set(volumes.get(disk["name"], {})):
            yield problem(f"{where}.lun", "is not on a claim", "Use a disk, or a claim.")
        yield from _disk_options(disk, where)


def _disk_target(kind: str, disk: dict[str, Any], where: str) -> Iterator[Problem]:
    target = disk[kind] or {}
    bus = target.get("bus", "sata")
    if bus not in _BUSES:
        yield problem(f"{where}.{kind}.bus", f"{bus!r} is refused", f"Use one of {', '.join(_BUSES)}.")
    if kind == "cdrom" and bus == "virtio":
        yield problem(f"{where}.cdrom.bus", "a CD-ROM on virtio is refused", "Use sata or scsi.")
    if kind == "disk" and bus == "sata" and target.get("readonly"):
        yield problem(f"{where}.disk.readonly", "a read-only SATA disk is refused", "Use virtio or scsi.")
    if disk.get("dedicatedIOThread") and bus != "virtio":
        yield problem(f"{where}.dedicatedIOThread", "is for virtio only", "Leave it out.")
    if "serial" in disk and kind != "disk":
        yield problem(f"{where}.serial", f"is dropped for a {kind}", "Leave it out.")


def _disk_options(disk: dict[str, Any], where: str) -> Iterator[Problem]:
    closed = (("cache", CACHES), ("io", IO_MODES), ("errorPolicy", _ERROR_POLICIES))
    for field, words in closed:
        if field in disk and disk[field] not in words:
            yield problem(f"{where}.{field}", f"{disk[field]!r} is refused", f"Use one of {', '.join(words)}.")
    if "serial" in disk and not SERIAL.fullmatch(disk["serial"]):
        yield problem(f"{where}.serial", "has characters that are refused", "Use up to 256 letters, digits and _.+-")
    if disk.get("shareable") and disk.get("cache", "none") != "none":
        yield problem(f"{where}.cache", "a shareable disk takes no cache", "Use none.")
    if disk.get("io") == "native" and disk.get("cache") != "none":
        yield problem(f"{where}.io", "native needs cache none", "Write cache: none, or leave io out.")


def _boot_orders(view: View) -> Iterator[Problem]:
    orders = [(item["bootOrder"], item["name"]) for item in (*view.disks, *view.interfaces) if "bootOrder" in item]
    for order, name in orders:
        if order < 1:
            yield problem(f"devices[{name}].bootOrder", f"is {order}", "Count from 1.")
    for order, count in Counter(order for order, _name in orders).items():
        if count > 1:
            yield problem("devices", f"boot order {order} is there {count} times", "Give each device another.")


def _networks(view: View) -> Iterator[Problem]:
    interfaces, networks = {one["name"] for one in view.interfaces}, {one["name"] for one in view.networks}
    for name in sorted(interfaces ^ networks):
        missing = "network" if name in interfaces else "interface"
        yield problem(f"interfaces[{name}]", f"has no {missing}", f"Add the {missing} of this name.")
    for name in sorted({*_repeated(view.interfaces), *_repeated(view.networks)}):
        yield problem(f"interfaces[{name}]", "is there twice", "Give one of them another name.")
    pods = [one["name"] for one in view.networks if "pod" in one]
    default = [one["name"] for one in view.networks if (one.get("multus") or {}).get("default")]
    if len(pods) + len(default) > 1:
        fix = "Map all but one to other multus networks, or drop them."
        yield problem("networks", f"{', '.join([*pods, *default])} are all the pod's first network", fix)
    for one in view.networks:
        if len(one) != 2:
            yield problem(f"networks[{one['name']}]", "is not exactly one network", "Keep pod or multus.")
        if one.get("multus") is not None and not one["multus"].get("networkName"):
            yield problem(f"networks[{one['name']}].multus", "has no name", "Name the network attachment.")


def _interfaces(view: View) -> Iterator[Problem]:
    pods = {one["name"] for one in view.networks if "pod" in one}
    for one in view.interfaces:
        where = f"interfaces[{one['name']}]"
        if not _INTERFACE_NAME.fullmatch(one["name"]):
            yield problem(where, "is not a legal name", "Use letters, digits, hyphens and underscores.")
        yield from _binding(one, where, on_pod=one["name"] in pods)
        if one.get("model", "virtio") not in MODELS:
            yield problem(f"{where}.model", f"{one['model']!r} is refused", f"Use one of {', '.join(MODELS)}.")
        why = mac_problem(one["macAddress"].lower().replace("-", ":")) if "macAddress" in one else None
        if why:
            yield problem(f"{where}.macAddress", f"{one['macAddress']} {why}", "Leave it out or correct it.")
        if one.get("state", "up") not in {"up", "down", "absent"}:
            yield problem(f"{where}.state", f"{one['state']!r} is refused", "Use up or down.")


def _binding(interface: dict[str, Any], where: str, *, on_pod: bool) -> Iterator[Problem]:
    bindings = [name for name in (*_BINDINGS, *_GONE_BINDINGS) if name in interface]
    if len(bindings) != 1:
        yield problem(where, f"has {len(bindings)} bindings", "Use exactly one, such as masquerade or bridge.")
    for name in set(bindings) & set(_GONE_BINDINGS):
        yield problem(f"{where}.{name}", "is not supported any more", "Use masquerade or bridge.")
    if "masquerade" in interface and not on_pod:
        yield problem(f"{where}.masquerade", "works on the pod network only", "Use bridge.")
    if "sriov" in interface and "state" in interface:
        yield problem(f"{where}.state", "is refused with SR-IOV", "Leave it out.")
    if interface.get("state") == "absent" and "bridge" not in interface:
        yield problem(f"{where}.state", "absent is for bridge only", "Leave the interface out.")
    for port in interface.get("ports", []):
        if not 1 <= port["port"] <= 65535 or port.get("protocol", "TCP") not in {"TCP", "UDP"}:
            yield problem(f"{where}.ports", f"{port['port']} is not a port", "Use 1 to 65535, TCP or UDP.")


DEVICE_CHECKS = (_disk_names, _volume_sources, _disks, _boot_orders, _networks, _interfaces)
