"""What assessment says of a machine that was read from an export."""

from __future__ import annotations

from kubeferry.documents import Inventory, Policy
from kubeferry.model import Concern, Machine
from mappings.assessment import assess


def concerns_of(machine: Machine) -> dict[str, Concern]:
    inventory = Inventory(source="lab", source_kind="ova", observed_at="2026-01-01T00:00:00Z", machines=(machine,))
    (found,) = assess(inventory, Policy(namespace="migrated"))
    return {one.id: one for one in found.concerns}
