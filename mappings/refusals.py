"""What a cluster would say to one machine's manifests, as concerns of that machine: it stays, and the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeferry.documents import Platform
from kubeferry.model import Concern
from mappings.admission.check import check_all
from mappings.machine import Mapped
from mappings.rules.rule import CRITICAL, is_blocked

REFUSED = "manifest.refused"
"""The concern of a machine of which a cluster would refuse a manifest."""


def all_concerns(
    mapped: Mapping[str, Mapped], name: str, shared: tuple[Concern, ...], platform: Platform | None
) -> tuple[Concern, ...]:
    """All that speaks against a machine, `shared` being what it has in common with others; what a cluster of this
    platform (None is the newest) would refuse only where nothing else does."""
    concerns = mapped[name].concerns + shared
    if is_blocked(concerns):
        return concerns
    manifests = (*mapped[name].manifests, *_carried_by_others(mapped[name], mapped))
    return concerns + tuple(
        Concern(id=REFUSED, severity=CRITICAL, what=f"{one.where}: {one.what}.", fix=one.fix)
        for one in check_all(manifests, platform)
    )


def _carried_by_others(mapped: Mapped, of_all: Mapping[str, Mapped]) -> tuple[dict[str, Any], ...]:
    """The claims of disks that others of the set carry."""
    wanted = {(disk.carrier, disk.claim) for disk in mapped.attached}
    return tuple(
        manifest
        for carrier in dict.fromkeys(disk.carrier for disk in mapped.attached)
        for manifest in of_all[carrier].manifests
        if manifest["kind"] != "VirtualMachine" and (carrier, manifest["metadata"]["name"]) in wanted
    )
