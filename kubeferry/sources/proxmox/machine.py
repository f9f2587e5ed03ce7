"""A configuration of Proxmox as a machine: facts only. What the model has no word for goes into `unmodelled`. Pure.

What a configuration leaves out has the default that qm.conf(5) names: BIOS, a PC of i440FX, one core, 512 MiB.
"""

from __future__ import annotations

import re

from kubeferry.errors import InputInvalid
from kubeferry.model import Clock, Guest, Machine, Power, SourceFact
from kubeferry.sources.facts.leftovers import cut, shown
from kubeferry.sources.facts.lists import bounded
from kubeferry.sources.facts.settings import Settings
from kubeferry.sources.proxmox import hardware
from kubeferry.sources.proxmox.devices import read_devices, read_nics, read_tpm, read_watchdog
from kubeferry.sources.proxmox.disks import read_disks
from kubeferry.sources.proxmox.sections import Sections, is_on, left, options

_WINDOWS = {
    "wxp": "XP", "w2k": "2000", "w2k3": "Server 2003", "w2k8": "Server 2008", "wvista": "Vista", "win7": "7",
    "win8": "8", "win10": "10", "win11": "11",
}  # fmt: skip
_OTHERS = {"l24": "Linux 2.4", "l26": "Linux", "solaris": "Solaris"}
# What Proxmox notes for itself, and what is as it is unless somebody changes it.
_OWN = {"meta", "digest", "parent", "vmstate", "runningmachine", "runningcpu", "snaptime"}
_USUAL = {
    "acpi": {"1"}, "numa": {"0"}, "protection": {"0"}, "localtime": {"0"}, "freeze": {"0"}, "tdf": {"0"},
    "tablet": {"1"}, "autostart": {"0"}, "template": {"0"}, "reboot": {"1"}, "kvm": {"1"}, "balloon": {"0"},
    "hotplug": {"1", "network,disk,usb"}, "cpulimit": {"0"}, "cpuunits": {"100", "1000", "1024"}, "shares": {"1000"},
    "keephugepages": {"0"},
}  # fmt: skip
_OPTION = re.compile(r"['\"]?--?[a-z][a-z0-9-]*['\"]?")
# Settings with options of which some are read: what the first word is, and which.
_OPTIONS = {
    "cpu": ("cputype", {"cputype", "flags"}),
    "memory": ("current", {"current"}),
    "machine": ("type", {"type"}),
    "agent": ("enabled", {"enabled", "type", "fstrim_cloned_disks", "freeze-fs-on-backup", "guest-fsfreeze"}),
    "efidisk0": ("file", {"file", "volume", "size", "format", "efitype", "pre-enrolled-keys", "ms-cert"}),
    "tpmstate0": ("file", {"file", "volume", "size", "version"}),
    "watchdog": ("model", {"model", "action"}),
}


def parse_config(found: Sections, *, source: str, called: str) -> Machine:
    """The machine. `called` is its id, and its name where the configuration has none. Raises InputInvalid."""
    now = found.now
    smbios = hardware.read_smbios(now)
    orders, classes = hardware.read_boot(now)
    disks, of_disks = read_disks(now, orders)
    nics, of_nics = read_nics(now, orders)
    tags = now.value("tags")
    machine = Machine(
        id=called,
        name=now.value("name") or f"VM {called}",
        source=source,
        power=Power.UNKNOWN,
        description=found.description,
        arch=now.value("arch") or "x86_64",
        machine_type=hardware.machine_type(now),
        uuid=smbios.pop("uuid", None),
        smbios_serial=smbios.pop("serial", None),
        firmware=hardware.read_firmware(now, classes),
        cpu=hardware.read_cpu(now),
        memory=hardware.read_memory(now),
        clock=_clock(now),
        disks=disks,
        nics=nics,
        tpm=read_tpm(now),
        watchdog=read_watchdog(now),
        devices=read_devices(now),
        guest=_guest(now),
        autostart=now.flag("onboot") or False,
        snapshots=len(found.snapshots),
        metadata={"tags": tags} if tags else {},
    )
    noted = [SourceFact(path=f"smbios1/{key}", value=shown(key, value)) for key, value in smbios.items()]
    noted += [SourceFact(path="template", value="yes")] if now.flag("template") else []
    noted += [SourceFact(path="pending", value=cut(", ".join(found.pending)))] if found.pending else []
    for key, (first, read) in _OPTIONS.items():
        noted += left(key, options(now.peek(key), first), read)
    noted += _arguments(now)
    _pass_over(now)
    if now.problems:
        raise InputInvalid("this is no configuration of Proxmox that can be read", now.problems)
    return machine.model_copy(update={"unmodelled": bounded([*found.odd, *of_disks, *of_nics, *noted, *now.left()])})


def _arguments(now: Settings) -> list[SourceFact]:
    """What is told to QEMU itself. A long line would be cut, and one with a secret is hidden: its options are told
    without their values then, for they may give the guest a disk."""
    told = now.value("args")
    if told is None:
        return []
    value = shown("args", told)
    if value != told:
        value = cut(" ".join(dict.fromkeys(word for word in told.split() if _OPTION.fullmatch(word))) or value)
    return [SourceFact(path="args", value=value)]


def _clock(now: Settings) -> Clock:
    """Windows has local time unless it is said otherwise, any other system has UTC (qm.conf)."""
    local = now.flag("localtime")
    if local is None:
        local = (now.peek("ostype") or "") in _WINDOWS
    return Clock(offset="localtime" if local else "utc")


def _guest(now: Settings) -> Guest:
    told = now.value("ostype")
    name = f"Microsoft Windows {_WINDOWS[told]}" if told in _WINDOWS else _OTHERS.get(told or "")
    agent = options(now.value("agent"), "enabled")
    return Guest(os_id=told, os_name=name, agent_channel=is_on(agent.get("enabled")) is True)


def _pass_over(now: Settings) -> None:
    """Count what is usual as read. What else stands at such a key stays a fact."""
    for key in now:
        if key in _OWN or (now.peek(key) or "") in {"", *_USUAL.get(key, ())}:
            now.value(key)
