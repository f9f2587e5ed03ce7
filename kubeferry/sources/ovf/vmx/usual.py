"""Settings of a VMX that are off, as they are unless somebody changes them, or of the hypervisor's own: no loss when
nobody carries them. What has another value than these stays a fact. Pure.

Facts of ESXi, Workstation and Fusion, as their machines' files have them. A `*` stands for anything.
"""

from __future__ import annotations

import re
from fnmatch import translate

from kubeferry.sources.facts.settings import Settings

SECRET = re.compile(r"guestinfo\.|encryption\.|remotedisplay\.|vtpm\.", re.IGNORECASE)
"""Keys whose values are nobody's business."""
_OFF = "false|0|no|off"
_ON = "true|1|yes|on"
_DRIVES = ("ide*", "scsi*", "sata*", "nvme*")
# What only the hypervisor that the machine leaves knows: places of devices, sizes of screens, names of its own files,
# what it saw last, and what the guest may ask of it.
_ANY = (
    ".encoding", "config.version", "config.readonly", "virtualhw.productcompatibility", "nvram", "extendedconfigfile",
    "pcibridge*", "*.pcislotnumber", "vmci*", "uuid.location", "uuid.action", "vc.uuid", "svga.*", "mks.*", "gui.*",
    "hpet*", "monitor.phys_bits_used", "softpoweroff", "cleanshutdown", "migrat*", "vmotion.*", "replay.*", "viv.*",
    "sched.swap.derivedname", "sched.cpu.units", "sched.mem.units", "log.*", "toolsinstallmanager.*", "vmware.tools.*",
    "guestos.detailed.data", "guestinfo.detailed.data", "vmxstats.*", "isolation.*", "numa.autosize*", "snapshot.*",
    "cpuid.corespersocket.cookie", "deploymentplatform", "vm.createdate", "tools.upgrade.policy", "tools.remindinstall",
    "tools.guest.*", "tools.deploypkg.*", "toolscripts.*", "time.synchronize.*", "memtrimrate", "mainmem.*",
    "memallowautoscaledown", "priority.*", "hgfs.*", "ctkenabled", "disk.enableuuid", "vtpm.ek*", "sound*.autodetect",
    "sound*.filename",
    "serial*.yieldonmsrread", "serial*.trynorxloss", "usb*:*", "usb.autoconnect.*", "usb.pcislotnumber",
    "ethernet*.generatedaddressoffset", "ethernet*.dvs.*", "ethernet*.linkstatepropagation.enable",
    "ethernet*.displayname", "ethernet*.bsdname", "ethernet*.externaldvs*", "ethernet*.networkmoref*",
    *(f"{one}:*.{key}" for one in _DRIVES for key in ("redo", "clientdevice", "autodetect", "ctkenabled")),
)  # fmt: skip
# Of which the values are in small letters.
_VALUES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_OFF, (
        "checkpoint.vmstate.readonly", "*.present", "*.writethrough", "tools.synctime", "ethernet*filter*",
        "vhv.enable", "vvtd.enable", "vpmc.enable", "smbios.reflecthost", "templatevm",
        "efi.secureboot.enabled", "uefi.secureboot.enabled", "bios.forcesetuponce", "sched.mem.pin", "sched.cpu.min",
        "sched.mem.min", "sched.mem.minsize", "usb.generic.*", "chipset.*", "faulttolerance*", "ftcpt.*",
        "vcpu.hotadd", "mem.hotadd",
    )),
    (f"{_ON}|{_OFF}", ("*.startconnected", "*.allowguestconnectioncontrol", "ethernet*.wakeonpcktrcv")),
    (_ON, ("ethernet*.uptcompatibility", "ethernet*.checkmacaddress", "acpi.present", "usb*.present", "ehci.present",
           "scsi*.present", "sata*.present", "nvme*.present", "ide*.present")),
    ("soft|default|preset|hard", ("powertype.*",)),
    ("normal", ("sched.cpu.shares", "sched.mem.shares", "sched.*:*.shares", "sched.cpu.latencysensitivity")),
    ("-1|unlimited", ("remotedisplay.maxconnections", "sched.cpu.max", "sched.mem.max", "ethernet*.?xbw.limit")),
    ("all", ("sched.cpu.affinity", "sched.mem.affinity")),
    ("static|generated|vpx", ("ethernet*.addresstype",)),
    ("ahci|pvscsi|lsilogic|lsisas1068|buslogic", tuple(f"{one}.virtualdev" for one in _DRIVES)),
)  # fmt: skip
_WHATEVER = re.compile("|".join(map(translate, _ANY)))
_USUAL = [(re.compile("|".join(map(translate, keys))), re.compile(values)) for values, keys in _VALUES]


def pass_over(vmx: Settings) -> None:
    """Count what is usual as read, and what is said of a device that is off; but the file of a disk stays a fact."""
    off = tuple(
        f"{key.removesuffix('.present')}." for key in vmx if key.endswith(".present") and vmx.flag(key) is False
    )
    for key in vmx:
        told = (vmx.peek(key) or "").lower()
        absent = key.startswith(off) and not told.endswith(".vmdk")
        if not told or absent or _is_usual(key, told):
            vmx.value(key)


def _is_usual(key: str, told: str) -> bool:
    if _WHATEVER.fullmatch(key):
        return True
    return any(keys.fullmatch(key) and values.fullmatch(told) for keys, values in _USUAL)
