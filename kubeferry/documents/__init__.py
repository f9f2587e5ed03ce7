"""The files between the steps. Each is written by one step, and can be read, edited or filtered before the next.

    Config ─ discover ─> Inventory ─┐
                          Policy ───┴─ plan ─> Plan ─ migrate ─> journal ─> report
    control plane <── MoverJob, MoverProgress, MoverResult ──> mover      target ── Observation ──> journal

One module a document, pure shapes all, on `base`: inventory, policy, plan, observation; `settings` is the
configuration, `notify` its part that says who is told, `assessment` what would become of a machine, `triage` where it
fits, `disk_choices` what a policy says of single disks, `apps` of what belongs together, `waves_policy` of waves,
`windows` of when sources may be stopped, `repeated` of what is done by a schedule, `cutover_policy` of the time around
a cutover, `hooks` of what is run around it, `traffic_policy` of NetworkPolicies and tenants, `probes` of what is asked
of a started machine, `approvals` who may approve and what is approved, `signers` reads their keys, `offer` what a
target has to choose from, `outline` a plan without what only its target needs, `grid` a table as spreadsheets keep it.
What a mover is told and tells lies apart, in `kubeferry.jobs`: it starts without the rest. `files` reads and writes
documents, `yaml_text` writes YAML fast, `yaml_lines` reads what that has written, `yaml_read` any other. `lines` is the
form in which a plan is kept, `first_reading` makes it of a plan's text, `readings` keeps large ones beside their files,
`earlier` knows in which form earlier versions took a plan's digest.
"""

from kubeferry.documents.approvals import Approval, ApprovalPolicy, ApprovedMachine, Approver, PlannedApproval, text_of
from kubeferry.documents.apps import OF_AN_APP, AppPolicy, AppProbe, AppRehearsal, PlannedApp
from kubeferry.documents.base import EnvName, ShortName, digest_of
from kubeferry.documents.cutover_policy import CommitPolicy, DowntimePolicy
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
from kubeferry.documents.hooks import Hook, HookPhase, PlannedHook
from kubeferry.documents.inventory import Inventory, MemberFacts
from kubeferry.documents.notify import Mail, NoticeKind, NotifyConfig, Webhook
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
    RehearsalPolicy,
    StopPolicy,
    StoragePolicy,
    TypeRef,
    WarmPolicy,
    over,
)
from kubeferry.documents.probes import Probe
from kubeferry.documents.repeated import Repeated
from kubeferry.documents.settings import (
    Config,
    JournalConfig,
    Limits,
    MoverSettings,
    SourceConfig,
    SpreadConfig,
    SshAccess,
    TargetConfig,
    Toleration,
    VmwareAccess,
)
from kubeferry.documents.traffic_policy import SandboxPolicy, TrafficPolicy
from kubeferry.documents.waves_policy import AtMost, Capacity, Kin, StopAfter, WavesPolicy
from kubeferry.documents.windows import ANY, Window
from kubeferry.documents.yaml_text import to_yaml
from kubeferry.jobs import MoverError, MoverJob, MoverProgress, MoverResult
from kubeferry.shapes import Document
from kubeferry.values import API_VERSION

__all__ = [
    "ANY",
    "API_VERSION",
    "KINDS",
    "OF_AN_APP",
    "AppPolicy",
    "AppProbe",
    "AppRehearsal",
    "Approval",
    "ApprovalPolicy",
    "ApprovedMachine",
    "Approver",
    "AtMost",
    "AttachedDisk",
    "Capacity",
    "ClaimSet",
    "CommitPolicy",
    "Companion",
    "Config",
    "DiskChoice",
    "DiskMatch",
    "Document",
    "DowntimePolicy",
    "Entry",
    "EnvName",
    "Hook",
    "HookPhase",
    "Inventory",
    "JournalConfig",
    "KeptTpm",
    "KeptVariables",
    "Kin",
    "Limits",
    "MachinePolicy",
    "Mail",
    "Match",
    "MemberFacts",
    "MoverError",
    "MoverJob",
    "MoverProgress",
    "MoverResult",
    "MoverSettings",
    "NetworkMap",
    "NoticeKind",
    "NotifyConfig",
    "Observation",
    "Offer",
    "OfferedPreference",
    "OfferedType",
    "Outline",
    "OutlinedEntry",
    "Placement",
    "Plan",
    "PlannedApp",
    "PlannedApproval",
    "PlannedDisk",
    "PlannedHook",
    "Platform",
    "Policy",
    "PolicyRule",
    "Probe",
    "ProbeResult",
    "RehearsalPolicy",
    "Repeated",
    "SandboxPolicy",
    "ShortName",
    "SizedBy",
    "SourceConfig",
    "SpreadConfig",
    "SshAccess",
    "StateOffer",
    "StopAfter",
    "StopPolicy",
    "StorageClass",
    "StoragePolicy",
    "TargetConfig",
    "Toleration",
    "TrafficPolicy",
    "TypeRef",
    "VmwareAccess",
    "WarmPolicy",
    "Wave",
    "WavesPolicy",
    "Webhook",
    "Window",
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
