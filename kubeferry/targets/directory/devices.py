"""The devices of a VirtualMachine manifest as QEMU options: disks, network cards, console, screen, the rest; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeferry.errors import TargetRefused
from kubeferry.targets.directory.frames import KEPT_BYTES

AHCI_PORTS = 6
FIRST_PORT_SLOT = 2

NIC_MODELS = {
    "virtio": "virtio-net-pci",
    "e1000e": "e1000e",
    "igb": "igb",
    "e1000": "e1000",
    "rtl8139": "rtl8139",
    "pcnet": "pcnet",
    "ne2k_pci": "ne2k_pci",
}
SIZES = {
    "logical": "logical_block_size",
    "physical": "physical_block_size",
    "discardGranularity": "discard_granularity",
}
CONVENTIONAL_NICS = {"e1000", "rtl8139", "pcnet", "ne2k_pci"}
SCREENS = {"vga": "VGA", "bochs": "bochs-display", "virtio": "virtio-vga", "cirrus": "cirrus-vga", "ramfb": "ramfb"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A throw-away qcow2 `overlay` over the raw image `base`, which is only read."""

    overlay: Path
    base: Path


@dataclass(frozen=True, slots=True)
class Wire:
    """How a network card is joined to those of other machines: it is on `segment`, has `mac` where the manifest names
    none, and its own user-mode network answers DHCP with `address` of `net`. `card` and `service` are the sockets of
    the two, QEMU's own and the far one."""

    segment: int
    net: str
    address: str
    mac: str
    card: tuple[Path, Path]
    service: tuple[Path, Path]

    def netdevs(self, number: int, forwards: list[str]) -> Iterator[str]:
        """The backend of card `number`, and its user-mode network, which leads to it through the segment's far end."""
        service = (f"id=service{number}", "restrict=on", f"net={self.net}", f"dhcpstart={self.address}", *forwards)
        yield from ("-netdev", joined("user", *service))
        yield from ("-netdev", _datagrams(f"way{number}", self.service))
        for end in ("service", "way"):
            hub = (f"id=hub{number}-{end}", f"hubid={number}", f"netdev={end}{number}")
            yield from ("-netdev", joined("hubport", *hub))
        yield from ("-netdev", _datagrams(f"net{number}", self.card))


def _datagrams(name: str, paths: tuple[Path, Path]) -> str:
    here, there = paths
    ends = ("local.type=unix", f"local.path={here}", "remote.type=unix", f"remote.path={there}")
    return joined("dgram", f"id={name}", *ends)


class Slots:
    """Hands out PCI places as libvirt does: a root port of its own for each device, from 00:02.0 on."""

    def __init__(self) -> None:
        self._ports = 0
        self._conventional = 0
        self.controllers: set[str] = set()

    def port(self) -> tuple[list[str], str]:
        """Options for a new root port, and the bus behind it."""
        number = self._ports
        self._ports += 1
        slot, function = FIRST_PORT_SLOT + number // 8, number % 8
        multifunction = "on" if function == 0 else "off"
        options = joined(
            "pcie-root-port",
            f"id=port{number}",
            "bus=pcie.0",
            f"chassis={number + 1}",
            f"addr={slot:#x}.{function:#x}",
            f"multifunction={multifunction}",
        )
        return ["-device", options], f"port{number}"

    def conventional(self) -> tuple[list[str], str]:
        """Options for a place on the one conventional PCI bus, which is made when it is first asked for."""
        options: list[str] = []
        if not self._conventional:
            options, bus = self.port()
            options += ["-device", f"pcie-pci-bridge,id=conventional,bus={bus}"]
        self._conventional += 1
        return options, f"conventional,addr={self._conventional:#x}"

    def once(self, controller: str) -> bool:
        """Whether `controller` is asked for the first time."""
        new = controller not in self.controllers
        self.controllers.add(controller)
        return new


def joined(*parts: str) -> str:
    """QEMU option syntax: a comma inside a value is doubled, so that no value can add an option of its own."""
    first, *rest = parts
    return ",".join([first, *(part.replace(",", ",,") for part in rest)])


def flash(node: str, path: Path, *, read_only: bool) -> str:
    """A block node for a firmware image."""
    return _json({"driver": "raw", "node-name": node, "read-only": read_only, "file": _file(path)})


def networks(
    spec: Mapping[str, Any],
    slots: Slots,
    forward_ports: tuple[int, ...],
    captures: Path | None,
    wires: tuple[Wire, ...],
    not_shown: list[str],
) -> Iterator[str]:
    """Each card on a user-mode network of its own, which lets nothing out: QEMU answers DHCP and forwards the probed
    ports from 127.0.0.1, on host ports that the kernel chooses. With `wires`, one for each card, each is also joined to
    others. What each card sends is captured in the folder `captures`, where one is given."""
    cards = cards_of(spec)
    if cards and not wires:
        not_shown.append("networks: each card is on an isolated network of its own that answers DHCP with 10.0.N.15")
    for number, card in enumerate(cards):
        forwards = [f"hostfwd=tcp:127.0.0.1:0-:{port}" for port in forward_ports]
        if wires:
            wire = wires[number]
            told = "is joined to those that are rehearsed with it, without an uplink; DHCP answers with"
            not_shown.append(f"networks: card {number} {told} {wire.address}")
            yield from wire.netdevs(number, forwards)
            yield from _card(spec, number, {"macAddress": wire.mac, **card}, slots)
        else:
            net = f"net=10.0.{2 + number}.0/24"
            yield from ("-netdev", joined("user", f"id=net{number}", "restrict=on", net, *forwards))
            yield from _card(spec, number, card, slots)
        if captures is not None:
            name = capture_name(number)
            # From QEMU's side of the card: what its network receives is what the guest sends.
            kept = (f"id={name}", f"netdev=net{number}", "queue=rx", f"maxlen={KEPT_BYTES}", f"file={captures / name}")
            yield from ("-object", joined("filter-dump", *kept))


def cards_of(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The network cards that the machine has, in the manifest's order."""
    return [card for card in _devices(spec).get("interfaces") or () if card.get("state") != "absent"]


def _card(spec: Mapping[str, Any], number: int, card: Mapping[str, Any], slots: Slots) -> Iterator[str]:
    model = str(card.get("model") or "virtio")
    if model not in NIC_MODELS:
        raise TargetRefused(
            f"the network card {card.get('name')} asks for the unknown model {model[:40]!r}",
            fix=f"Use one of {', '.join(sorted(NIC_MODELS))}.",
        )
    place, bus = slots.conventional() if model in CONVENTIONAL_NICS else slots.port()
    yield from place
    parts = [NIC_MODELS[model], f"netdev=net{number}"]
    parts += _legacy(spec) if model == "virtio" else []
    parts += [f"mac={card['macAddress']}"] if card.get("macAddress") else []
    # Without a boot order there is nothing to boot from a network, and no boot ROM to wait for.
    parts += [f"bootindex={int(card['bootOrder'])}"] if card.get("bootOrder") else ["romfile="]
    yield from ("-device", f"{joined(*parts)},bus={bus}")


def capture_name(number: int | str) -> str:
    """Of the capture of a card, as QEMU's object and as a file; of all of them for `*`."""
    return f"card{number}.pcap"


def disks(spec: Mapping[str, Any], layers: Mapping[str, Layer], slots: Slots, not_shown: list[str]) -> Iterator[str]:
    """The disks in the manifest's order; one without a boot order anywhere boots first, as in KubeVirt."""
    wanted = list(_devices(spec).get("disks") or ())
    claims = {str(volume.get("name")): _claim(volume) for volume in spec.get("volumes") or ()}
    named = {str(disk.get("name")) for disk in wanted}
    not_shown += [f"volumes[]: {name} has no disk of its own" for name in claims if name not in named]
    ordered = any(thing.get("bootOrder") for thing in [*wanted, *(_devices(spec).get("interfaces") or ())])
    for number, disk in enumerate(wanted):
        name = str(disk.get("name"))
        layer = layers.get(claims.get(name) or "")
        if layer is None and "cdrom" not in disk:
            if claims.get(name):
                raise TargetRefused(f"the disk {name} asks for the claim {claims[name]}, which holds no migrated disk")
            not_shown.append(f"volumes[]: {name} is not a migrated disk")
            continue
        boot = disk.get("bootOrder") or (1 if number == 0 and not ordered else None)
        yield from _disk(spec, number, disk, layer, boot, slots)


def _claim(volume: Mapping[str, Any]) -> str | None:
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
    return claim or (volume.get("dataVolume") or {}).get("name")


def _disk(
    spec: Mapping[str, Any],
    number: int,
    disk: Mapping[str, Any],
    layer: Layer | None,
    boot: int | None,
    slots: Slots,
) -> Iterator[str]:
    kind = next((kind for kind in ("cdrom", "lun", "disk") if kind in disk), "disk")
    shape = disk.get(kind) or {}
    parts = [f"id=disk{number}"]
    if layer is not None:
        read_only = kind == "cdrom" or bool(shape.get("readonly"))
        yield from ("-blockdev", _json(_layered(f"layer{number}", layer, read_only)))
        parts.append(f"drive=layer{number}")
    parts += [f"bootindex={int(boot)}"] if boot else []
    parts += [f"serial={disk['serial']}"] if disk.get("serial") and kind == "disk" else []
    sizes = (disk.get("blockSize") or {}).get("custom") or {}
    parts += [f"{option}={int(sizes[name])}" for name, option in SIZES.items() if name in sizes]
    yield from _on_bus(spec, str(shape.get("bus") or "sata"), kind == "cdrom", parts, slots)


def _on_bus(spec: Mapping[str, Any], bus: str, cdrom: bool, parts: list[str], slots: Slots) -> Iterator[str]:
    medium = "cd" if cdrom else "hd"
    if bus == "virtio":
        place, port = slots.port()
        yield from [*place, "-device", joined("virtio-blk-pci", *parts, *_legacy(spec), f"bus={port}")]
    elif bus == "sata":
        ports = sum(name.startswith("sata") for name in slots.controllers)
        slots.once(f"sata{ports}")
        controller = ports // AHCI_PORTS
        if controller and ports % AHCI_PORTS == 0:
            place, port = slots.port()
            yield from [*place, "-device", f"ahci,id=ahci{controller},bus={port}"]
        where = f"ahci{controller}.{ports % AHCI_PORTS}" if controller else f"ide.{ports}"
        yield from ("-device", joined(f"ide-{medium}", *parts, f"bus={where}"))
    elif bus == "scsi":
        if slots.once("scsi"):
            place, port = slots.port()
            yield from [*place, "-device", joined("virtio-scsi-pci", "id=scsi", *_legacy(spec), f"bus={port}")]
        yield from ("-device", joined(f"scsi-{medium}", *parts, "bus=scsi.0"))
    elif bus == "usb":
        yield from _usb(slots)
        yield from ("-device", joined("usb-storage", *parts, "bus=usb.0"))
    else:
        raise TargetRefused(f"a disk asks for the unknown bus {bus[:40]!r}", fix="Use virtio, sata, scsi or usb.")


def others(spec: Mapping[str, Any], slots: Slots, serial_log: Path, not_shown: list[str]) -> Iterator[str]:
    """The guest agent's channel, console, screen, random numbers, balloon, watchdog and input devices."""
    wanted = _devices(spec)
    place, port = slots.port()
    yield from [*place, "-device", joined("virtio-serial-pci", "id=channels", *_legacy(spec), f"bus={port}")]
    yield from ("-device", "virtserialport,bus=channels.0,chardev=agent,name=org.qemu.guest_agent.0")
    if wanted.get("autoattachSerialConsole") is not False:
        yield from (
            "-chardev",
            joined("file,id=console", f"path={serial_log}"),
            "-device",
            "isa-serial,chardev=console",
        )
    if has_screen(spec):
        video = str((wanted.get("video") or {}).get("type") or "vga")
        if video not in SCREENS:
            raise TargetRefused(f"the screen asks for the unknown type {video[:40]!r}", fix="Use vga or virtio.")
        yield from ("-device", SCREENS[video] if video == "ramfb" else f"{SCREENS[video]},bus=pcie.0,addr=0x1")
    if "rng" in wanted:
        place, port = slots.port()
        yield from [*place, "-device", joined("virtio-rng-pci", *_legacy(spec), f"bus={port}")]
    if wanted.get("autoattachMemBalloon") is not False:
        place, port = slots.port()
        yield from [*place, "-device", joined("virtio-balloon-pci", *_legacy(spec), f"bus={port}")]
    yield from _watchdog(wanted, slots)
    yield from _inputs(spec, slots, not_shown)


def tpm(spec: Mapping[str, Any], socket: Path | None) -> Iterator[str]:
    """A TPM 2.0 behind swtpm's socket, of the model that KubeVirt gives: one that keeps its state is a CRB."""
    if socket is None:
        return
    model = "tpm-crb" if (_devices(spec).get("tpm") or {}).get("persistent") else "tpm-tis"
    yield from ("-chardev", joined("socket,id=tpm", f"path={socket}"))
    yield from ("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", f"{model},tpmdev=tpm0")


def has_screen(spec: Mapping[str, Any]) -> bool:
    """Whether the machine has a screen to take a picture of."""
    return _devices(spec).get("autoattachGraphicsDevice") is not False


def has_console(spec: Mapping[str, Any]) -> bool:
    """Whether the machine has a serial console."""
    return _devices(spec).get("autoattachSerialConsole") is not False


def _watchdog(wanted: Mapping[str, Any], slots: Slots) -> Iterator[str]:
    watchdog = (wanted.get("watchdog") or {}).get("i6300esb")
    if watchdog is None:
        return
    place, bus = slots.conventional()
    yield from [*place, "-device", f"i6300esb,bus={bus}"]
    yield from ("-action", joined(f"watchdog={watchdog.get('action') or 'reset'}"))


def _inputs(spec: Mapping[str, Any], slots: Slots, not_shown: list[str]) -> Iterator[str]:
    for device in _devices(spec).get("inputs") or ():
        if device.get("type") not in {"tablet", "keyboard"}:
            not_shown.append(f"domain.devices.inputs[]: {device.get('name')}")
        elif device.get("bus") == "virtio":
            place, port = slots.port()
            options = joined(f"virtio-{device['type']}-pci", *_legacy(spec), f"bus={port}")
            yield from [*place, "-device", options]
        else:
            yield from _usb(slots)
            yield from ("-device", f"usb-{'kbd' if device['type'] == 'keyboard' else 'tablet'},bus=usb.0")


def _usb(slots: Slots) -> Iterator[str]:
    if slots.once("usb"):
        place, port = slots.port()
        yield from [*place, "-device", f"qemu-xhci,id=usb,bus={port}"]


def _legacy(spec: Mapping[str, Any]) -> list[str]:
    """KubeVirt's virtio devices speak version 1 only, unless the manifest asks for transitional ones."""
    return [f"disable-legacy={'off' if _devices(spec).get('useVirtioTransitional') else 'on'}"]


def _layered(node: str, layer: Layer, read_only: bool) -> dict[str, Any]:
    """Formats and files are named here; what the images' own headers name is not followed."""
    return {
        "driver": "qcow2",
        "node-name": node,
        "read-only": read_only,
        "discard": "unmap",
        "cache": {"no-flush": True},
        "file": {**_file(layer.overlay), "discard": "unmap"},
        "backing": {"driver": "raw", "read-only": True, "file": {**_file(layer.base), "read-only": True}},
    }


def _file(path: Path) -> dict[str, Any]:
    return {"driver": "file", "filename": str(path)}


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _devices(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (spec.get("domain") or {}).get("devices") or {}
    return found
