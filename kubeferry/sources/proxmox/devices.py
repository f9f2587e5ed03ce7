"""Network cards and all other devices of a configuration. Pure."""

from __future__ import annotations

import re

from kubeferry.model import Device, Nic, SourceFact, Tpm, Watchdog
from kubeferry.sources.facts.settings import Settings
from kubeferry.sources.proxmox.sections import is_on, left, options

_NIC = re.compile(r"net([0-9]{1,2})", re.ASCII)
_DEVICE = re.compile(r"(hostpci|usb|serial|parallel|virtiofs|ivshmem|audio|rng|vga)[0-9]{0,2}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.IGNORECASE)
_MODELS = {
    "virtio",
    "e1000",
    "e1000e",
    "rtl8139",
    "vmxnet3",
    "ne2k_pci",
    "ne2k_isa",
    "pcnet",
    "i82551",
    "i82557b",
    "i82559er",
}
_READ = {*_MODELS, "model", "macaddr", "bridge", "tag", "trunks", "firewall", "link_down", "mtu", "queues", "rate"}
_VGA = {"std": "vga", "cirrus": "cirrus", "virtio": "virtio", "virtio-gl": "virtio", "qxl": "qxl", "vmware": "vmvga"}
_SOUNDS = {"ich9-intel-hda": "ich9", "intel-hda": "ich6", "AC97": "ac97"}
_MOST_TAGS = 64
_FIRST = {"hostpci": "host", "usb": "host", "serial": "path", "parallel": "path", "virtiofs": "dirid",
          "audio": "device", "vga": "type", "rng": "source"}  # fmt: skip


def read_nics(now: Settings, orders: dict[str, int]) -> tuple[tuple[Nic, ...], list[SourceFact]]:
    """The cards by their keys, and what is said of them besides. `orders` are their places in the boot order."""
    names = sorted((found for key in now if (found := _NIC.fullmatch(key))), key=lambda one: int(one[1]))
    nics, facts = [], []
    for name in names:
        told = options(now.value(name[0]), "model")
        nics.append(_nic(name[0], told, orders.get(name[0])))
        facts += left(name[0], told, _READ)
    return tuple(nics), facts


def _nic(key: str, told: dict[str, str], order: int | None) -> Nic:
    """`virtio=MAC`, or `model=virtio,macaddr=MAC`. Without a bridge it is a network of QEMU's own (NAT)."""
    model = next((one for one in told if one in _MODELS), None)
    mac = told.get("macaddr") or (told[model] if model and _MAC.fullmatch(told[model]) else None)
    bridge = told.get("bridge")
    return Nic(
        id=key,
        network_kind="bridge" if bridge else "user",
        network=bridge,
        model=model or told.get("model"),
        mac=mac,
        queues=_number(told.get("queues")),
        vlans=_tags(told.get("tag") or told.get("trunks") or ""),
        link_up=False if is_on(told.get("link_down")) else None,
        mtu=_number(told.get("mtu")) if told.get("mtu") != "1" else None,  # 1: that of the bridge
        throttled=(told.get("rate") or "0") != "0",
        filtered=is_on(told.get("firewall")) is True,
        boot_order=order,
    )


def _number(told: str | None) -> int | None:
    return int(told) if told and re.fullmatch(r"[0-9]{1,6}", told) else None


def _tags(told: str) -> tuple[int, ...]:
    """`10`, or a trunk of them, `10;20;30-32`."""
    found: list[int] = []
    for word in told.split(";"):
        first, _, last = word.partition("-")
        start, stop = _number(first), _number(last or first)
        if start is not None and stop is not None and len(found) + stop - start < _MOST_TAGS:
            found += range(start, stop + 1)
    return tuple(found)


def read_devices(now: Settings) -> tuple[Device, ...]:
    """Everything that has no part of its own in the model. Where no graphics card is told there is a standard one."""
    found = [
        _device(one[1], now.value(key))
        for key in now
        if (one := _DEVICE.fullmatch(key)) and (key != "vga" or now.peek(key))
    ]
    told = any(one.kind == "video" for one in found)
    found += [] if told else [Device(kind="video", model="vga")]
    found += [Device(kind="memballoon", model="virtio")] if now.peek("balloon") != "0" else []
    return tuple(one for one in found if one.model != "none" or one.kind != "video")


def _device(kind: str, value: str | None) -> Device:
    told = options(value, _FIRST.get(kind, ""))
    detail = {key: one[:200] for key, one in told.items()}
    if kind == "vga":
        card = told.get("type", "std")
        model = (
            "qxl" if card.startswith("qxl") else "none" if card.startswith(("serial", "none")) else _VGA.get(card, card)
        )
        return Device(kind="video", model=model)
    if kind == "audio":
        return Device(kind="sound", model=_SOUNDS.get(told.get("device", ""), told.get("device")))
    if kind == "usb" and told.get("host") == "spice":
        return Device(kind="redirdev", model="spice", detail=detail)
    if kind in {"hostpci", "usb"}:
        return Device(kind="hostdev", model="usb" if kind == "usb" else "pci", detail=detail)
    return Device(kind={"virtiofs": "filesystem", "ivshmem": "shmem"}.get(kind, kind), model=None, detail=detail)


def read_tpm(now: Settings) -> Tpm | None:
    """`tpmstate0: STORE:VOLUME,size=4M,version=v2.0`; nothing said is 1.2."""
    told = now.value("tpmstate0")
    if told is None:
        return None
    version = options(told, "file").get("version", "v1.2")
    return Tpm(
        model="tpm-crb" if version == "v2.0" else "tpm-tis",
        version=version.removeprefix("v"),
        backend="emulator",
        persistent=True,
    )


def read_watchdog(now: Settings) -> Watchdog | None:
    told = options(now.value("watchdog"), "model")
    return Watchdog(model=told["model"], action=told.get("action")) if "model" in told else None
