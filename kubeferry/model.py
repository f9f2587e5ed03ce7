"""The nouns of kubeferry: frozen values without behaviour, shared by sources, mappings, target and reports.

    Machine ─┬─ Firmware, Cpu, Memory, Clock, Tpm, Watchdog, Guest
             ├─ Disk ── ChainLink…        (the top of a chain first, as the hypervisor names it)
             ├─ Nic
             ├─ Device…                   (everything else that a machine has: graphics, controllers, host devices)
             └─ SourceFact…               (what the source said and this model has no word for)

"Unknown" is a value: `None` where a source did not say, the word `unknown` in closed lists. Nothing is guessed.
Sizes are bytes, times are seconds, unless a field's name says otherwise.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from kubeferry.shapes import Value
from kubeferry.values import Bytes, DiskRef, Seconds  # noqa: F401 (they are of the model, too)


class Power(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"
    CRASHED = "crashed"
    UNKNOWN = "unknown"


UP = frozenset({Power.RUNNING, Power.PAUSED})
"""The states of a machine that is not off: it runs, or goes on from its memory."""


class FirmwareKind(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"
    UNKNOWN = "unknown"


class Firmware(Value):
    """How the machine boots. `nvram` is the path of its UEFI variables at the source, or the call that asks for them,
    `nvram_format` the form of that (raw where nothing is told)."""

    kind: FirmwareKind = FirmwareKind.UNKNOWN
    secure_boot: bool | None = None
    loader: str | None = None
    nvram: str | None = None
    nvram_format: str | None = None
    boot_order: tuple[str, ...] = ()
    boot_menu: bool | None = None


class CpuFeature(Value):
    name: str
    policy: str


class NumaCell(Value):
    cell: int
    cpus: str
    memory_bytes: Bytes | None = None


class Cpu(Value):
    """`vcpus` are those switched on; `max_vcpus` what the topology has room for."""

    vcpus: Annotated[int, Field(ge=1)]
    max_vcpus: int | None = None
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    mode: str | None = None
    model: str | None = None
    features: tuple[CpuFeature, ...] = ()
    pinning: tuple[tuple[int, str], ...] = ()
    emulator_pin: str | None = None
    numa: tuple[NumaCell, ...] = ()
    nested: bool | None = None


class Memory(Value):
    size_bytes: Bytes
    max_bytes: Bytes | None = None
    hugepage_bytes: Bytes | None = None
    locked: bool | None = None


class Timer(Value):
    name: str
    present: bool | None = None
    tickpolicy: str | None = None
    track: str | None = None


class Clock(Value):
    """`offset` is utc, localtime, timezone, variable or unknown; `timezone` an IANA name.

    A clock that is `variable` runs so many seconds (`adjustment`, which may be negative) before UTC.
    """

    offset: str = "unknown"
    timezone: str | None = None
    adjustment: int | None = None
    timers: tuple[Timer, ...] = ()


class DiskBus(StrEnum):
    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"
    USB = "usb"
    NVME = "nvme"
    FDC = "fdc"
    SD = "sd"
    XEN = "xen"
    UNKNOWN = "unknown"


class DiskDevice(StrEnum):
    DISK = "disk"
    CDROM = "cdrom"
    FLOPPY = "floppy"
    LUN = "lun"


DATA_DEVICES = frozenset({DiskDevice.DISK, DiskDevice.LUN})
"""What holds data of the guest's own."""


class ChainLink(Value):
    """One image below the top of a disk's chain, as the hypervisor names it (never as an image's header does)."""

    uri: str
    format: str


class Disk(Value):
    """One disk. `id` is unique in its machine and stable (the target's device name at libvirt, the key at vSphere).
    `label` is what people at its source call it (`Hard disk 2`, the Name of a volume), where they call it anything.

    `uri` is where the top image lies (`file:///…`, `block:///dev/…`, `nbd://…`), None for an empty drive. `chain` is
    what lies below, nearest first; None when the hypervisor did not say, empty when it said that there is nothing.
    `logical_block_bytes` is the sector that the guest addresses: its partition tables count in it.
    `discard_granularity_bytes` is the least that the guest may discard, 0 where it may not at all. `virtio` is the
    generation of a virtio disk (virtio-transitional, virtio-non-transitional) where the source names one.
    """

    id: str
    label: str | None = None
    device: DiskDevice = DiskDevice.DISK
    bus: DiskBus = DiskBus.UNKNOWN
    virtio: str | None = None
    controller_model: str | None = None
    uri: str | None = None
    source_kind: str = "unknown"
    format: str | None = None
    chain: tuple[ChainLink, ...] | None = None
    capacity_bytes: Bytes | None = None
    allocated_bytes: Bytes | None = None
    serial: str | None = None
    wwn: str | None = None
    cache: str | None = None
    io: str | None = None
    discard: str | None = None
    logical_block_bytes: Bytes | None = None
    physical_block_bytes: Bytes | None = None
    discard_granularity_bytes: Bytes | None = None
    error_policy: str | None = None
    queues: int | None = None
    io_thread: bool = False
    shareable: bool = False
    readonly: bool = False
    transient: bool = False
    removable: bool = False
    encrypted: bool = False
    throttled: bool = False
    boot_order: int | None = None


class TrafficRule(Value):
    """One line of a filter: connections that are begun towards the machine (`inward`), or by it.

    `protocol` is tcp, udp, sctp or all, or the source's word for another one; ports are those of the end that is
    called, None for all of them. The other end is in `cidr`, or a member of `group`; where neither is told it is
    anybody. `beyond` names what else the line asks for, which protocol, ports and addresses cannot say; `line` is all
    of it as people at the source read it.
    """

    inward: bool
    accepts: bool = True
    protocol: str = "all"
    first_port: int | None = None
    last_port: int | None = None
    cidr: str | None = None
    group: str | None = None
    beyond: str | None = None
    line: str


class TrafficFilter(Value):
    """What lets traffic of a card through, or not, at its source.

    `kind` says how its lines are read: of a `security-group` each adds to what is let through, and nothing else is; of
    an `nwfilter` the first one that fits decides, and what none fits is let through. `rules` is None where they were
    not told, `members` says how many cards are in the group, None where nobody was asked.
    """

    name: str
    title: str | None = None
    kind: Literal["security-group", "nwfilter"]
    rules: tuple[TrafficRule, ...] | None = None
    members: int | None = None


class Nic(Value):
    """One network card. `network_kind` is network, bridge, direct, user, hostdev, ethernet, … or unknown.

    `switch` and `network_key` tell networks of one name apart: the switch it is on, and what its source knows it by.
    `acpi_index` is the number by which the firmware names the card: a guest calls the card of index 7 `eno7`.
    `teaming` is the card's part in a failover pair, whose two cards share one MAC: persistent, or transient.
    `filters` are those that its traffic passes, None where the source has none, or tells nothing of them.
    """

    id: str
    network_kind: str = "unknown"
    network: str | None = None
    portgroup: str | None = None
    switch: str | None = None
    network_key: str | None = None
    mode: str | None = None
    model: str | None = None
    mac: str | None = None
    teaming: str | None = None
    acpi_index: int | None = None
    queues: int | None = None
    vlans: tuple[int, ...] = ()
    link_up: bool | None = None
    mtu: int | None = None
    throttled: bool = False
    filtered: bool = False
    filters: tuple[TrafficFilter, ...] | None = None
    boot_order: int | None = None


class Tpm(Value):
    """`state` is the path of the file at the source that holds what it keeps over a stop, `encrypted` says that only a
    key of the source's reads that."""

    model: str | None = None
    version: str | None = None
    backend: str | None = None
    persistent: bool | None = None
    state: str | None = None
    encrypted: bool | None = None


class Watchdog(Value):
    model: str
    action: str | None = None


class Device(Value):
    """Any other device: `kind` is graphics, video, sound, controller, hostdev, redirdev, smartcard, rng, channel, …"""

    kind: str
    model: str | None = None
    detail: dict[str, str] = {}


class Guest(Value):
    """What is known of the system inside. `agent` says whether a guest agent is configured and, running, answers."""

    os_id: str | None = None
    os_name: str | None = None
    kernel: str | None = None
    hostname: str | None = None
    agent_channel: bool | None = None
    agent_answers: bool | None = None


class SourceFact(Value):
    """Something the source said that the model has no word for: a path in the source's own terms, and its value."""

    path: str
    value: str


class Machine(Value):
    """One virtual machine as its source describes it: facts only, no choices. `id` is the source's own identity.

    `headless` is True where the source says that there is no screen, None where it only names none. `chassis` holds the
    fields that SMBIOS shows of the case (manufacturer, version, serial, asset, sku).

    `left_out` is the one thing that no source says: the disks and drives, by their ids, that a plan leaves behind. They
    are facts of the machine all the same, but nobody opens them. None where all of them go.
    """

    id: str
    name: str
    source: str
    power: Power = Power.UNKNOWN
    title: str | None = None
    description: str | None = None
    arch: str | None = None
    machine_type: str | None = None
    uuid: str | None = None
    smbios_serial: str | None = None
    chassis: dict[str, str] = {}
    firmware: Firmware = Firmware()
    cpu: Cpu
    memory: Memory
    clock: Clock = Clock()
    hyperv: dict[str, str] = {}
    features: dict[str, str] = {}
    disks: tuple[Disk, ...] = ()
    left_out: tuple[str, ...] | None = None
    nics: tuple[Nic, ...] = ()
    tpm: Tpm | None = None
    watchdog: Watchdog | None = None
    headless: bool | None = None
    devices: tuple[Device, ...] = ()
    guest: Guest = Guest()
    autostart: bool | None = None
    snapshots: int | None = None
    metadata: dict[str, str] = {}
    unmodelled: tuple[SourceFact, ...] = ()

    @property
    def kept_disks(self) -> tuple[Disk, ...]:
        """The disks and drives that a plan does not leave behind."""
        return tuple(disk for disk in self.disks if disk.id not in (self.left_out or ()))

    @property
    def data_disks(self) -> tuple[Disk, ...]:
        """The disks whose bytes are moved: disks and LUNs that are not left out, not CD-ROMs and floppies."""
        return tuple(disk for disk in self.kept_disks if disk.device in DATA_DEVICES)


class Marker(Value):
    """A point in time of one machine that a later round can be told to start from. Opaque to all but its source: the
    same token is the same frozen view, another one is another. Never a secret: it stands in the journal."""

    source: str
    token: str
    taken_at: str


class Autostart(Value):
    """What starts a machine at its source by itself: in `words`, and whole, in the source's own `settings`, so that it
    can be put back as it was. Never a secret: it stands in the journal."""

    words: str
    settings: dict[str, str]


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Concern(Value):
    """Something a person should know before the move. A critical one refuses the machine until it is settled."""

    id: str
    severity: Severity
    what: str
    fix: str


class Fate(StrEnum):
    CARRIED = "carried"
    CHANGED = "changed"
    LOST = "lost"
    NOT_NEEDED = "not-needed"


class Carried(Value):
    """What becomes of one field of the source: carried as it is, changed (to what, why), lost (why), or not needed at
    the target (why): nothing that the guest or its owner has goes with it."""

    field: str
    fate: Fate
    source: str
    target: str = ""
    reason: str = ""
