"""The files between the steps. Each is written by one step, and can be read, edited or filtered before the next.

    Config ─ discover ─> Inventory ─┐
                          Policy ───┴─ plan ─> Plan ─ migrate ─> journal ─> report
    control plane <── MoverJob, MoverProgress, MoverResult ──> mover      target ── Observation ──> journal

One module a document, pure shapes all, on `base`: inventory, policy, plan, mover, observation; `settings` is the
configuration, `offer` what a target has to choose from, `outline` a plan without what only its target needs. `files`
reads and writes them, `yaml_text` writes YAML fast. `lines` is the form in which a plan is kept, `readings` keeps large
ones beside their files.
"""

from kubeferry.documents.base import API_VERSION, Document, EnvName, ShortName, digest_of
from kubeferry.documents.files import (
    KINDS,
    dump,
    in_lines,
    json_schema,
    load,
    load_outline,
    outline,
    outline_in,
    parse,
    plan_in,
    save,
)
from kubeferry.documents.inventory import Inventory
from kubeferry.documents.mover import MoverError, MoverJob, MoverProgress, MoverResult
from kubeferry.documents.observation import Observation, ProbeResult
from kubeferry.documents.offer import ClaimSet, Offer, StorageClass
from kubeferry.documents.outline import Outline, OutlinedEntry
from kubeferry.documents.plan import Entry, Plan, PlannedDisk, Wave, freeze
from kubeferry.documents.policy import MachinePolicy, NetworkMap, Policy, Probe, StopPolicy, StoragePolicy, WarmPolicy
from kubeferry.documents.settings import (
    Config,
    JournalConfig,
    Limits,
    MoverSettings,
    SourceConfig,
    SshAccess,
    TargetConfig,
    Toleration,
    VmwareAccess,
)
from kubeferry.documents.yaml_text import to_yaml

__all__ = [
    "API_VERSION",
    "KINDS",
    "ClaimSet",
    "Config",
    "Document",
    "Entry",
    "EnvName",
    "Inventory",
    "JournalConfig",
    "Limits",
    "MachinePolicy",
    "MoverError",
    "MoverJob",
    "MoverProgress",
    "MoverResult",
    "MoverSettings",
    "NetworkMap",
    "Observation",
    "Offer",
    "Outline",
    "OutlinedEntry",
    "Plan",
    "PlannedDisk",
    "Policy",
    "Probe",
    "ProbeResult",
    "ShortName",
    "SourceConfig",
    "SshAccess",
    "StopPolicy",
    "StorageClass",
    "StoragePolicy",
    "TargetConfig",
    "Toleration",
    "VmwareAccess",
    "WarmPolicy",
    "Wave",
    "digest_of",
    "dump",
    "freeze",
    "in_lines",
    "json_schema",
    "load",
    "load_outline",
    "outline",
    "outline_in",
    "parse",
    "plan_in",
    "save",
    "to_yaml",
]
