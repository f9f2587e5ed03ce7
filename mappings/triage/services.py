"""On which ports a machine serves others, as far as filters of its cards say."""

from __future__ import annotations

from dataclasses import dataclass

from kubeferry.model import Machine, TrafficRule

# By which people and tools administer a machine, whatever it serves.
_TO_ADMINISTER = frozenset({22, 161, 3389, 5985, 5986, 9100, 10050})
_PORTED = frozenset({"tcp", "udp", "sctp"})


@dataclass(frozen=True, slots=True)
class Service:
    """A port, and the line of a filter that opens it."""

    protocol: str
    port: int
    line: str
    where: str


def services(machine: Machine) -> tuple[Service, ...] | None:
    """The ports that filters open to others, those for administration left out; None where the source does not tell
    them, or where they open more than single ports."""
    if not machine.nics or not all(nic.filters for nic in machine.nics):
        return None
    found: dict[tuple[str, int], Service] = {}
    for nic in machine.nics:
        for one in nic.filters or ():
            if one.rules is None or one.kind != "security-group":
                return None
            for rule in one.rules:
                if rule.inward and (rule.protocol == "all" or rule.protocol in _PORTED):
                    if (port := _single(rule)) is None:
                        return None
                    if port not in _TO_ADMINISTER:
                        where = f"nics[{nic.id}].filters[{one.name}]"
                        found.setdefault((rule.protocol, port), Service(rule.protocol, port, rule.line, where))
    return tuple(found.values())


def _single(rule: TrafficRule) -> int | None:
    return rule.first_port if rule.first_port is not None and rule.first_port == rule.last_port else None
