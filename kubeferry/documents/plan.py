"""Plan: every decision, the manifests included, frozen by a digest."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from kubeferry.documents.base import ShortName, digest_of
from kubeferry.documents.earlier import digests_of
from kubeferry.documents.policy import Probe, StopPolicy, WarmPolicy
from kubeferry.model import Bytes, Carried, Concern, Machine, Value
from kubeferry.values import Document


class PlannedDisk(Value):
    """One disk and its claim. `size_bytes` is the guest's disk, `claim_bytes` what the claim asks for."""

    disk: str
    claim: ShortName
    volume: ShortName
    size_bytes: Bytes
    claim_bytes: Bytes
    volume_mode: Literal["Block", "Filesystem"] = "Filesystem"


class Entry(Value):
    """Everything that is decided about one machine. `manifests` are applied as they stand here; steps never map."""

    name: str
    target_name: ShortName
    namespace: ShortName
    machine: Machine
    disks: tuple[PlannedDisk, ...]
    manifests: tuple[dict[str, Any], ...]
    probes: tuple[Probe, ...] = ()
    stop: StopPolicy = StopPolicy()
    mode: Literal["cold", "warm"] = "cold"
    warm: WarmPolicy = WarmPolicy()
    verify: Literal["always", "written"] = "written"
    concerns: tuple[Concern, ...] = ()
    carried: tuple[Carried, ...] = ()


class Wave(Value):
    name: ShortName
    machines: tuple[str, ...]


class Plan(Document):
    """What will be done, frozen by `digest` (SHA-256 of the plan without it): what was reviewed is what is applied."""

    KIND: ClassVar[str] = "Plan"

    kind: Literal["Plan"] = "Plan"
    name: ShortName
    created_at: str
    source: ShortName
    source_version: str = ""
    inventory_digest: str
    waves: tuple[Wave, ...]
    entries: tuple[Entry, ...]
    excluded: dict[str, str] = {}
    digest: str = ""

    @model_validator(mode="after")
    def _coherent(self) -> Plan:
        names = [entry.name for entry in self.entries]
        waved = [name for wave in self.waves for name in wave.machines]
        if len(set(names)) != len(names):
            raise ValueError("a machine stands in the plan twice")
        if sorted(waved) != sorted(names):
            raise ValueError("the waves do not hold each machine exactly once")
        return self

    def entry(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(name)


def freeze(plan: Plan) -> Plan:
    """The plan with its digest set."""
    return plan.model_copy(update={"digest": digest_of(plan, without=("digest",))})


def is_whole(plan: Plan) -> bool:
    """Whether the plan is as it was when its digest was set, by this version or by an earlier one that did not know
    some of its fields."""
    return plan.digest == digest_of(plan, without=("digest",)) or plan.digest in digests_of(plan, without=("digest",))
