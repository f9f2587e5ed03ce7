"""Kubernetes names from any source name: legal, the same every time, and different for different things.

A legal name stays as it is. A name that had to be changed ends in a short hash of the original, so that it depends on
nothing but the original: machines that appear later do not rename the ones that were planned before.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from kubeferry.documents import Policy
from kubeferry.model import Machine

LIMIT = 63
DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_HASH_DIGITS = 6

# Letters that Unicode does not take apart into a Latin letter and an accent, and those that have a usual spelling.
_SPELLINGS = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "ß": "ss",
        "æ": "ae",
        "ø": "oe",
        "å": "aa",
        "œ": "oe",
        "ł": "l",
        "đ": "d",
        "ð": "d",
    }
    | {"þ": "th", "&": "-and-", "+": "-plus-", "@": "-at-"}
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one machine at the target; volumes and claims by disk id, interfaces by NIC id."""

    machine: str
    volumes: dict[str, str] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    interfaces: dict[str, str] = field(default_factory=dict)


def is_dns_label(text: str) -> bool:
    return DNS_LABEL.fullmatch(text) is not None


def dns_label(text: str, taken: Container[str] = ()) -> str:
    """A DNS label of at most 63 characters for `text`, none of those in `taken`.

    `text` itself when it is one already and free; else its legal part and a hash of the whole `text`.
    """
    if is_dns_label(text) and text not in taken:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    stem = _latin(text)
    for digits in range(_HASH_DIGITS, len(digest)):
        suffix = digest[:digits]
        name = f"{stem[: LIMIT - 1 - digits].rstrip('-')}-{suffix}".lstrip("-")
        if name not in taken:
            return name
    raise AssertionError("more names are taken than a hash has lengths")


def _latin(text: str) -> str:
    """The letters, digits and hyphens that are left of a text; may be empty."""
    spelled = unicodedata.normalize("NFC", text).lower().translate(_SPELLINGS)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def machine_names(machines: Iterable[Machine], policy: Policy) -> dict[str, Names]:
    """The names of all machines, by source name: no two machines and no two claims of one namespace share one.

    Names that the policy gives are taken as they are; that two of them are equal is for the plan to refuse.
    """
    listed = sorted(machines, key=lambda machine: machine.name)
    targets = _targets(listed, policy)
    claims: dict[str, set[str]] = {}
    found: dict[str, Names] = {}
    for machine in listed:
        namespace = policy.of(machine.name).namespace or policy.namespace
        found[machine.name] = _names(machine, targets[machine.name], claims.setdefault(namespace, set()))
    return found


def _targets(machines: list[Machine], policy: Policy) -> dict[str, str]:
    given = {machine.name: policy.of(machine.name).name for machine in machines}
    targets = {source: name for source, name in given.items() if name}
    open_names = [machine.name for machine in machines if not given[machine.name]]
    taken = set(targets.values())
    # Legal names first: the one that can stay as it is must not be pushed aside by a changed one.
    for source in sorted(open_names, key=lambda name: (not is_dns_label(name), name)):
        targets[source] = dns_label(source, taken)
        taken.add(targets[source])
    return targets


def _names(machine: Machine, target: str, claims: set[str]) -> Names:
    volumes: dict[str, str] = {}
    claimed: dict[str, str] = {}
    interfaces: dict[str, str] = {}
    for disk in machine.disks:
        volumes[disk.id] = dns_label(disk.id, volumes.values())
    for disk in machine.data_disks:
        claimed[disk.id] = dns_label(f"{target}-{volumes[disk.id]}", claims)
        claims.add(claimed[disk.id])
    for nic in machine.nics:
        interfaces[nic.id] = dns_label(nic.id, interfaces.values())
    return Names(target, volumes, claimed, interfaces)
