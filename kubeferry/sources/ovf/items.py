"""The hardware list of a virtual system: its items, of one deployment option, by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf.words import AGAIN

OTHER, PROCESSOR, MEMORY, IDE, SCSI, FIBRE, ISCSI, ETHERNET = 1, 3, 4, 5, 6, 7, 8, 10
FLOPPY, CD, DVD, DISK, STORAGE, SERIAL, PARALLEL, USB, GRAPHICS, LOGICAL_DISK, SOUND = (
    14, 15, 16, 17, 20, 21, 22, 23, 24, 31, 35,
)  # fmt: skip
_TAGS = {"Item", "StorageItem", "EthernetPortItem"}
# How a product's forms show it; nothing of the machine depends on it.
_SHOWN = ("rasd:ElementName", "rasd:Caption", "rasd:Description", "Description", ".@required")


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of hardware. `parent` is the instance of its controller, `unit` its place there; `order` is oVirt's, of
    what boots."""

    node: Node
    instance: str
    kind: int | None
    model: str
    parent: str | None
    unit: int | None
    order: int | None


def read_items(hardware: Node, option: str | None) -> list[Item]:
    """The items of the default deployment option: an item that belongs to it stands in for the one of its number."""
    nodes = [node for node in hardware.children if node.tag in _TAGS]
    chosen: dict[str, Node] = {}
    for number, node in enumerate(nodes):
        node.seen.add("")
        instance = node.value("rasd:InstanceID") or node.value("rasd:InstanceId") or f"#{number}"
        options = (node.value(".@configuration") or "").split()
        bound = node.peek(".@bound") or "normal"
        node.word(".@bound", {"normal"})
        if bound != "normal" or (options and option not in options):
            node.skip_all()
        elif instance not in chosen:
            chosen[instance] = node
        elif options:
            chosen[instance].skip_all()
            chosen[instance] = node
        elif not (chosen[instance].peek(".@configuration")):
            node.refuse(f"two items have the instance {instance[:40]!r}", AGAIN)
    return [_item(instance, node) for instance, node in chosen.items()]


def _item(instance: str, node: Node) -> Item:
    for path in _SHOWN:
        if node.peek(path) is not None:
            node.skip(path)
    unit = node.peek("rasd:AddressOnParent")
    if unit is not None and unit.isdecimal() and len(unit) < 6:
        node.value("rasd:AddressOnParent")
    return Item(
        node=node,
        instance=instance,
        kind=node.number("rasd:ResourceType"),
        model=node.value("rasd:ResourceSubType") or "",
        parent=node.value("rasd:Parent"),
        unit=int(unit) if unit is not None and unit.isdecimal() and len(unit) < 6 else None,
        order=node.number("BootOrder") or None,  # 0 is none
    )


def of_kind(items: Iterable[Item], *kinds: int) -> list[Item]:
    return [item for item in items if item.kind in kinds]


def default_option(root: Node) -> str | None:
    """The deployment option that is the default, else the first."""
    options = root.all("DeploymentOptionSection/Configuration")
    for node in options:
        if (node.peek(".@default") or "").lower() in {"true", "1"}:
            node.skip(".@default")
            return node.value(".@id")
    return options[0].value(".@id") if options else None
