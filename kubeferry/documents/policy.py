"""Policy: what the user chooses. Nothing in it is a fact about a source."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from kubeferry.documents.approvals import ApprovalPolicy, Approvers
from kubeferry.documents.apps import AppName, AppPolicy
from kubeferry.documents.base import ShortName
from kubeferry.documents.cutover_policy import CommitPolicy, DowntimePolicy
from kubeferry.documents.disk_choices import DiskChoice
from kubeferry.documents.hooks import Hook, check_names
from kubeferry.documents.offer import AccessMode, VolumeMode
from kubeferry.documents.probes import Probe
from kubeferry.documents.repeated import Repeated
from kubeferry.documents.traffic_policy import SandboxPolicy, TrafficPolicy
from kubeferry.documents.waves_policy import WavesPolicy
from kubeferry.documents.windows import ANY, Window
from kubeferry.model import Bytes, Seconds, Value
from kubeferry.shapes import Document


class StoragePolicy(Value):
    """Where disks go. What is None is as the cluster says: its default class, and that class's profile and overhead.

    Where no cluster is asked, None is ReadWriteOnce, Filesystem and an overhead of 0.06, and the class stays open.
    An empty `storage_class` asks for volumes that have none.
    """

    storage_class: str | None = None
    access_mode: AccessMode | None = None
    volume_mode: VolumeMode | None = None
    filesystem_overhead: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = None
    data_volumes: bool = False


G = TypeVar("G", bound=Value)


def over(before: G, said: G | None) -> G:
    """A group of choices with what was said later: what that does not say is as before."""
    if said is None:
        return before
    return before.model_copy(update={name: getattr(said, name) for name in said.model_fields_set})


class NetworkMap(Value):
    """One rule from a network of the source to one of the target; `*` matches all.

    A rule is for networks by kind and name, or for single cards by their id or MAC address. Where several networks have
    one name, `source_switch`, `source_vlan` and `source_key` (what the source knows it by, such as `dvportgroup-31`)
    tell them apart; a trunk has each of its tags. `binding` is how the card is joined to the pod network; on a multus
    network it is bridged, or `sriov`. `binding_plugin` names one of the cluster's own in its place (such as l2bridge or
    passt). `mac`: the card keeps its address, or gets a new one.
    """

    source_kind: str = "*"
    source_name: str = "*"
    source_switch: str | None = None
    source_vlan: Annotated[int, Field(ge=1, le=4094)] | None = None
    source_key: str | None = None
    source_card: str = "*"
    source_mac: str = "*"
    target: Literal["pod", "multus", "drop"] = "pod"
    multus_name: str | None = None
    binding: Literal["masquerade", "bridge", "sriov"] = "masquerade"
    binding_plugin: ShortName | None = None
    mac: Literal["keep", "new"] = "keep"

    @model_validator(mode="after")
    def _complete(self) -> NetworkMap:
        if self.target == "multus" and not self.multus_name:
            raise ValueError("target multus needs multusName")
        if self.binding == "sriov" and self.target == "pod":
            raise ValueError("binding sriov needs target multus: the pod network has no such devices")
        return self


UnitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.\\@-]{1,255}$")]
"""A unit's name as systemd takes it (systemd.unit(5))."""


class StopPolicy(Value):
    """How a running source is stopped: by its agent, then by ACPI, then, only if `force` is set, by pulling the plug.

    `last_words` are files that are read through the guest agent just before the machine is stopped. `services` are
    systemd's units whose state is asked through it then, and again of the copy. `scaling_group`: what is done about an
    Auto Scaling group of EC2's that the machine is in: it is refused (the default), or detached before its stop, and
    attached again by a rollback.
    """

    agent_seconds: Seconds = 60
    acpi_seconds: Seconds = 120
    force: bool = False
    last_words: tuple[str, ...] = ()
    services: tuple[UnitName, ...] | None = None
    scaling_group: Literal["refuse", "detach"] | None = None

    @property
    def detaches(self) -> bool:
        """Whether a machine is taken out of its Auto Scaling group."""
        return self.scaling_group == "detach"


class WarmPolicy(Value):
    """How often a running machine is copied before it is stopped.

    At most `rounds` times; no more when the last round copied `enough_bytes` or less, or more than `gain` times what
    the one before it did.
    """

    rounds: Annotated[int, Field(ge=1, le=100)] = 6
    enough_bytes: Bytes = 64 * 1024**2
    gain: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.8


class RehearsalPolicy(Value):
    """Whether a machine's synced copy is started for itself, isolated, before its source may be stopped.

    `required`: no cutover without a rehearsal that passed, of a round that is no older than `max_age_seconds` (None: of
    any). `each_round`: every `precopy` rehearses the round that it has made.
    """

    required: bool = False
    max_age_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    each_round: bool = False


class Placement(Value):
    """Where in the cluster a machine may run, and what it is guaranteed there: KubeVirt's and Kubernetes' own words.

    `dedicated_cpus` gives it processors of its own. `requests` and `limits` are those of its pod; None leaves what
    KubeVirt takes by itself.
    """

    node_selector: dict[str, str] = {}
    affinity: dict[str, Any] | None = None
    tolerations: tuple[dict[str, Any], ...] = ()
    priority_class: str | None = None
    dedicated_cpus: bool = False
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class TypeRef(Value):
    """An instance type or a preference: one of the whole cluster's, or of the machine's namespace."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
    kind: Literal["cluster", "namespaced"] = "cluster"


class MachinePolicy(Value):
    """Choices for one machine; None takes the policy's default.

    `name_template` makes its name of `{name}`, `{source}`, `{folder}` (the last part of its folder) and `{tag:KEY}`.
    The same words stand in `namespace_template`, and in `labels_from` and `annotations_from`, which make labels and
    annotations, by their keys: one whose words say nothing of a machine is left out. `instancetype` gives it processors
    and memory in the place of its own, `preference` fills in what is left open. `patch` changes the finished
    VirtualMachine: a JSON merge patch (RFC 7396), or a list of operations (RFC 6902), for what no other field here can
    say.

    `virtio_transitional`: devices that speak virtio 0.9 to guests that know no other; None decides by what is known of
    the system. `acpi_index`: the firmware numbers the network cards, so that guests call them `eno1`, `eno2`, ….
    `keep_variables`: UEFI variables go with the machine, where source and target can; false leaves them behind.
    `keep_tpm`: so does what its TPM holds. `window`: it is stopped in this one of the policy's `windows`, or at `any`
    time.

    `network` says whether filters of the source become NetworkPolicies, `sandbox` who it belongs to. `hooks` are run at
    fixed points of its cutover.

    `app` is the application that it belongs to, one of the policy's `apps` or one that has no more than a name, and
    `app_from` makes that name of the same words as above; empty takes the machine out of any. `owner` answers for it.
    `after` names machines, and apps as `app:NAME`.
    """

    include: bool = True
    name: ShortName | None = None
    name_template: str | None = None
    namespace: ShortName | None = None
    namespace_template: str | None = None
    run_strategy: Literal["Always", "Halted", "Manual", "RerunOnFailure"] | None = None
    eviction_strategy: Literal["None", "LiveMigrate", "LiveMigrateIfPossible", "External"] | None = None
    grace_seconds: Annotated[int, Field(ge=0, le=86400)] | None = None
    placement: Placement | None = None
    instancetype: TypeRef | None = None
    preference: TypeRef | None = None
    disk_bus: Literal["virtio", "sata", "scsi"] | None = None
    nic_model: Literal["virtio", "e1000", "e1000e"] | None = None
    virtio_transitional: bool | None = None
    acpi_index: bool | None = None
    firmware: Literal["bios", "uefi"] | None = None
    keep_variables: bool | None = None
    keep_tpm: bool | None = None
    timezone: str | None = None
    storage: StoragePolicy | None = None
    disks: tuple[DiskChoice, ...] = ()
    networks: tuple[NetworkMap, ...] | None = None
    probes: tuple[Probe, ...] | None = None
    hooks: tuple[Hook, ...] | None = None
    stop: StopPolicy | None = None
    mode: Literal["cold", "warm"] | None = None
    warm: WarmPolicy | None = None
    downtime: DowntimePolicy | None = None
    commit: CommitPolicy | None = None
    rehearsal: RehearsalPolicy | None = None
    network: TrafficPolicy | None = None
    sandbox: SandboxPolicy | None = None
    wave: str | None = None
    window: str | None = None
    app: AppName | None = None
    app_from: str | None = None
    owner: str | None = None
    after: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    labels_from: dict[str, str] = {}
    annotations_from: dict[str, str] = {}
    patch: tuple[dict[str, Any], ...] = ()

    @field_validator("patch", mode="before")
    @classmethod
    def _as_list(cls, given: Any) -> Any:
        """A single merge patch is a list of one."""
        return (given,) if isinstance(given, dict) else given

    @field_validator("hooks")
    @classmethod
    def _apart(cls, given: tuple[Hook, ...] | None) -> tuple[Hook, ...] | None:
        check_names(given)
        return given


class Match(Value):
    """Which machines a rule is for: all that is said must fit. Patterns are shell's (`*`, `?`, `[ab]`), in any case.

    `os` fits the system's id or name, and `windows` fits whatever is known to be one. `network` fits the network or
    port group of any card; `folder` and `tags` fit what the source's own people wrote: folders of vSphere, tags and
    custom attributes of vSphere, tags of EC2, metadata of a domain. `labels` are those that the policy gives: of all
    machines, by rules before this one, by the machine's own choice.
    """

    name: str | None = None
    source: str | None = None
    folder: str | None = None
    os: str | None = None
    network: str | None = None
    tags: dict[str, str] = {}
    labels: dict[str, str] = {}


class PolicyRule(MachinePolicy):
    """Choices for every machine that `match` fits."""

    match: Match

    @model_validator(mode="after")
    def _for_many(self) -> PolicyRule:
        if self.name is not None:
            raise ValueError("a rule is for many machines, which cannot share a name: use nameTemplate")
        return self


class Policy(Document):
    """The user's choices. `accept` settles concerns by id.

    `rules` are read from top to bottom, and what a later one says takes the place of what an earlier one said;
    `machines`, by the machine's name at the source, has the last word. Labels, annotations, accepted concerns, machines
    that come before, and patches add up. So do choices for `disks`: of each disk and field the last word counts; and
    the fields of `placement`, `rehearsal`, `storage`, `stop`, `warm`, `downtime`, `commit`, `network` and `sandbox`. Of
    `networks` those of a later rule are looked at first, then those of earlier ones, then the policy's own where it
    says some.

    `network`: None writes no NetworkPolicies. `sandbox`: None says nothing of tenants.

    `hooks` are run at fixed points of a machine's cutover; of those that several say the last word counts, whole.

    `downtime` and `commit`: None bounds no downtime, and commits a machine as soon as its probes have passed.

    `run_strategy` is what a machine has from its commit on; before that it runs only while it is proven, and is started
    by nobody else. None follows the source: `Always` for one that runs there, `Halted` for one that is off.

    `mode`: `cold` copies a machine after it was stopped; `warm` copies it while it runs, and only what changed since
    after it was stopped. `verify`: after the stop, read back `always` every block, or only those that were `written`
    since the last round that read back every block, which was while the machine ran.

    `legacy_disk_bus` is where disks go whose bus KubeVirt has not. Said by nobody, it is virtio for what was made for a
    cloud and is no Windows, whose kernel may have no other driver.

    `apps` are machines that belong together, by the app's name: they move in one wave.

    `approval`: no machine is cut over before persons have approved it, of those in `approvers`: a list, or an ALLOWED
    SIGNERS file of ssh-keygen(1) as text. None asks for no approval.

    `kubevirt` is the version that manifests are made for where no cluster is asked; one that is asked tells its own.
    None: the newest.

    `windows` are the times in which sources may be stopped, by name, and `window` is that of all machines for which
    nothing else is said. None: at any time.

    `precopy` is how often `kubeferry deploy` has running machines copied ahead, of those that move warm.
    """

    KIND: ClassVar[str] = "Policy"

    kind: Literal["Policy"] = "Policy"
    namespace: ShortName = "default"
    run_strategy: Literal["Always", "Halted", "Manual", "RerunOnFailure"] | None = None
    storage: StoragePolicy = StoragePolicy()
    networks: tuple[NetworkMap, ...] = (NetworkMap(),)
    probes: tuple[Probe, ...] = (Probe(kind="agent"),)
    hooks: tuple[Hook, ...] | None = None
    stop: StopPolicy = StopPolicy()
    mode: Literal["cold", "warm"] = "cold"
    warm: WarmPolicy = WarmPolicy()
    downtime: DowntimePolicy | None = None
    commit: CommitPolicy | None = None
    rehearsal: RehearsalPolicy | None = None
    network: TrafficPolicy | None = None
    sandbox: SandboxPolicy | None = None
    verify: Literal["always", "written"] = "written"
    waves: WavesPolicy = WavesPolicy()
    windows: dict[ShortName, Window] | None = None
    window: str | None = None
    apps: dict[ShortName, AppPolicy] | None = None
    precopy: Repeated | None = None
    approval: ApprovalPolicy | None = None
    approvers: Approvers | None = None
    eviction_strategy: Literal["None", "LiveMigrate", "LiveMigrateIfPossible", "External"] = "LiveMigrateIfPossible"
    legacy_disk_bus: Literal["sata", "virtio"] = "sata"
    acpi_index: bool = False
    kubevirt: Literal["1.5", "1.6", "1.7", "1.8", "1.9"] | None = None
    labels: dict[str, str] = {}
    rules: tuple[PolicyRule, ...] = ()
    machines: dict[str, MachinePolicy] = {}

    @model_validator(mode="after")
    def _names(self) -> Policy:
        if ANY in (self.windows or {}):
            raise ValueError(f"a window cannot be called {ANY}: that is at any time")
        check_names(self.hooks)
        return self

    def of(self, name: str) -> MachinePolicy:
        """The choices for one machine, empty ones where nothing was said."""
        return self.machines.get(name, MachinePolicy())
