"""Outline: a plan as far as one asks where its machines stand, without what takes most of its memory.

It has no manifests, and no other document is made from it: what is applied comes from the whole plan only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from kubeferry.documents.approvals import PlannedApproval
from kubeferry.documents.apps import AppProbe, PlannedApp
from kubeferry.documents.cutover_policy import CommitPolicy, DowntimePolicy
from kubeferry.documents.hooks import PlannedHook
from kubeferry.documents.plan import Companion, PlannedDisk, Wave
from kubeferry.documents.policy import RehearsalPolicy, WarmPolicy
from kubeferry.documents.waves_policy import WavesPolicy
from kubeferry.documents.windows import Window
from kubeferry.model import Power


class _Part(BaseModel):
    """Of a document that was checked whole before: what is not asked for is skipped, and never becomes an object."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class _Spec(_Part):
    run_strategy: str = ""
    storage_class_name: str | None = None


class _Manifest(_Part):
    spec: _Spec = _Spec()


class OutlinedDisk(_Part):
    """How much of a disk holds data, as far as its source tells."""

    id: str
    allocated_bytes: int | None = None


class _Place(_Part):
    host: str = ""


class OutlinedMachine(_Part):
    """Which machine of its source it is and on which host, whether it ran when it was discovered, and how large its
    disks are."""

    id: str
    source: str
    power: Power = Power.UNKNOWN
    disks: tuple[OutlinedDisk, ...] = ()
    metadata: _Place = _Place()


class OutlinedEntry(_Part):
    """An entry without manifests and fates; `halted` is read off them."""

    name: str
    target_name: str
    namespace: str
    machine: OutlinedMachine
    disks: tuple[PlannedDisk, ...]
    mode: Literal["cold", "warm"] = "cold"
    warm: WarmPolicy = WarmPolicy()
    verify: Literal["always", "written"] = "written"
    moves_with: tuple[Companion, ...] | None = None
    after: tuple[str, ...] | None = None
    window: str | None = None
    downtime: DowntimePolicy | None = None
    commit: CommitPolicy | None = None
    app: str | None = None
    app_probes: tuple[AppProbe, ...] | None = None
    owner: str | None = None
    rehearsal: RehearsalPolicy | None = None
    hooks: tuple[PlannedHook, ...] | None = None
    manifests: tuple[_Manifest, ...]

    @property
    def halted(self) -> bool:
        """Whether it is started for its proof only, and then stays off."""
        return any(manifest.spec.run_strategy == "Halted" for manifest in self.manifests)


class Outline(_Part):
    """A frozen plan's order, names and disks."""

    api_version: str
    name: str
    created_at: str
    source: str
    waves: tuple[Wave, ...]
    order: WavesPolicy | None = None
    windows: dict[str, Window] | None = None
    apps: tuple[PlannedApp, ...] | None = None
    approval: PlannedApproval | None = None
    entries: tuple[OutlinedEntry, ...]
    excluded: dict[str, str] = {}
    digest: str
