"""What virNWFilter XML lets through, a line for each rule, in the order in which they decide. Pure.

libvirt filters twice: frames on the bridge, and connections. What a rule about frames refuses is refused whatever is
said of connections, so such rules stand first, and of what they mean no more is known than that. libvirt's own guards
against false addresses concern no connection of the machine's own; `clean-traffic` lets IPv4 through beside, and
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kubeferry.errors import InputInvalid
from kubeferry.model import TrafficFilter, TrafficRule
from kubeferry.sources.facts.xml_tree import Node, read_tree
from kubeferry.sources.libvirt.domain.dialect import DOMAIN

MOST_RULES = 1000
DEEPEST = 16
CLEAN = "clean-traffic"
GUARDS = frozenset(
    {
        "no-arp-ip-spoofing",
        "no-arp-mac-spoofing",
        "no-arp-spoofing",
        "no-ip-spoofing",
        "no-ipv6-spoofing",
        "no-mac-broadcast",
        "no-mac-spoofing",
        "qemu-announce-self",
        "qemu-announce-self-rarp",
    }
)
_CONNECTIONS = frozenset({"all", "tcp", "udp", "sctp", "icmp", "igmp", "esp", "ah", "udplite"})
_V6 = {"icmpv6": "icmpv6"} | {f"{one}-ipv6": one for one in _CONNECTIONS - {"icmp", "igmp"}}
_USUAL_PRIORITY = 500
_WAYS = {"in": (True,), "out": (False,), "inout": (True, False)}

Lookup = Callable[[str], str | None]
"""The XML of a filter by its name, None where nobody has it."""


class _Untold(Exception):
    """A filter that another one needs is not there, or they are too many."""


@dataclass(slots=True)
class _Found:
    priority: int
    frames: bool
    rule: TrafficRule


def traffic_filter(name: str, lookup: Lookup) -> TrafficFilter:
    """The filter with the rules of all that it refers to; without any where one of them was not told, or cannot be
    read."""
    try:
        found = list(_rules(name, lookup, 0))
    except (_Untold, InputInvalid):
        return TrafficFilter(name=name, kind="nwfilter")
    found.sort(key=lambda one: (not one.frames, one.priority))
    rules = tuple(one.rule for one in found) if len(found) <= MOST_RULES else None
    return TrafficFilter(name=name, kind="nwfilter", rules=rules)


def _rules(name: str, lookup: Lookup, depth: int) -> Iterator[_Found]:
    if name in GUARDS or name == CLEAN:
        yield from _guards(name)
        return
    xml = lookup(name)
    if xml is None or depth > DEEPEST:
        raise _Untold(name)
    root = read_tree(xml, f"filter {name}", DOMAIN)
    connections = (root.value(".@chain") or "root") == "root"
    for child in root.children:
        if child.tag == "filterref":
            yield from _rules(child.value(".@filter") or "", lookup, depth + 1)
        elif child.tag == "rule":
            yield from _rule(child, connections=connections)


def _guards(name: str) -> Iterator[_Found]:
    """What libvirt's own guards mean for connections of the machine's own."""
    for inward in (True, False) if name == CLEAN else ():
        what = f"everything {'from' if inward else 'to'} ::/0 refused ({name})"
        yield _Found(0, True, TrafficRule(inward=inward, accepts=False, cidr="::/0", line=what))
    guard = TrafficRule(inward=False, beyond="a guard against false addresses", line=name)
    yield _Found(0, True, guard)


def _rule(node: Node, *, connections: bool) -> Iterator[_Found]:
    action, direction = node.value(".@action") or "", node.value(".@direction") or ""
    if action == "continue":
        return
    accepts = action not in {"drop", "reject"}
    priority = _number(node.value(".@priority"))
    kinds: list[Node | None] = [*node.children] or [None]
    for kind in kinds:
        frames = not connections or kind is None or kind.tag not in {*_CONNECTIONS, *_V6}
        for inward in _WAYS.get(direction, (True, False)):
            beyond = _beyond(kind, action, inward=inward, frames=frames, both=direction not in {"in", "out"})
            let = accepts or beyond == _NO_CONNECTION
            yield _Found(priority, frames, _line(kind, inward=inward, accepts=let, beyond=beyond, frames=frames))


def _number(text: str | None) -> int:
    """A priority, which may be negative."""
    try:
        return int(text or _USUAL_PRIORITY)
    except ValueError:
        return _USUAL_PRIORITY


_NO_CONNECTION = "packets of no connection"
"""What a rule may refuse, and no connection misses."""
_ENDS = {True: ("srcipaddr", "srcipmask"), False: ("dstipaddr", "dstipmask")}
_PORTS = ("dstportstart", "dstportend")  # of the end that is called, whoever calls


def _beyond(kind: Node | None, action: str, *, inward: bool, frames: bool, both: bool) -> str | None:
    """What of a rule protocol, ports and addresses do not say; None where they say all of it."""
    if frames or kind is None:
        return f"frames ({kind.tag})" if kind is not None else "frames"
    if action == "return":
        return "a return from the chain"
    said = kind.attributes.keys() - {"comment"}
    if both and said - {"state"}:
        return "one line for both directions"
    return _of_states(kind, action) or _of_fields(kind, said - {"state"}, inward=inward)


def _of_states(kind: Node, action: str) -> str | None:
    state = {one.strip() for one in (kind.attributes.get("state") or "").split(",")} - {""}
    if action in {"drop", "reject"} and state:
        return _NO_CONNECTION if state <= {"INVALID"} else "states of connections"
    return "what connections exist already" if state and "NEW" not in state else None


def _of_fields(kind: Node, said: set[str], *, inward: bool) -> str | None:
    if strange := said - {*_ENDS[inward], *_PORTS}:
        return ", ".join(sorted(strange))
    if variable := next((kind.attributes[key] for key in sorted(said) if kind.attributes[key].startswith("$")), None):
        return f"the variable {variable}"
    wrong = any(not (kind.attributes.get(key) or "0").isdigit() for key in _PORTS)
    return "ports that are not numbers" if wrong else None


def _line(kind: Node | None, *, inward: bool, accepts: bool, beyond: str | None, frames: bool) -> TrafficRule:
    tag = kind.tag if kind is not None and not frames else "all"
    protocol = _V6.get(tag, tag)
    said = kind.attributes if kind is not None and not frames else {}
    first = said.get("dstportstart")
    last = said.get("dstportend") or first
    address, mask = (said.get(key) for key in _ENDS[inward])
    anywhere = ("::/0" if tag in _V6 else "0.0.0.0/0") if not frames else None
    cidr = f"{address}/{mask}" if address and mask else address or anywhere
    ports = "" if first is None else f" {first}" if first == last else f" {first}-{last}"
    words = "frames" if frames else f"{protocol}{ports}"
    ends = f"{'from' if inward else 'to'} {cidr or 'anywhere'}"
    numbers = tuple(int(one) if one is not None and one.isdigit() else None for one in (first, last))
    return TrafficRule(
        inward=inward,
        accepts=accepts,
        protocol=protocol,
        first_port=numbers[0],
        last_port=numbers[1],
        cidr=cidr,
        beyond=beyond,
        line=f"{words} {ends} {'accepted' if accepts else 'refused'}",
    )
