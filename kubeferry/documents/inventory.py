"""Inventory: what a source said about its machines. Facts only."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from kubeferry.documents.base import ShortName
from kubeferry.model import Concern, Machine, Value
from kubeferry.shapes import Document


class MemberFacts(Value):
    """One source of an estate: its kind and version, and when it was asked. Of one that was `away` nothing is known but
    why."""

    name: ShortName
    kind: str
    version: str = ""
    observed_at: str = ""
    away: str | None = None


class Inventory(Document):
    """Facts only: what a source said about its machines, and which of them could not be read. `members` are the sources
    of an estate, None where one source was asked; which of them has a machine, says the machine."""

    KIND: ClassVar[str] = "Inventory"

    kind: Literal["Inventory"] = "Inventory"
    source: ShortName
    source_kind: str
    observed_at: str
    source_version: str = ""
    machines: tuple[Machine, ...] = ()
    unreadable: tuple[Concern, ...] = ()
    members: tuple[MemberFacts, ...] | None = None

    @model_validator(mode="after")
    def _unique(self) -> Inventory:
        seen: set[str] = set()
        for machine in self.machines:
            if machine.name in seen:
                raise ValueError(f"two machines are called {machine.name!r}")
            seen.add(machine.name)
        return self
