"""Processors and memory of a virtual system."""

from __future__ import annotations

from kubeferry.model import Cpu, Memory
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf.items import MEMORY, PROCESSOR, Item, of_kind
from kubeferry.sources.ovf.units import to_bytes
from kubeferry.sources.ovf.words import AGAIN, is_true, setting

# As the contract of a virtual processor's size has it everywhere: a frequency, of which nothing is carried.
_CPU_UNITS = {"hertz * 10^6", "hertz*10^6", "MegaHertz"}


def read_cpu(hardware: Node, items: list[Item]) -> Cpu:
    """`vmw:CoresPerSocket`, or oVirt's own words, say how they are arranged; else nothing is known of it."""
    item = _single(hardware, items, PROCESSOR, "processors")
    if item is None:
        return Cpu(vcpus=1)
    node = item.node
    node.word("rasd:AllocationUnits", _CPU_UNITS)
    node.word("rasd:VirtualQuantityUnits", {"count"})
    vcpus = node.number("rasd:VirtualQuantity")
    if not vcpus:
        node.refuse("a machine has at least one processor, and this says none", AGAIN)
        return Cpu(vcpus=1)
    threads = node.number("rasd:threads_per_cpu")
    cores = node.number("vmw:CoresPerSocket") or node.number("rasd:cpu_per_socket")
    sockets = node.number("rasd:num_of_sockets")
    nested = setting(hardware, "nestedHVEnabled")
    each = (cores or 1) * (threads or 1)
    if cores and vcpus % each == 0:
        sockets = sockets or vcpus // each
    else:
        cores = cores if sockets else None  # a socket that is not full has no counterpart
    return Cpu(
        vcpus=vcpus,
        max_vcpus=node.number("rasd:max_num_of_vcpus"),
        sockets=sockets,
        cores=cores,
        threads=threads,
        nested=True if is_true(nested) else None,
    )


def read_memory(system: Node, hardware: Node, items: list[Item]) -> Memory:
    """`VirtualQuantityUnits` are those of the quantity (CIM), where they are told; else `AllocationUnits` are. oVirt
    alone says what it may grow to."""
    item = _single(hardware, items, MEMORY, "memory")
    if item is None:
        return Memory(size_bytes=0)
    amount, units = item.node.value("rasd:VirtualQuantity"), item.node.value("rasd:AllocationUnits")
    own = item.node.value("rasd:VirtualQuantityUnits")
    size = to_bytes(amount or "", own or "") or to_bytes(amount or "", units or "")
    if not size:
        item.node.refuse(f"{amount!r:.40} {own or units!r:.40} is no amount of memory", AGAIN)
    grown = to_bytes(system.peek("MaxMemorySizeMb") or "", "MB")
    if grown is not None:
        system.value("MaxMemorySizeMb")
    return Memory(size_bytes=size or 0, max_bytes=grown if grown and grown > (size or 0) else None)


def _single(hardware: Node, items: list[Item], kind: int, what: str) -> Item | None:
    found = of_kind(items, kind)
    if not found:
        hardware.refuse(f"it does not say how much {what} the machine has", AGAIN)
        return None
    for other in found[1:]:
        other.node.refuse(f"the {what} of the machine are told twice", AGAIN)
    return found[0]
