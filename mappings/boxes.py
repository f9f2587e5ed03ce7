"""Sets of connections as boxes: a protocol, a range of ports and a network. Taken from one another exactly.

So a filter whose first line that fits decides comes to what it lets through, and a set of that to rules that only let
through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

PORTED = ("tcp", "udp", "sctp")
REST = "rest"
"""Every protocol that is none of these: ICMP, GRE, …"""
PROTOCOLS = (*PORTED, REST)
FIRST, LAST = 1, 65535
ANYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
MOST = 512

Network = IPv4Network | IPv6Network


class TooMany(ValueError):
    """What is left would be more boxes than anybody reads."""


@dataclass(frozen=True, slots=True)
class Box:
    """Connections of one protocol, to ports `first` to `last`, whose other end is in `network`."""

    protocol: str
    first: int
    last: int
    network: Network

    @property
    def every_port(self) -> bool:
        return (self.first, self.last) == (FIRST, LAST)


def everything() -> list[Box]:
    """All connections in one direction."""
    return [Box(protocol, FIRST, LAST, network) for protocol in PROTOCOLS for network in ANYBODY]


def without(boxes: Iterable[Box], cut: Box) -> list[Box]:
    """What is left of the boxes. Raises TooMany."""
    left = [piece for box in boxes for piece in _without(box, cut)]
    if len(left) > MOST:
        raise TooMany(f"more than {MOST} pieces")
    return left


def common(boxes: Iterable[Box], other: Box) -> list[Box]:
    """What the boxes have in common with another one."""
    return [found for box in boxes if (found := _common(box, other)) is not None]


def _common(box: Box, other: Box) -> Box | None:
    first, last = max(box.first, other.first), min(box.last, other.last)
    if box.protocol != other.protocol or first > last or not box.network.overlaps(other.network):
        return None
    smaller = max(box.network, other.network, key=lambda one: one.prefixlen)
    return Box(box.protocol, first, last, smaller)


def _without(box: Box, cut: Box) -> Iterator[Box]:
    both = _common(box, cut)
    if both is None:
        yield box
        return
    if box.network != both.network:
        yield from (replace(box, network=other) for other in _outside(box.network, both.network))
    if box.first < both.first:
        yield replace(box, network=both.network, last=both.first - 1)
    if box.last > both.last:
        yield replace(box, network=both.network, first=both.last + 1)


def _outside(network: Network, inner: Network) -> Iterator[Network]:
    match network, inner:  # of two families nothing is common, so there is nothing outside
        case IPv4Network(), IPv4Network():
            yield from network.address_exclude(inner)
        case IPv6Network(), IPv6Network():
            yield from network.address_exclude(inner)


def joined(networks: Iterable[Network]) -> list[Network]:
    """The same addresses in the fewest networks, in order."""
    listed = set(networks)
    fours = collapse_addresses(one for one in listed if isinstance(one, IPv4Network))
    sixes = collapse_addresses(one for one in listed if isinstance(one, IPv6Network))
    return [*sorted(fours), *sorted(sixes)]
