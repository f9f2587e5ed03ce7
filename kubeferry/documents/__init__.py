"""The files between the steps. Each is written by one step, and can be read, edited or filtered before the next.

    Config ─ discover ─> Inventory ─┐
                          Policy ───┴─ plan ─> Plan ─ migrate ─> journal ─> report
    control plane <── MoverJob, MoverProgress, MoverResult ──> mover      target ── Observation ──> journal

One module a document, pure shapes all, on `base`: inventory, policy, plan, observation; `settings` is the
configuration, `disk_choices` what a policy says of single disks, `approvals` who may approve and what is approved,
`signers` reads their keys, `offer` what a target has to choose from, `outline` a
plan without what only its target needs. What a mover is told and tells lies apart, in `kubeferry.jobs`: it starts
without the rest. `files` reads and writes documents, `yaml_text` writes YAML fast, `yaml_lines` reads what that has
written, `yaml_read` any other. `lines` is the form in which a plan is kept, `first_reading` makes it of a plan's text,
`readings` keeps large ones beside their files, `earlier` knows in which form earlier versions took a plan's digest.
"""

from kubeferry.documents.approvals import Approval, ApprovalPolicy, ApprovedMachine, Approver, PlannedApproval, text_of
from kubeferry.documents.base import EnvName, ShortName, digest_of
from kubeferry.documents.disk_choices import DiskChoice, DiskMatch
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
from kubeferry.documents.observation import Observation, ProbeResult
from kubeferry.documents.offer import (
    ClaimSet,
    Offer,
    OfferedPreference,
    OfferedType,
    Platform,
    StateOffer,
    StorageClass,
)
from kubeferry.documents.outline import Outline, OutlinedEntry
from kubeferry.documents.plan import (
    AttachedDisk,
    Companion,
    Entry,
    KeptTpm,
    KeptVariables,
    Plan,
    PlannedDisk,
    SizedBy,
    Wave,
    freeze,
)
from kubeferry.documents.policy import (
    MachinePolicy,
    Match,
    NetworkMap,
    Placement,
    Policy,
    PolicyRule,
    Probe,
    RehearsalPolicy,
    StopAfter,
    StopPolicy,
    StoragePolicy,
    TypeRef,
    WarmPolicy,
    WavesPolicy,
    over,
)
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
from kubeferry.jobs import MoverError, MoverJob, MoverProgress, MoverResult
from kubeferry.shapes import Document
from kubeferry.values import API_VERSION

__all__ = [
    "API_VERSION",
    "KINDS",
    "Approval",
    "ApprovalPolicy",
    "ApprovedMachine",
    "Approver",
    "AttachedDisk",
    "ClaimSet",
    "Companion",
    "Config",
    "DiskChoice",
    "DiskMatch",
    "Document",
    "Entry",
    "EnvName",
    "Inventory",
    "JournalConfig",
    "KeptTpm",
    "KeptVariables",
    "Limits",
    "MachinePolicy",
    "Match",
    "MoverError",
    "MoverJob",
    "MoverProgress",
    "MoverResult",
    "MoverSettings",
    "NetworkMap",
    "Observation",
    "Offer",
    "OfferedPreference",
    "OfferedType",
    "Outline",
    "OutlinedEntry",
    "Placement",
    "Plan",
    "PlannedApproval",
    "PlannedDisk",
    "Platform",
    "Policy",
    "PolicyRule",
    "Probe",
    "ProbeResult",
    "RehearsalPolicy",
    "ShortName",
    "SizedBy",
    "SourceConfig",
    "SshAccess",
    "StateOffer",
    "StopAfter",
    "StopPolicy",
    "StorageClass",
    "StoragePolicy",
    "TargetConfig",
    "Toleration",
    "TypeRef",
    "VmwareAccess",
    "WarmPolicy",
    "Wave",
    "WavesPolicy",
    "digest_of",
    "dump",
    "freeze",
    "in_lines",
    "json_schema",
    "load",
    "load_outline",
    "outline",
    "outline_in",
    "over",
    "parse",
    "plan_in",
    "save",
    "text_of",
    "to_yaml",
]
