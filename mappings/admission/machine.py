"""Admission rules about the machine itself: run strategy, firmware, processors, memory, clock, features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from kubeferry.errors import Problem
from mappings.admission.view import View, problem
from mappings.cpu import GIB, MODELS, POLICIES, hotplug_step
from mappings.devices import SOUNDS, VIDEOS, WATCHDOG_ACTIONS
from mappings.disks import SERIAL
from mappings.firmware import HYPERV_NEEDS, TIMEZONE
from mappings.instancetypes import conflicts
from mappings.names import is_dns_label
from mappings.quantities import parse_quantity

# Labels that KubeVirt writes itself, under `kubevirt.io/`.
_RESERVED = {"created-by", "migrationJobUID", "nodeName", "migrationTargetNodeName", "schedulable", "install-strategy"}
_LEAST_MEMORY = 1_000_000
_MOST = (1 << 32) - 1  # processors and retries are unsigned numbers of 32 bits


def reserved_labels(labels: dict[str, str]) -> Iterator[Problem]:
    for key in labels:
        if key.startswith("kubevirt.io/") and key.removeprefix("kubevirt.io/") in _RESERVED:
            yield problem(f"spec.template.metadata.labels[{key}]", "is KubeVirt's own", "Remove it from the policy.")


def _run_strategy(view: View) -> Iterator[Problem]:
    if ("running" in view.spec) == ("runStrategy" in view.spec):
        yield problem("spec.runStrategy", "is not the one word on when to run", "Write runStrategy, and not running.")


def _hostname(view: View) -> Iterator[Problem]:
    hostname = view.template.get("hostname")
    if hostname is not None and not is_dns_label(hostname):
        yield problem("spec.template.spec.hostname", f"{hostname!r} is not a DNS label", "Leave out its domain.")


def _instance_type(view: View) -> Iterator[Problem]:
    """It suffers no cpu and memory beside it, and must be told by its name: KubeVirt takes one that is not there."""
    for field in ("instancetype", "preference"):
        named = view.spec.get(field)
        if named is not None and not (named.get("name") or named.get("inferFromVolume")):
            yield problem(f"spec.{field}", "names nothing", "Name it.")
    if not view.spec.get("instancetype"):
        return
    for path in conflicts(view.template):
        fix = "Keep one of the two; the policy's `instancetype` leaves out what must not stand beside it."
        yield problem("spec.instancetype", f"conflicts with explicit cpu and memory ({path})", fix)


def _machine_type(view: View) -> Iterator[Problem]:
    kind = view.part("machine").get("type", "q35")
    if not kind.startswith(("q35", "pc-q35")):
        yield problem("domain.machine.type", f"{kind!r} is refused", "Use q35.")


def _bootloader(view: View) -> Iterator[Problem]:
    loader = view.part("firmware", "bootloader")
    if len(loader) != 1:
        yield problem(
            "domain.firmware.bootloader", "is not exactly one of bios and efi", "Choose the guest's firmware."
        )
    secure = "efi" in loader and (loader["efi"] or {}).get("secureBoot", True)
    if secure and view.part("features", "smm").get("enabled", "smm" in view.part("features")) is not True:
        yield problem(
            "domain.features.smm", "is off, and secure boot needs it", "Enable it, or write secureBoot: false."
        )


def _identity(view: View) -> Iterator[Problem]:
    firmware = view.part("firmware")
    try:
        UUID(firmware.get("uuid", "00000000-0000-0000-0000-000000000000"))
    except ValueError:
        yield problem("domain.firmware.uuid", f"{firmware['uuid']!r} is not a UUID", "Leave it out or correct it.")
    if not SERIAL.fullmatch(firmware.get("serial", "none")):
        yield problem("domain.firmware.serial", "has characters that are refused", "Use letters, digits and _.+-")


def _cpu(view: View) -> Iterator[Problem]:
    cpu = view.part("cpu")
    for field in ("sockets", "cores", "threads", "maxSockets"):
        if not 1 <= cpu.get(field, 1) <= _MOST:
            yield problem(f"domain.cpu.{field}", f"is {cpu[field]}", f"Use 1 to {_MOST}.")
    if cpu.get("maxSockets", cpu.get("sockets", 1)) < cpu.get("sockets", 1):
        yield problem("domain.cpu.maxSockets", "is less than sockets", "Use at least as many.")
    if cpu.get("dedicatedCpuPlacement") and cpu.get("threads", 1) > 2:
        yield problem("domain.cpu.threads", "is more than 2 with dedicated processors", "Use 1 or 2.")
    if cpu.get("model", "host-model") not in {*MODELS, "host-model", "host-passthrough"}:
        yield problem("domain.cpu.model", f"{cpu['model']!r} is a model that no node offers", "Use host-model.")
    for feature in cpu.get("features", []):
        if feature.get("policy", "require") not in POLICIES:
            fix = f"Use one of {', '.join(POLICIES)}."
            yield problem(f"domain.cpu.features[{feature['name']}]", f"policy {feature['policy']!r} is unknown", fix)


def _memory(view: View) -> Iterator[Problem]:
    memory = view.part("memory")
    if view.spec.get("instancetype"):
        return
    guest = parse_quantity(memory["guest"]) if "guest" in memory else None
    if guest is None or guest < _LEAST_MEMORY:
        yield problem("domain.memory.guest", "is missing or below 1 MB", "State the guest's memory.")
        return
    page = memory.get("hugepages", {}).get("pageSize")
    if "maxGuest" in memory:
        grown, step = parse_quantity(memory["maxGuest"]), hotplug_step(page)
        if guest < GIB or guest % step or grown % step or grown < guest:
            fix = "Leave it out, or use multiples of 2 MiB (with pages of 1 GiB, of those) from 1 GiB on."
            yield problem("domain.memory.maxGuest", "is refused for this memory", fix)
    if page is not None and (page not in {"2Mi", "1Gi"} or guest % parse_quantity(page)):
        fix = "Use 2Mi or 1Gi, and a multiple of it as memory."
        yield problem("domain.memory.hugepages.pageSize", f"{page!r} does not fit the memory", fix)


def _resources(view: View) -> Iterator[Problem]:
    resources = view.part("resources")
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name, limit in limits.items():
        if name in requests and parse_quantity(requests[name]) > parse_quantity(limit):
            yield problem(f"domain.resources.requests[{name}]", "is above its limit", "Lower it or raise the limit.")
    guest = view.part("memory").get("guest", 0)
    if "memory" in limits and parse_quantity(limits["memory"]) < parse_quantity(guest):
        yield problem("domain.resources.limits[memory]", "is below the guest's memory", "Raise it or leave it out.")


def _clock(view: View) -> Iterator[Problem]:
    clock = view.part("clock")
    if "utc" in clock and "timezone" in clock:
        yield problem("domain.clock", "has both utc and timezone", "Keep one of them.")
    if not TIMEZONE.fullmatch(clock.get("timezone", "UTC")):
        yield problem("domain.clock.timezone", f"{clock['timezone']!r} is no time zone", "Write one as Europe/Berlin.")


def _hyperv(view: View) -> Iterator[Problem]:
    on = {name for name, one in view.part("features", "hyperv").items() if (one or {}).get("enabled", True)}
    for name in sorted(on):
        for need in HYPERV_NEEDS.get(name, ()):
            if need not in on:
                yield problem(f"domain.features.hyperv.{name}", f"needs {need}", f"Enable {need} too.")


def _spinlocks(view: View) -> Iterator[Problem]:
    retries = view.part("features", "hyperv", "spinlocks").get("spinlocks", 0)
    if not 0 <= retries <= _MOST:
        yield problem("domain.features.hyperv.spinlocks.spinlocks", f"is {retries}", f"Use at most {_MOST}.")


def _models(view: View) -> Iterator[Problem]:
    actions = {view.part("devices", "watchdog", "i6300esb").get("action", "reset")}
    known: tuple[tuple[str, set[Any], tuple[str, ...]], ...] = (
        ("video.type", {view.part("devices", "video").get("type", "vga")}, VIDEOS),
        ("sound.model", {view.part("devices", "sound").get("model", "ich9")}, SOUNDS),
        ("watchdog.i6300esb.action", actions, WATCHDOG_ACTIONS),
    )
    for where, said, models in known:
        for value in said - set(models):
            yield problem(f"domain.devices.{where}", f"{value!r} is refused", f"Use one of {', '.join(models)}.")


MACHINE_CHECKS = (
    _run_strategy,
    _hostname,
    _instance_type,
    _machine_type,
    _bootloader,
    _identity,
    _cpu,
    _memory,
    _resources,
    _clock,
    _hyperv,
    _spinlocks,
    _models,
)
