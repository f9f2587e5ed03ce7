"""Processors, memory and the clock of a domain."""

from __future__ import annotations

import re

from kubeferry.model import Clock, Cpu, CpuFeature, Memory, NumaCell, Timer
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.libvirt.domain.units import size_at, to_bytes

_OFFSETS = {"utc", "localtime", "timezone", "variable"}
_MISSING = "Export the domain again with `virsh dumpxml`."


def read_cpu(root: Node) -> Cpu:
    """`vcpu` counts those there is room for, its `current` those switched on; libvirt means one where it is missing."""
    room = root.number("vcpu")
    vcpus = root.number("vcpu@current")
    if room == 0 or vcpus == 0:
        root.child("vcpu").refuse("<vcpu>: a machine has at least one", _MISSING)
    features = _features(root)
    return Cpu(
        vcpus=vcpus or room or 1,
        max_vcpus=room,
        sockets=root.number("cpu/topology@sockets"),
        cores=root.number("cpu/topology@cores"),
        threads=root.number("cpu/topology@threads"),
        mode=root.value("cpu@mode"),
        model=root.value("cpu/model"),
        features=features,
        pinning=tuple(_pinning(root)),
        emulator_pin=root.value("cputune/emulatorpin@cpuset"),
        numa=tuple(_cell(node, index) for index, node in enumerate(root.all("cpu/numa/cell"))),
        nested=_nested(features),
    )


def _features(root: Node) -> tuple[CpuFeature, ...]:
    """A feature without a policy is required: libvirt's own default."""
    found = [(node.value(".@name"), node.value(".@policy") or "require") for node in root.all("cpu/feature")]
    return tuple(CpuFeature(name=name, policy=policy) for name, policy in found if name)


def _nested(features: tuple[CpuFeature, ...]) -> bool | None:
    policies = {one.policy for one in features if one.name in {"vmx", "svm"}}
    if policies & {"force", "require"}:
        return True
    return False if policies & {"disable", "forbid"} else None


def _pinning(root: Node) -> list[tuple[int, str]]:
    found = [(node.number(".@vcpu"), node.value(".@cpuset")) for node in root.all("cputune/vcpupin")]
    return [(vcpu, cpus) for vcpu, cpus in found if vcpu is not None and cpus]


def _cell(node: Node, index: int) -> NumaCell:
    cell = node.number(".@id")
    return NumaCell(
        cell=index if cell is None else cell,
        cpus=node.value(".@cpus") or "",
        memory_bytes=size_at(node, ".@memory", ".@unit"),
    )


def read_memory(root: Node) -> Memory:
    """`memory` is what the machine boots with. A lower `currentMemory`, kept so by the balloon, stays a plain fact."""
    size = size_at(root, "memory", "memory@unit")
    if not size and not root.problems:
        root.refuse("<memory>: the domain does not say how much memory it has", _MISSING)
    current = to_bytes(root.peek("currentMemory") or "", root.peek("currentMemory@unit") or "KiB")
    if current == size:
        root.value("currentMemory")
        root.value("currentMemory@unit")
    return Memory(
        size_bytes=size or 0,
        max_bytes=size_at(root, "maxMemory", "maxMemory@unit"),
        hugepage_bytes=_hugepages(root),
        locked=True if root.has("memoryBacking/locked") else None,
    )


def _hugepages(root: Node) -> int | None:
    """The first page size that is told. Without one it is the old host's default, which the domain does not say."""
    if root.child("memoryBacking").peek("hugepages/page@size") is None:
        root.child("memoryBacking/hugepages").seen.clear()
        return None
    return size_at(root, "memoryBacking/hugepages/page@size", "memoryBacking/hugepages/page@unit")


def read_clock(root: Node) -> Clock:
    """A clock with an adjustment of zero is one without: it runs in UTC, or in local time where that is its basis."""
    offset = root.word("clock@offset", _OFFSETS) or "unknown"
    adjustment = _adjustment(root) if offset == "variable" else None
    if offset == "variable" and adjustment is not None:
        basis = root.word("clock@basis", {"utc", "localtime"}) or "utc"
        if basis == "localtime" or adjustment == 0:
            offset = basis
    return Clock(
        offset=offset,
        timezone=root.value("clock@timezone"),
        adjustment=adjustment or None,
        timers=tuple(_timers(root)),
    )


def _adjustment(root: Node) -> int | None:
    """Seconds before the basis; `reset`, which follows what the guest sets, stays unread."""
    told = root.peek("clock@adjustment") or "0"
    if re.fullmatch(r"[+-]?[0-9]{1,9}", told) is None:
        return None
    root.value("clock@adjustment")
    return int(told)


def _timers(root: Node) -> list[Timer]:
    return [
        Timer(
            name=node.value(".@name") or "unknown",
            present=node.flag(".@present"),
            tickpolicy=node.value(".@tickpolicy"),
            track=node.value(".@track"),
        )
        for node in root.all("clock/timer")
    ]
