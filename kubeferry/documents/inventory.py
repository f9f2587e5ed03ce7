"""Inventory: what a source said about its machines. Facts only."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from kubeferry.documents.base import ShortName
from kubeferry.model import Concern, Machine
from kubeferry.shapes import Document


class Inventory(Document):
    """Facts only: what a source said about its machines, and which of them could not be read."""

    KIND: ClassVar[str] = "Inventory"

    kind: Literal["Inventory"] = "Inventory"
    source: ShortName
    source_kind: str
    observed_at: str
    source_version: str = ""
    machines: tuple[Machine, ...] = ()
    unreadable: tuple[Concern, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Inventory:
        seen: set[str] = set()
        for machine in self.machines:
            if machine.name in seen:
                raise ValueError(f"two machines are called {machine.name!r}")
            seen.add(machine.name)
        return self
