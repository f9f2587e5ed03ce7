"""Policy: what the user chooses. Nothing in it is a fact about a source."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from kubeferry.documents.base import Document, ShortName
from kubeferry.documents.offer import AccessMode, VolumeMode
from kubeferry.model import Bytes, Seconds, Value


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


class NetworkMap(Value):
    """One rule from a network of the source (kind and name, `*` matches all) to one of the target."""

    source_kind: str = "*"
    source_name: str = "*"
    target: Literal["pod", "multus", "drop"] = "pod"
    multus_name: str | None = None
    binding: Literal["masquerade", "bridge"] = "masquerade"

    @model_validator(mode="after")
    def _complete(self) -> NetworkMap:
        if self.target == "multus" and not self.multus_name:
            raise ValueError("target multus needs multusName")
        return self


class StopPolicy(Value):
    """How a running source is stopped: by its agent, then by ACPI, then, only if `force` is set, by pulling the plug.

    `last_words` are files that are read through the guest agent just before the machine is stopped.
    """

    agent_seconds: Seconds = 60
    acpi_seconds: Seconds = 120
    force: bool = False
    last_words: tuple[str, ...] = ()


class WarmPolicy(Value):
    """How often a running machine is copied before it is stopped.

    At most `rounds` times; no more when the last round copied `enough_bytes` or less, or more than `gain` times what
    the one before it did.
    """

    rounds: Annotated[int, Field(ge=1, le=100)] = 6
    enough_bytes: Bytes = 64 * 1024**2
    gain: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.8


class Probe(Value):
    """One question to the started target.

    agent: the guest agent answers. http: GET `path` on guest port `port` answers 200 and holds `expect`.
    file: the file `path`, read through the agent, holds `expect`. counter: the number in the file `path` is exactly
    one higher than at the source's last words. serial: `expect` appears on the serial console.
    """

    kind: Literal["agent", "http", "file", "counter", "serial"]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    path: str | None = None
    expect: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 120

    @model_validator(mode="after")
    def _complete(self) -> Probe:
        needs = {
            "agent": (),
            "http": ("port",),
            "file": ("path",),
            "counter": ("path",),
            "serial": ("expect",),
        }[self.kind]
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a probe of kind {self.kind} needs {', '.join(missing)}")
        return self


class MachinePolicy(Value):
    """Choices for one machine; None takes the policy's default."""

    include: bool = True
    name: ShortName | None = None
    namespace: ShortName | None = None
    run_strategy: Literal["Always", "Halted", "Manual", "RerunOnFailure"] | None = None
    disk_bus: Literal["virtio", "sata", "scsi"] | None = None
    nic_model: Literal["virtio", "e1000", "e1000e"] | None = None
    firmware: Literal["bios", "uefi"] | None = None
    timezone: str | None = None
    storage: StoragePolicy | None = None
    networks: tuple[NetworkMap, ...] | None = None
    probes: tuple[Probe, ...] | None = None
    stop: StopPolicy | None = None
    mode: Literal["cold", "warm"] | None = None
    warm: WarmPolicy | None = None
    wave: str | None = None
    after: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    labels: dict[str, str] = {}


class Policy(Document):
    """The user's choices. `machines` overrides by the machine's source name; `accept` settles concerns by id.

    `mode`: `cold` copies a machine after it was stopped; `warm` copies it while it runs, and only what changed since
    after it was stopped. `verify`: after the stop, read back `always` every block, or only those that were `written`
    since the last round that read back every block, which was while the machine ran.
    """

    KIND: ClassVar[str] = "Policy"

    kind: Literal["Policy"] = "Policy"
    namespace: ShortName = "default"
    run_strategy: Literal["Always", "Halted", "Manual", "RerunOnFailure"] = "Manual"
    storage: StoragePolicy = StoragePolicy()
    networks: tuple[NetworkMap, ...] = (NetworkMap(),)
    probes: tuple[Probe, ...] = (Probe(kind="agent"),)
    stop: StopPolicy = StopPolicy()
    mode: Literal["cold", "warm"] = "cold"
    warm: WarmPolicy = WarmPolicy()
    verify: Literal["always", "written"] = "written"
    eviction_strategy: Literal["None", "LiveMigrate", "LiveMigrateIfPossible", "External"] = "LiveMigrateIfPossible"
    legacy_disk_bus: Literal["sata", "virtio"] = "sata"
    labels: dict[str, str] = {}
    machines: dict[str, MachinePolicy] = {}

    def of(self, name: str) -> MachinePolicy:
        """The choices for one machine, empty ones where nothing was said."""
        return self.machines.get(name, MachinePolicy())
