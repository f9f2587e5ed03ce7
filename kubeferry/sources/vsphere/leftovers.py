"""What a machine says and the model has no word for: allocations, placement, tracking, settings by name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubeferry.model import SourceFact
from kubeferry.sources.vsphere.nics import Around
from kubeferry.sources.vsphere.plain import Plain

MAX_SETTINGS = 200
# Facts that describe the machine's surroundings: nothing of the machine is lost where they are not carried.
_DESCRIBES = re.compile(r"version|changeTracking|tools/.*|guest/.*|cluster/(drs|dpm|ha)")
_SECRET = re.compile(r"passw|secret|cookie|token|credential|private|api-?key|guestinfo\.|keyid", re.IGNORECASE)
# Settings that the hypervisor writes by itself: places of devices, sizes of the screen, what it last saw.
_OWN = re.compile(
    r"^(pcibridge|ethernet\d+\.|scsi\d+[.:]|sata\d+[.:]|ide\d+[.:]|nvme\d+[.:]|usb(_xhci)?[.:]|vmci\d|svga\.|hpet|"
    r"monitor\.|softpoweroff|vmotion\.|cleanshutdown|nvram|virtualhw\.|tools\.(syncTime|remindInstall|guest|setinfo)|"
    r"toolsinstallmanager|vmware\.tools|migrate\.|replay\.|sched\.swap|viv\.|log\.|guestos|deploymentplatform|"
    r"vmxstats|numa\.autosize|checkpoint\.|config\.readonly|displayname|extendedconfigfile|uuid\.|vc\.uuid|"
    r"kubeferry\.stopped$|govcsim|run\.container|floppy\d|answer\.|disk\.enableuuid|ctkenabled|vvtd|virtual[a-z]*guest|hgfs|svgastretch)",
    re.IGNORECASE,
)


def describes(fact: SourceFact) -> bool:
    """Whether a fact is of what is around the machine or of this moment, and not a setting that could be lost."""
    return _DESCRIBES.fullmatch(fact.path) is not None


def machine_leftovers(props: Plain, around: Around) -> Iterator[SourceFact]:
    """The facts of the machine as a whole; those of its disks and cards have functions of their own."""
    for path, value in (
        ("version", props.get("config.version")),
        ("changeTracking", _switch(props.get("config.changeTrackingEnabled"))),
        ("tools/status", props.get("guest.toolsRunningStatus")),
        ("tools/version", props.get("guest.toolsVersionStatus2")),
        ("guest/ip", props.get("guest.ipAddress")),
        ("latencySensitivity", _unless(props.get("config.latencySensitivity", {}).get("level"), "normal")),
        ("swapPlacement", _unless(props.get("config.swapPlacement"), "inherit")),
        ("memoryAffinity", _set(props.get("config.memoryAffinity", {}).get("affinitySet"))),
        ("hotPlug/cpu", "on" if props.get("config.cpuHotAddEnabled") else None),
        ("hotPlug/memory", _memory_growth(props)),
        ("performanceCounters", "on" if props.get("config.vPMCEnabled") else None),
        ("faultTolerance", _unless(props.get("runtime.faultToleranceState"), "notConfigured")),
        ("connection", _unless(props.get("runtime.connectionState"), "connected")),
        ("consolidationNeeded", "yes" if props.get("runtime.consolidationNeeded") else None),
        ("question", "waits for an answer" if props.get("runtime.question") else None),
        ("encryption", "its home is encrypted" if props.get("config.keyId") else None),
        ("managedBy", _managed(props.get("config.managedBy"))),
        ("template", "yes" if props.get("config.template") else None),
    ):
        if value:
            yield SourceFact(path=path, value=str(value))
    yield from _boot(props.get("config.bootOptions", {}))
    for name in ("cpu", "memory"):
        yield from _allocation(name, props.get(f"config.{name}Allocation", {}))
    yield from _numa(props)
    yield from _cluster(props, around)
    yield from _free_space(props)
    yield from _settings(props.get("config.extraConfig", []))


def _boot(told: Plain) -> Iterator[SourceFact]:
    if told.get("bootDelay"):
        yield SourceFact(path="boot/delay", value=f"{told['bootDelay']} ms")
    if told.get("bootRetryEnabled"):
        yield SourceFact(path="boot/retry", value=f"after {told.get('bootRetryDelay', 10_000)} ms")
    if protocol := _unless(told.get("networkBootProtocol"), "ipv4"):
        yield SourceFact(path="boot/network", value=str(protocol))


def _memory_growth(props: Plain) -> str | None:
    if not props.get("config.memoryHotAddEnabled"):
        return None
    limit = props.get("config.hotPlugMemoryLimit")
    return f"on, up to {limit} MiB" if limit else "on"


def _switch(told: Any) -> str | None:
    return None if told is None else ("on" if told else "off")


def _unless(told: Any, usual: str) -> Any:
    return None if told == usual else told


def _set(told: Any) -> str | None:
    return ",".join(map(str, told)) if told else None


def _managed(told: Any) -> str | None:
    return f"{told.get('extensionKey')} ({told.get('type')})" if told else None


def _allocation(name: str, told: Plain) -> Iterator[SourceFact]:
    if told.get("reservation"):
        yield SourceFact(path=f"{name}/reservation", value=str(told["reservation"]))
    if told.get("limit", -1) >= 0:
        yield SourceFact(path=f"{name}/limit", value=str(told["limit"]))
    level = told.get("shares", {}).get("level", "normal")
    if level != "normal":
        yield SourceFact(path=f"{name}/shares", value=str(level))


def _numa(props: Plain) -> Iterator[SourceFact]:
    info = props.get("config.numaInfo", {})
    if info.get("coresPerNumaNode") and not info.get("autoCoresPerNumaNode", True):
        yield SourceFact(path="numa/coresPerNode", value=str(info["coresPerNumaNode"]))
    for one in props.get("config.extraConfig", []):
        if str(one.get("key", "")).lower() == "numa.nodeaffinity" and one.get("value"):
            yield SourceFact(path="numa/affinity", value=str(one["value"])[:100])


def _cluster(props: Plain, around: Around) -> Iterator[SourceFact]:
    """What the cluster does with its machines: other placement than at the target."""
    cluster = around.get(around.get(props.get("runtime.host", ""), {}).get("parent", ""), {})
    settings: Plain = cluster.get("configurationEx", {})
    for name, path in (("drsConfig", "cluster/drs"), ("dpmConfigInfo", "cluster/dpm"), ("dasConfig", "cluster/ha")):
        if settings.get(name, {}).get("enabled"):
            yield SourceFact(path=path, value="on")
    mine = props.get("_ref")
    for rule in settings.get("rule", []):
        if mine in rule.get("vm", []) and rule.get("enabled", True):
            yield SourceFact(path="cluster/affinity", value=str(rule.get("name") or rule["_type"]))
    groups = {one["name"]: one for one in settings.get("group", []) if mine in one.get("vm", [])}
    for rule in settings.get("rule", []):
        if rule.get("vmGroupName") in groups:
            yield SourceFact(path="cluster/hostAffinity", value=str(rule.get("name") or rule["_type"]))


def _free_space(props: Plain) -> Iterator[SourceFact]:
    for one in props.get("guest.disk", []):
        if "freeSpace" in one and "diskPath" in one:
            yield SourceFact(path=f"guest/freeSpace{one['diskPath']}", value=str(one["freeSpace"]))


def _settings(told: list[Plain]) -> Iterator[SourceFact]:
    shown = 0
    for one in sorted(told, key=lambda setting: str(setting.get("key", ""))):
        key = str(one.get("key", ""))
        if _OWN.match(key):
            continue
        shown += 1
        if shown > MAX_SETTINGS:
            yield SourceFact(path="extraConfig", value=f"{len(told)} settings, of which {MAX_SETTINGS} are shown")
            return
        value = "(not shown)" if _SECRET.search(key) else str(one.get("value", ""))[:200]
        yield SourceFact(path=f"extraConfig/{key}", value=value)
