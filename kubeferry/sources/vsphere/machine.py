"""A virtual machine's properties as a Machine: facts only, unknown stays unknown. Pure.

`props` are the properties by their path in the API, as `plain` makes them; `around` is everything that is not a machine
(folders, hosts, pools, networks, datastores), by reference.
"""

from __future__ import annotations

from kubeferry.errors import InputInvalid, Problem
from kubeferry.marks import KEY, MOVED, line_in
from kubeferry.model import Cpu, Firmware, FirmwareKind, Guest, Machine, Memory, Power, SourceFact
from kubeferry.sources.vsphere import devices as other
from kubeferry.sources.vsphere.disks import disk_leftovers, read_disks
from kubeferry.sources.vsphere.leftovers import describes, machine_leftovers
from kubeferry.sources.vsphere.marks import text_of, without
from kubeferry.sources.vsphere.nics import Around, nic_leftovers, read_nics
from kubeferry.sources.vsphere.plain import Plain, name_of

MIB = 1 << 20
POWER = {"poweredOn": Power.RUNNING, "poweredOff": Power.OFF, "suspended": Power.PAUSED}
FIRMWARE = {"bios": FirmwareKind.BIOS, "efi": FirmwareKind.UEFI}
_BOOT = {"VirtualMachineBootOptionsBootableDiskDevice": "hd", "VirtualMachineBootOptionsBootableCdromDevice": "cdrom"}
_BOOT |= {"VirtualMachineBootOptionsBootableEthernetDevice": "network"}
_BOOT |= {"VirtualMachineBootOptionsBootableFloppyDevice": "fd"}


def parse_machine(props: Plain, around: Around, *, source: str, tags: tuple[tuple[str, str], ...] = ()) -> Machine:
    """The machine that these properties describe. Raises InputInvalid when what makes a machine one is missing."""
    name = name_of(props)
    missing = [one for one in ("config.hardware.numCPU", "config.hardware.memoryMB") if not props.get(one)]
    if missing or not name:
        fix = "Look at it in vSphere: it may be inaccessible, orphaned, or still being made."
        where = name or str(props.get("_ref", "a machine"))
        raise InputInvalid("this is no machine that can be read", [Problem(where, "it has no configuration", fix)])
    found = [one for one in props.get("config.hardware.device", []) if isinstance(one, dict)]
    power = POWER.get(props.get("runtime.powerState", ""), Power.UNKNOWN)
    boot_keys, boot_classes = _boot(props.get("config.bootOptions", {}), found)
    extra = _extra(props, around, found)
    return Machine(
        id=str(props.get("config.instanceUuid") or props.get("_ref", name)),
        name=name,
        source=source,
        power=power,
        description=without(props.get("config.annotation")),
        arch=_arch(props.get("config.guestId")),
        uuid=props.get("config.uuid"),
        firmware=Firmware(
            kind=FIRMWARE.get(props.get("config.firmware", ""), FirmwareKind.UNKNOWN),
            secure_boot=_secure_boot(props),
            boot_order=boot_classes,
            boot_menu=props.get("config.bootOptions", {}).get("enterBIOSSetup"),
        ),
        cpu=_cpu(props),
        memory=_memory(props),
        disks=read_disks(found, told_serial=_shows_uuid(props), boot=boot_keys),
        nics=read_nics(
            found, around, running=power is Power.RUNNING, host=props.get("runtime.host", ""), boot=boot_keys
        ),
        tpm=other.read_tpm(found),
        devices=other.read_devices(found),
        guest=_guest(props),
        snapshots=_snapshots(props),
        metadata=_metadata(props, around, tags) | {one.path: one.value for one in extra if describes(one)},
        unmodelled=tuple(one for one in extra if not describes(one)),
    )


def _extra(props: Plain, around: Around, devices: list[Plain]) -> list[SourceFact]:
    """All that the model has no word for."""
    tracked = bool(props.get("config.changeTrackingEnabled"))
    return [
        *machine_leftovers(props, around),
        *disk_leftovers(devices, _stores(props, around), tracked=tracked),
        *nic_leftovers(devices, around),
    ]


def _stores(props: Plain, around: Around) -> dict[str, bool]:
    """The machine's datastores by name, and whether they can be reached; one that does not say can."""
    known = [around[one] for one in props.get("datastore", []) if one in around]
    return {name_of(one): one.get("summary.accessible", True) for one in known}


def _arch(guest: str | None) -> str | None:
    """ESXi runs x86; its Arm edition says so in the guest's name."""
    if guest is None:
        return None
    return "aarch64" if guest.lower().startswith("arm") else "x86_64"


def _secure_boot(props: Plain) -> bool | None:
    told = props.get("config.bootOptions", {}).get("efiSecureBootEnabled")
    return False if told is None and props.get("config.firmware") == "bios" else told


def _cpu(props: Plain) -> Cpu:
    vcpus = int(props["config.hardware.numCPU"])
    cores = props.get("config.hardware.numCoresPerSocket") or None
    affinity = props.get("config.cpuAffinity", {}).get("affinitySet")
    pinned = ",".join(map(str, affinity)) if affinity else ""
    return Cpu(
        vcpus=vcpus,
        sockets=vcpus // cores if cores and vcpus % cores == 0 else None,
        cores=cores if cores and vcpus % cores == 0 else None,
        threads=1 if cores else None,
        pinning=tuple((one, pinned) for one in range(vcpus)) if pinned else (),
        nested=props.get("config.nestedHVEnabled"),
    )


def _memory(props: Plain) -> Memory:
    """vSphere's limit of what may be added is a multiple of the memory that nobody chose, so it is no size of ours."""
    return Memory(
        size_bytes=int(props["config.hardware.memoryMB"]) * MIB,
        locked=props.get("config.memoryReservationLockedToMax"),
    )


def _shows_uuid(props: Plain) -> bool:
    settings = {
        str(one.get("key", "")).lower(): str(one.get("value", "")) for one in props.get("config.extraConfig", [])
    }
    return settings.get("disk.enableuuid", "").lower() in {"true", "1", "yes"}


def _boot(options: Plain, devices: list[Plain]) -> tuple[dict[int, int], tuple[str, ...]]:
    """Place by device key, and the classes in their order where no device is named."""
    keys: dict[int, int] = {}
    classes = []
    present = {one.get("key") for one in devices}
    for place, one in enumerate(options.get("bootOrder", []), start=1):
        key = one.get("deviceKey")
        if key in present and key is not None:
            keys.setdefault(key, place)
        elif one["_type"] in _BOOT:
            classes.append(_BOOT[one["_type"]])
    return keys, tuple(dict.fromkeys(classes))


def _guest(props: Plain) -> Guest:
    """Tools answer to vSphere, not to KubeVirt: whether the guest has KubeVirt's agent is not known."""
    name = props.get("guest.guestFullName") or props.get("config.guestFullName")
    return Guest(
        os_id=props.get("guest.guestId") or props.get("config.guestId"),
        os_name=name,
        hostname=props.get("guest.hostName") or None,
    )


def _snapshots(props: Plain) -> int:
    waiting = list(props.get("snapshot", {}).get("rootSnapshotList", []))
    count = 0
    while waiting and count < 10_000:
        count += 1
        waiting += waiting.pop().get("childSnapshotList", [])
    return count


def _metadata(props: Plain, around: Around, tags: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Where the machine is, and what people wrote on it."""
    host = around.get(props.get("runtime.host", ""), {})
    found: dict[str, str | None] = {
        "folder": folder_path(props.get("parent", ""), around),
        "host": name_of(host),
        "cluster": name_of(around.get(host.get("parent", ""), {})),
        "resourcePool": name_of(around.get(props.get("resourcePool", ""), {})),
        "datastores": ", ".join(
            f"{name_of(around[one])} ({around[one].get('summary.type', 'unknown')})"
            for one in props.get("datastore", [])
            if "name" in around.get(one, {})
        ),
    }
    found[KEY] = text_of(props)
    found[MOVED] = line_in(props.get("config.annotation"))
    names = around.get("CustomFields", {})
    for one in props.get("customValue", []):
        found[f"attribute/{names.get(str(one.get('key')), one.get('key'))}"] = str(one.get("value", ""))
    for category, tag in tags:
        key = f"tag/{category}"
        found[key] = f"{found[key]}, {tag}" if found.get(key) else tag
    return {key: value for key, value in found.items() if value}


def folder_path(ref: str, around: Around) -> str:
    """`/DATACENTER/vm/FOLDER` of a reference, with the names that people see."""
    return "/" + "/".join(name_of({"name": one}) for one in _path(ref, around))


def _path(ref: str, around: Around) -> list[str]:
    """The names on the way to a reference, as the API has them."""
    names: list[str] = []
    while ref in around and len(names) < 100:
        one = around[ref]
        if "parent" in one:  # the root folder has no name that counts
            names.append(str(one.get("name", "")))
        ref = one.get("parent", "")
    return names[::-1]


def datacenter_of(ref: str, around: Around) -> str:
    """The path of the datacenter that a reference lies in, without the leading slash and as the API has its names, as
    `dcPath` wants it."""
    for _ in range(100):
        if ref.startswith("Datacenter:") or ref not in around:
            break
        ref = around[ref].get("parent", "")
    return "/".join(_path(ref, around)) if ref.startswith("Datacenter:") else "ha-datacenter"
