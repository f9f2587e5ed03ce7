"""Networks of machines that are rehearsed together: which cards are on one, and who hears which frame; pure.

Cards that are on one network at the source are on one segment here, with the MAC addresses that they have. A segment
has no uplink. Each card also keeps a user-mode network of QEMU's own, as when it is rehearsed alone: DHCP, and the
ports that lead in for its probes (`restrict=on`: nothing out). That one is heard by its card alone, and hears its card
alone, so that of several of them no machine sees two; each hands out another address, so that no two machines get one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubeferry.documents import Entry
from kubeferry.errors import TargetRefused
from kubeferry.model import Nic
from kubeferry.targets.directory.devices import Wire, cards_of
from kubeferry.targets.directory.qemu import template, virtual_machine

FIRST_HOST, MOST_CARDS, MOST_SEGMENTS = 15, 200, 512
KNOWN_ADDRESSES = 4096
"""So many MAC addresses are remembered; a guest can make up more."""

Network = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Plug:
    """One end of a segment: a network card of a machine, counted from 0, or the user-mode network of that card."""

    machine: str
    card: int
    service: bool = False


def wires_of(entry: Entry, beside: Sequence[Entry], sockets: Path) -> tuple[Wire, ...]:
    """How each card of a machine is joined to those of the machines `beside` it, itself among them; its sockets lie in
    the folder. Raises TargetRefused where they are too many."""
    found: dict[Network, list[tuple[str, int]]] = {}
    for one in beside:
        for number, network in enumerate(_networks(one)):
            found.setdefault(network, []).append((one.target_name, number))
    if len(found) > MOST_SEGMENTS or any(len(cards) > MOST_CARDS for cards in found.values()):
        raise TargetRefused(
            "these machines are too many to be rehearsed together",
            why=f"at most {MOST_SEGMENTS} networks, with {MOST_CARDS} cards each",
            fix="Make smaller apps of them, or set `rehearsal: {together: false}` for their app.",
            machine=entry.name,
        )
    wires: dict[int, Wire] = {}
    for segment, cards in enumerate(found.values()):
        for place, (machine, number) in enumerate(cards):
            if machine == entry.target_name:
                wires[number] = _wire(sockets, machine, number, segment, place)
    return tuple(wires[number] for number in sorted(wires))


def _wire(sockets: Path, machine: str, number: int, segment: int, place: int) -> Wire:
    """The addresses are of a range that is for benchmarks (RFC 2544): hardly a machine has one of its own there."""
    net = f"198.{18 + segment // 256}.{segment % 256}"
    made = hashlib.sha256(f"{machine}/{number}".encode()).digest()
    return Wire(
        segment=segment,
        net=f"{net}.0/24",
        address=f"{net}.{FIRST_HOST + place}",
        mac="52:54:00:" + ":".join(f"{byte:02x}" for byte in made[:3]),
        card=(sockets / f"card{number}", sockets / f"card{number}.far"),
        service=(sockets / f"way{number}", sockets / f"way{number}.far"),
    )


def _networks(entry: Entry) -> Iterator[Network]:
    """The network of each card of a machine: the source's, and where that is not known, the one that the plan puts it
    on."""
    spec = template(virtual_machine(entry.manifests))
    planned = {str(network.get("name")): network for network in spec.get("networks") or ()}
    cards = cards_of(spec)
    for number, card in enumerate(cards):
        nic = _nic(entry.machine.nics, card, number, len(cards))
        if nic is not None and (nic.network_key or nic.network):
            name = nic.network_key or (nic.network_kind, nic.network, nic.portgroup, nic.switch)
            yield "source", entry.machine.source, name, nic.vlans
        else:
            network: Mapping[str, Any] = planned.get(str(card.get("name"))) or {}
            yield "target", (network.get("multus") or {}).get("networkName") or "pod"


def _nic(nics: Sequence[Nic], card: Mapping[str, Any], number: int, count: int) -> Nic | None:
    """The card at the source, by its address, or by its place where each of them is still there."""
    mac = str(card.get("macAddress") or "").lower()
    by_mac = (nic for nic in nics if mac and (nic.mac or "").strip().lower().replace("-", ":") == mac)
    return next(by_mac, nics[number] if not mac and len(nics) == count else None)


@dataclass(slots=True)
class Segments:
    """Who hears which frame. A card hears what is sent to it, to all or to nobody known on its segment, and what its
    own user-mode network sends; that hears its card alone."""

    _segment: dict[Plug, int] = field(default_factory=dict)
    _place: dict[tuple[int, bytes], Plug] = field(default_factory=dict)

    @property
    def plugs(self) -> tuple[Plug, ...]:
        return tuple(self._segment)

    def plug(self, plug: Plug, segment: int) -> None:
        self._segment[plug] = segment

    def unplug(self, machine: str) -> tuple[Plug, ...]:
        """Take out all of a machine; returns what that was."""
        gone = tuple(plug for plug in self._segment if plug.machine == machine)
        for plug in gone:
            del self._segment[plug]
        self._place = {address: plug for address, plug in self._place.items() if plug.machine != machine}
        return gone

    def heard(self, sender: Plug, frame: bytes) -> tuple[Plug, ...]:
        """Who hears a frame of this sender; nobody what is no frame, or comes from one that is not plugged."""
        segment = self._segment.get(sender)
        if segment is None or len(frame) < 14:
            return ()
        card = Plug(sender.machine, sender.card)
        if sender.service:
            return self._there((card,))
        goal, source = frame[:6], frame[6:12]
        if not source[0] & 1 and (len(self._place) < KNOWN_ADDRESSES or (segment, source) in self._place):
            self._place[segment, source] = sender
        known = None if goal[0] & 1 else self._place.get((segment, goal))
        if known is not None:
            return self._there((known,)) if known != sender else ()
        others = (one for one, where in self._segment.items() if where == segment and not one.service and one != sender)
        return (*others, *self._there((Plug(sender.machine, sender.card, service=True),)))

    def _there(self, plugs: Iterable[Plug]) -> tuple[Plug, ...]:
        return tuple(plug for plug in plugs if plug in self._segment)
