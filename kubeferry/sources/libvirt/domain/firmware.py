"""Firmware, identity and the features of the platform."""

from __future__ import annotations

import re

from kubeferry.model import Firmware, FirmwareKind
from kubeferry.sources.facts.leftovers import shown
from kubeferry.sources.facts.xml_tree import Node

CHASSIS = frozenset({"manufacturer", "version", "serial", "asset", "sku"})
_X86 = {"x86_64", "i686"}
# What distributions call variables with keys enrolled: Debian's `OVMF_VARS_4M.ms.fd`, SUSE's
# `ovmf-x86_64-smm-ms-vars.bin`, and `-suse-` and `-opensuse-` with keys of its own.
_WITH_KEYS = re.compile(r"[.-](ms|suse|opensuse)[.-]|secboot|secure|snakeoil", re.IGNORECASE)


def read_firmware(root: Node) -> Firmware:
    kind = _kind(root)
    return Firmware(
        kind=kind,
        secure_boot=_secure_boot(root) if kind == FirmwareKind.UEFI else None,
        loader=root.value("os/loader"),
        nvram=root.value("os/nvram") or root.value("os/nvram/source@file"),
        nvram_format=root.value("os/nvram@format"),
        boot_order=tuple(device for node in root.all("os/boot") if (device := node.value(".@dev"))),
        boot_menu=root.flag("os/bootmenu@enable"),
    )


def _kind(root: Node) -> FirmwareKind:
    """As libvirt reads it: `firmware` names the kind, a flash loader is UEFI, and a PC without either has a BIOS.

    Any other loader may be anything: a file's name is no evidence.
    """
    named = root.word("os@firmware", {"efi", "bios"})
    loader, flash = root.peek("os/loader"), root.word("os/loader@type", {"pflash", "rom"}) == "pflash"
    if named == "efi" or flash:
        return FirmwareKind.UEFI
    if named == "bios":
        return FirmwareKind.BIOS
    plain = loader is None and root.peek("os/type") == "hvm" and root.peek("os/type@arch") in _X86
    return FirmwareKind.BIOS if plain else FirmwareKind.UNKNOWN


def _secure_boot(root: Node) -> bool | None:
    """On where the loader or a firmware feature says so, and off as soon as any of them says off; else not told.

    A loader that could is told by the template of its variables whether it does: without the keys in it, nothing is
    checked.
    """
    template = root.peek("os/nvram@template")
    keys = template is None or _WITH_KEYS.search(template.rpartition("/")[2]) is not None
    if keys or not root.flag("os/loader@secure"):
        root.skip("os/nvram@template")
    told = [root.flag("os/loader@secure") if keys else None]
    told += [
        node.flag(".@enabled")
        for node in root.all("os/firmware/feature")
        if node.word(".@name", {"secure-boot", "enrolled-keys"})
    ]
    if False in told:
        return False
    return True if True in told else None


def read_smbios_serial(root: Node) -> str | None:
    """The serial that the guest sees. It sees those of `sysinfo` only where `os/smbios` says so."""
    if root.peek("os/smbios@mode") != "sysinfo":
        return None
    root.skip("os/smbios@mode")
    serial = None
    for entry in root.all("sysinfo/system/entry"):
        if entry.word(".@name", {"uuid"}):
            entry.value(".")  # always the domain's own
        elif serial is None and entry.word(".@name", {"serial"}):
            serial = entry.value(".")
    root.word("sysinfo@type", {"smbios"})
    return serial


def read_chassis(root: Node) -> dict[str, str]:
    """The case as the guest sees it, by libvirt's names of its fields; shown only where `os/smbios` says so."""
    if root.peek("os/smbios@mode") != "sysinfo":
        return {}
    found: dict[str, str] = {}
    for entry in root.all("sysinfo/chassis/entry"):
        if (name := entry.word(".@name", CHASSIS)) and (value := entry.value(".")):
            found.setdefault(name, value)
    return found


def read_features(root: Node) -> dict[str, str]:
    """All features but Hyper-V's, by name; those inside another as `kvm.hidden`. A PC without a word on ACPI has none:
    that is what the word switches on."""
    plain = root.peek("os/type") == "hvm" and root.peek("os/type@arch") in _X86
    found = {"acpi": "off"} if plain else {}
    for node in root.child("features").children:
        if node.tag != "hyperv":
            found |= _switches(node, node.tag)
    return found


def read_hyperv(root: Node) -> dict[str, str]:
    """Hyper-V enlightenments by libvirt's names, their numbers behind the state: `on retries=8191`."""
    node = root.child("features/hyperv")
    found = {"mode": mode} if (mode := node.word(".@mode", {"passthrough"})) else {}
    for child in node.children:
        found |= _switches(child, child.tag)
    return found


def _switches(node: Node, name: str) -> dict[str, str]:
    """A switch and those below it. One that is only named is on; a mere group of others is no switch itself."""
    state, text = node.value(".@state"), node.value(".")
    extra = [f"{key}={value}" for key, value in node.attributes.items() if key != "state"]
    extra += [text] if state and text else []
    found: dict[str, str] = {}
    if not node.children or node.attributes or text:
        said = " ".join([state or text or "on", *extra])
        found[name] = shown(name, said)
    for child in node.children:
        found |= _switches(child, f"{name}.{child.tag}")
    node.skip_all()
    return found
