"""Rules about what the system inside will notice: its drivers, the names of its cards, its clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kubeferry.model import Machine, Nic
from mappings.firmware import target_timezone
from mappings.nics import plugged, target_indexes
from mappings.rules.rule import INFO, WARNING, Case, Rule, when
from mappings.systems import is_windows, wants_windows
from mappings.virtio import is_transitional, may_be_legacy, names_transitional

# How a guest of another hypervisor calls its first card: by the slot that the hypervisor gives it.
_VMXNET = "ens192"
_SLOT = re.compile(r"pci 0000:00:([0-9a-f]{2})\.0")
_PORT = re.compile(r"pci 0000:([0-9a-f]{2}):([0-9a-f]{2})\.0")
_STATIC = (
    "Look for the old name where static addresses are set (/etc/network/interfaces, netplan, "
    "sysconfig/network-scripts, NetworkManager), and write the MAC address in its place; or"
)


def _legacy_unknown(case: Case) -> Iterable[str]:
    return when(
        may_be_legacy(case.machine, case.choices),
        "Whether the guest's drivers know virtio 1 is not known: nothing at the source needs it, and Q35 has no other.",
    )


def _transitional(case: Case) -> Iterable[str]:
    chosen = case.choices.virtio_transitional is None and is_transitional(case.machine, case.choices)
    known = chosen and not names_transitional(case.machine)
    system = case.machine.guest.os_name or case.machine.guest.os_id or case.machine.guest.kernel
    return when(known, f"The system ({system}) knows virtio 0.9 only: its devices are transitional ones.")


def _card_names(case: Case) -> Iterator[str]:
    """Cards that the guest will call otherwise. A Q35 has one card on each bus, KubeVirt's from the first on; where a
    source's Q35 does not tell the bus, it is left to `device.addresses`, unless they get numbers of the firmware's."""
    machine = case.machine
    if is_windows(machine.guest) or machine.machine_type == "virt":
        return
    q35 = "q35" in (machine.machine_type or "")
    indexes = target_indexes(machine, case.choices)
    for bus, (nic, _rule) in enumerate(plugged(machine, case.choices), 1):
        had = _name_now(machine, nic)
        there = f"enp{bus}s0" if q35 else "enp1s0 or the like"
        now = f"eno{indexes[nic.id]}" if nic.id in indexes else there
        if had != now and (had or not q35 or nic.id in indexes):
            yield f"Network card {nic.id}{f', {had} in most guests,' if had else ''} is called {now} at the target."


def _name_now(machine: Machine, nic: Nic) -> str | None:
    """The name that udev gives the card at the source, None where it cannot be told."""
    if nic.acpi_index:
        return f"eno{nic.acpi_index}"
    if nic.model and "vmxnet" in nic.model.lower():
        return _VMXNET if nic is machine.nics[0] else None
    places = (fact.value for fact in machine.unmodelled if re.search(rf"interface\[{nic.id}\]/address$", fact.path))
    place = next(places, "")
    if "q35" in (machine.machine_type or ""):
        port = _PORT.fullmatch(place)
        return f"enp{int(port[1], 16)}s{int(port[2], 16)}" if port else None
    slot = _SLOT.match(place)
    return f"ens{int(slot[1], 16)}" if slot else None


def _windows_cards(case: Case) -> Iterable[str]:
    moved = is_windows(case.machine.guest) and bool(plugged(case.machine, case.choices))
    return when(
        moved, "Windows takes cards on other buses for new ones: static addresses stay with the hidden old ones."
    )


def _windows_platform(case: Case) -> Iterable[str]:
    return when(
        wants_windows(case.machine),
        "The source says nothing of the platform: Windows gets the usual Hyper-V enlightenments, timers and a tablet.",
    )


def _windows_clock(case: Case) -> Iterable[str]:
    zone = target_timezone(case.machine.clock, case.choices)
    unset = is_windows(case.machine.guest) and zone is None and case.choices.timezone is None
    return when(unset, "Windows takes its clock for local time, and no time zone is known: it is given UTC.")


RULES = (
    Rule(
        "guest.virtio-unknown",
        WARNING,
        "a guest that may know virtio 0.9 only",
        "Rehearse it; set `virtioTransitional: true` for systems of before 2015, `false` to settle it.",
        _legacy_unknown,
    ),
    Rule(
        "guest.virtio-transitional",
        INFO,
        "a guest that knows virtio 0.9 only",
        "Set `virtioTransitional: false` for it in the policy if its drivers were renewed.",
        _transitional,
    ),
    Rule(
        "nic.name-changed",
        WARNING,
        "a card that the guest calls otherwise at the target",
        f"{_STATIC}, unless that is so already, set `acpiIndex: true` in the policy: its names (eno1, eno2, …) stay.",
        _card_names,
    ),
    Rule(
        "windows.cards",
        WARNING,
        "cards of a Windows machine",
        "Note its static addresses before the move, and set them again after it; or let it use DHCP.",
        _windows_cards,
    ),
    Rule(
        "windows.platform",
        INFO,
        "a Windows machine whose source has no words for its platform",
        "Nothing; a rehearsal shows whether it runs well with them.",
        _windows_platform,
    ),
    Rule(
        "windows.clock",
        WARNING,
        "a Windows machine without a known time zone",
        "Set `timezone` for it in the policy.",
        _windows_clock,
    ),
)
