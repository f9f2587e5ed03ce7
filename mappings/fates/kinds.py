"""The usual kinds of rules: a fact is kept at a place, lost, not needed, the same anyway, or becomes something else."""

from __future__ import annotations

from kubeferry.model import Fate
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict, equal

DISK = "domain.devices.disks[{volume}]"
NIC = "domain.devices.interfaces[{interface}]"
VOLUME = "volumes[{volume}]"


def kept(path: str, *, changed: str = "", lost: str = "") -> Rule:
    """Carried when the manifest has the same value at `path`, changed when another, lost when none."""

    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        place = place_of(path, mapping, leaf)
        found = mapping.find(place)
        if found is None:
            return Fate.LOST, "", lost or "KubeVirt has no field for it"
        same = equal(leaf.value, found)
        return (
            (Fate.CARRIED, place, "") if same else (Fate.CHANGED, place, f"now {found}: {changed}" if changed else "")
        )

    return rule


def lost(reason: str) -> Rule:
    return lambda _mapping, _leaf: (Fate.LOST, "", reason)


def not_needed(reason: str) -> Rule:
    """Of no use at the target: neither the guest nor its owner misses it."""
    return lambda _mapping, _leaf: (Fate.NOT_NEEDED, "", reason)


def same(reason: str) -> Rule:
    """Carried without a field of its own: it holds at the target by the target's nature."""
    return lambda _mapping, _leaf: (Fate.CARRIED, "", reason)


def becomes(path: str, reason: str, *, otherwise: str) -> Rule:
    """Changed into what stands at `path`; lost, for the reason `otherwise`, where nothing does."""

    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        place = place_of(path, mapping, leaf)
        if mapping.find(place) is None:
            return Fate.LOST, "", otherwise
        return Fate.CHANGED, place, reason

    return rule


def switch(on: Rule, off: Rule) -> Rule:
    """One rule for yes, another for no."""
    return lambda mapping, leaf: (on if leaf.value else off)(mapping, leaf)


def place_of(path: str, mapping: Mapping, leaf: Leaf) -> str:
    """A target path with the names that the disk or card of a fact has in the manifest, or with the fact's own key."""
    names = mapping.names
    volume, interface = names.volumes.get(leaf.key, ""), names.interfaces.get(leaf.key, "")
    return path.format(volume=volume, interface=interface, key=leaf.key)
