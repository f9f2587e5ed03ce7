"""All other devices of a domain, the TPM, the watchdog, and what the domain says of its guest."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from kubeferry.images.tpm import FILE
from kubeferry.model import Device, Guest, Tpm, Watchdog
from kubeferry.sources.facts.leftovers import MAX_CHARACTERS, cut, shown
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.libvirt.domain.addresses import in_words

CHIPSET_WATCHDOG = "itco"
AGENT_CHANNEL = "org.qemu.guest_agent.0"
MAX_METADATA = 64
TPM_FOLDER = PurePosixPath("/var/lib/libvirt/swtpm")
"""Where libvirt of the system keeps the state of TPMs, in a folder for each machine's UUID (`qemu_conf.c`)."""

_ELSEWHERE = {"disk", "interface", "tpm", "watchdog"}

# Where a device says what it is; the other kinds say it in their attribute `model`.
_MODEL = {
    "graphics": ".@type",
    "video": "model@type",
    "hostdev": ".@type",
    "redirdev": ".@type",
    "smartcard": ".@mode",
    "channel": ".@type",
    "parallel": ".@type",
    "serial": ".@type",
    "console": ".@type",
    "filesystem": "driver@type",
    "shmem": "model@type",
    "input": ".@type",
    "hub": ".@type",
    "audio": ".@type",
    "nvram": "address@type",
}
# What any PCI bridge has: its number, its place, how it is plugged. More than that somebody asked for.
_OF_A_BRIDGE = (
    ".@type",
    ".@index",
    ".@model",
    ".@ports",
    "alias",
    "address",
    "model",
    "target@chassis",
    "target@chassisNr",
    "target@port",
    "target@index",
)
# States of one run, and names that libvirt gives for it.
_FOR_ONE_RUN = ("alias", "target@state", "source@tty", ".@tty")


def read_devices(root: Node) -> tuple[Device, ...]:
    """Every device that has no part of its own in the model. PCI bridges of one model are one device with a
    count; what one of them has beyond its number and place stays unread."""
    found = []
    bridges: dict[str, int] = {}
    for node in root.child("devices").children:
        if node.tag in _ELSEWHERE:
            continue
        if node.tag == "controller" and node.peek(".@type") == "pci":
            model = node.peek(".@model") or "unknown"
            bridges[model] = bridges.get(model, 0) + 1
            node.label = f"{model}-{bridges[model]}"
            node.skip(*_OF_A_BRIDGE)
        else:
            found.append(_device(node))
    for model, count in bridges.items():
        found.append(Device(kind="controller", model=model, detail={"type": "pci", "count": str(count)}))
    return tuple(found)


def _device(node: Node) -> Device:
    node.skip(*_FOR_ONE_RUN)
    if node.peek(".@type") == "pty":
        node.skip("source@path")
    model = node.value(_MODEL.get(node.tag, ".@model"))
    return Device(kind=node.tag, model=model, detail=_detail(node, ""))


def _detail(node: Node, prefix: str) -> dict[str, str]:
    """What is still unread below a device, by dotted names."""
    found: dict[str, str] = {}
    for key, value in node.attributes.items():
        if f"@{key}" not in node.seen:
            found[f"{prefix}{key}"] = shown(f"{prefix}{key}", value)
    if (text := node.text.strip()) and "text" not in node.seen:
        found[prefix.rstrip(".") or "path"] = shown(prefix, text)
    times: Counter[str] = Counter(found.keys())
    for child in node.children:
        name = f"{prefix}{child.tag}"
        own = _again(name, times[name])
        below: dict[str, str] = {}
        if child.tag == "address":
            below[own] = in_words(child)
        elif len(own) > MAX_CHARACTERS:
            below[cut(own)] = "(not listed: it lies too deep)"
        elif child.attributes or child.text.strip() or child.children:
            below = _detail(child, f"{own}.")
        elif "" not in child.seen:
            below[own] = "present"
        times[name] += bool(below)
        found |= below
    node.skip_all()
    return found


def _again(name: str, times: int) -> str:
    """A name that was given already so many times, as one of its own."""
    return f"{name}{'+' * times}" if times < 8 else f"{name}+{times}"


def read_headless(root: Node) -> bool | None:
    """A domain lists its adapters: one without any, or with the model `none`, has no screen in the guest."""
    models = [node.peek("model@type") for node in root.all("devices/video")]
    if models:
        return True if set(models) == {"none"} else None
    return None if root.has("devices/graphics") else True


def read_tpm(root: Node, uuid: str | None) -> Tpm | None:
    node = root.child("devices/tpm")
    if not node.present:
        return None
    node.skip("alias")
    backend = node.value("backend@type")
    return Tpm(
        model=node.value(".@model"),
        version=node.value("backend@version"),
        backend=backend,
        persistent=node.flag("backend@persistent_state"),
        state=_tpm_state(node, uuid) if backend == "emulator" else None,
        encrypted=True if node.value("backend/encryption@secret") else None,
    )


def _tpm_state(node: Node, uuid: str | None) -> str | None:
    """The file of an emulated TPM's state: in the folder, or the file, that the domain names, else where libvirt has
    it."""
    kind, path = node.word("backend/source@type", {"file", "dir"}), node.value("backend/source@path")
    if path is not None:
        return path if kind == "file" else str(PurePosixPath(path) / FILE)
    return str(TPM_FOLDER / uuid / "tpm2" / FILE) if uuid else None


def read_watchdog(root: Node) -> Watchdog | None:
    """The first that somebody chose; else the chipset's own, which libvirt writes into every Q35 domain from 9.1 on."""
    found = root.all("devices/watchdog")
    if not found:
        return None
    for node in found:
        node.skip("alias")
    node = next((one for one in found if one.peek(".@model") != CHIPSET_WATCHDOG), found[0])
    for other in found:
        if other is not node and other.peek(".@action") in {None, "reset"}:
            other.word(".@model", {CHIPSET_WATCHDOG})
            other.value(".@action")
    return Watchdog(model=node.value(".@model") or "unknown", action=node.value(".@action"))


def read_guest(root: Node) -> Guest:
    """The system as whoever made the domain named it, and whether it has a channel to an agent."""
    channels = {node.peek("target@name") for node in root.all("devices/channel")}
    return Guest(
        os_id=root.value("metadata/libosinfo:libosinfo/libosinfo:os@id"), agent_channel=AGENT_CHANNEL in channels
    )


def read_metadata(root: Node) -> dict[str, str]:
    """What other tools keep in the domain, by dotted names. More than a few dozen entries are only counted."""
    node = root.child("metadata")
    found = {cut(key): value for key, value in _detail(node, "").items()}
    if len(found) > MAX_METADATA:
        kept = dict(list(found.items())[:MAX_METADATA])
        return kept | {"…": f"{len(found) - MAX_METADATA} more entries are not listed"}
    return found
