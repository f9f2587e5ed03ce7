"""Rules about network cards and all other devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kubeferry.model import Nic
from mappings.devices import (
    CHIPSET_WATCHDOG,
    DIMMS,
    HOST_BOUND,
    PERSISTENT,
    of_kind,
    target_sound,
    target_video,
    target_watchdog_action,
)
from mappings.nics import is_standby, network_rule, plugged, target_binding, target_mac, target_model
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when
from mappings.tpm import why_not_carried
from mappings.virtio import GENERATIONS

_HOST_DEVICES = {"hostdev"}
_SHARES = {"filesystem"}


def per_nic(find: Callable[[Nic, Case], str | None]) -> Callable[[Case], Iterator[str]]:
    """A rule over each card that exists at the target: what `find` says of it, after its name."""

    def rule(case: Case) -> Iterator[str]:
        for nic, _network in plugged(case.machine, case.choices):
            what = find(nic, case)
            if what is not None:
                yield f"Network card {nic.id} {what}"

    return rule


def _where(nic: Nic) -> str:
    return " ".join(part for part in (nic.network_kind, nic.network) if part)


def _unmapped(case: Case) -> Iterator[str]:
    for nic in case.machine.nics:
        if network_rule(nic, case.choices) is None and not is_standby(nic):
            yield f"Network card {nic.id} is on {_where(nic)}, which the policy does not map."


def _dropped(case: Case) -> Iterator[str]:
    for nic in case.machine.nics:
        rule = network_rule(nic, case.choices)
        if rule is not None and rule.target == "drop" and not is_standby(nic):
            yield f"Network card {nic.id} ({_where(nic)}) is dropped, as the policy says."


def _second_pod(case: Case) -> Iterable[str]:
    on_pod = [nic.id for nic, rule in plugged(case.machine, case.choices) if rule.target == "pod"]
    return (
        (f"Cards {', '.join(on_pod)} are all mapped to the pod network, which takes one.",) if len(on_pod) > 1 else ()
    )


def _address(case: Case) -> Iterator[str]:
    for nic, rule in plugged(case.machine, case.choices):
        if rule.target == "pod":
            yield f"Network card {nic.id} is on the pod network: the guest's old address does not work there."


def _failover(case: Case) -> Iterator[str]:
    for nic in case.machine.nics:
        if is_standby(nic):
            yield f"Network card {nic.id} is the part of a failover pair that comes and goes; its partner stays alone."


def _stays_on_its_node(case: Case) -> Iterator[str]:
    """KubeVirt migrates no machine that is bridged to the pod network: the address belongs to the pod."""
    if case.choices.eviction_strategy != "LiveMigrate":
        return
    for nic, rule in plugged(case.machine, case.choices):
        if rule.target == "pod" and target_binding(rule) == "bridge":
            yield (
                f"Network card {nic.id} is bridged to the pod network, so the machine cannot be migrated, and its "
                "eviction strategy LiveMigrate keeps its node from being drained."
            )


def _model(nic: Nic, case: Case) -> str | None:
    now = target_model(nic, case.machine.guest, case.choices)
    return (
        None
        if nic.model == now or (nic.model in GENERATIONS and now == "virtio")
        else f"changes from {nic.model or 'an unknown model'} to {now}: the guest must have that driver."
    )


def _no_mac(nic: Nic, _case: Case) -> str | None:
    return "has no known MAC address; it gets a new one." if nic.mac is None else None


def _bad_mac(nic: Nic, _case: Case) -> str | None:
    return (
        f"has the MAC address {nic.mac}, which is not that of a card; it gets a new one."
        if nic.mac and not target_mac(nic)
        else None
    )


def _hostdev(nic: Nic, _case: Case) -> str | None:
    return "is a device of the host; it becomes a virtual card." if nic.network_kind == "hostdev" else None


def _kind_unknown(nic: Nic, _case: Case) -> str | None:
    return "is on a network that is not known." if nic.network_kind == "unknown" else None


def _vlan(nic: Nic, _case: Case) -> str | None:
    return f"carries VLAN {', '.join(map(str, nic.vlans))}; the target's network must tag it." if nic.vlans else None


def _mtu(nic: Nic, _case: Case) -> str | None:
    return f"has an MTU of {nic.mtu}; the target's network decides." if nic.mtu else None


def _limits(nic: Nic, _case: Case) -> str | None:
    return "has bandwidth limits, which are not carried." if nic.throttled else None


def _filter(nic: Nic, case: Case) -> str | None:
    told = case.choices.network.policies == "from-source" and bool(nic.filters)  # by the rules of traffic
    return "has a network filter, which is not carried." if nic.filtered and not told else None


def _host_devices(case: Case) -> Iterator[str]:
    for device in case.machine.devices:
        if device.kind in _HOST_DEVICES:
            yield f"A device of the host is passed through ({device.model or 'unknown kind'}{_detail(device.detail)})."


def _shares(case: Case) -> Iterator[str]:
    for device in case.machine.devices:
        if device.kind in _SHARES:
            yield f"A folder of the host is shared with the guest{_detail(device.detail)}."


def _detail(detail: dict[str, str]) -> str:
    return "".join(f", {key} {value}" for key, value in detail.items())


def _host_bound(case: Case) -> Iterable[str]:
    found = [one for one in case.machine.devices if one.kind in HOST_BOUND - _HOST_DEVICES - _SHARES]
    kinds = sorted({one.kind for one in found if one.kind != "memory" or one.model not in DIMMS | PERSISTENT})
    return (f"Devices of the host that are not carried: {', '.join(kinds)}.",) if kinds else ()


def _persistent(case: Case) -> Iterator[str]:
    for device in of_kind(case.machine, "memory"):
        if device.model in PERSISTENT:
            where = device.detail.get("source.path", "without a file")
            yield f"What the guest keeps in persistent memory ({device.model}, {where}) is no disk, and is not copied."


def _video(case: Case) -> Iterable[str]:
    cards = of_kind(case.machine, "video")
    now = target_video(case.machine)
    changed = len(cards) > 1 or (now is not None and cards[0].model != now)
    had = ", ".join(card.model or "unknown" for card in cards)
    return (f"Graphics ({had}) become one {now}.",) if changed else ()


def _sound(case: Case) -> Iterable[str]:
    cards = of_kind(case.machine, "sound")
    now = target_sound(case.machine)
    changed = bool(cards) and (len(cards) > 1 or cards[0].model != now)
    return (f"Sound ({', '.join(card.model or 'unknown' for card in cards)}) becomes {now}.",) if changed else ()


def _spice(case: Case) -> Iterable[str]:
    spice = any(device.model == "spice" for device in of_kind(case.machine, "graphics"))
    return ("The screen is shown by VNC, not SPICE: no shared clipboard or USB.",) if spice else ()


def _watchdog(case: Case) -> Iterable[str]:
    watchdog = case.machine.watchdog
    if watchdog is None or watchdog.model == CHIPSET_WATCHDOG:
        return ()
    if target_watchdog_action(case.machine) is None:
        return (f"The watchdog's action {watchdog.action} is none that KubeVirt knows: it has no watchdog there.",)
    return (f"The watchdog changes from {watchdog.model} to i6300esb.",) if watchdog.model != "i6300esb" else ()


def _tpm(case: Case) -> Iterable[str]:
    tpm = case.machine.tpm
    if tpm is None:
        return ()
    why = why_not_carried(case.machine, case.choices)
    passed = " of the host" if tpm.backend == "passthrough" else ""
    lost = f"What the TPM{passed} holds is not carried, since {why}: it starts empty, and keys sealed to it are gone."
    return when(bool(why), lost)


def _measured(case: Case) -> Iterable[str]:
    carried = case.machine.tpm is not None and not why_not_carried(case.machine, case.choices)
    return when(
        carried,
        "What the TPM holds goes with the machine, and its firmware is another one: what is sealed to secure boot "
        "(PCR 7) opens where its keys are the same, what is sealed to the firmware itself (PCR 0 to 4) does not.",
    )


RULES = (
    Rule(
        "nic.unmapped",
        CRITICAL,
        "a network card without a rule in the policy",
        "Add a rule for it to the policy's `networks`; target `drop` leaves the card out.",
        _unmapped,
        False,
    ),
    Rule(
        "nic.second-pod",
        CRITICAL,
        "two cards on the pod network",
        "Name the one for it in the policy's `networks` (`sourceCard` or `sourceMac`), and map the others to a multus "
        "network, or drop them.",
        _second_pod,
        False,
    ),
    Rule(
        "nic.hostdev",
        CRITICAL,
        "a network card that is a device of the host",
        "Make sure that the guest can use a virtual card.",
        per_nic(_hostdev),
    ),
    Rule(
        "host-device",
        CRITICAL,
        "a device of the host",
        "Remove it at the source, or add a host device to the manifest after the move.",
        _host_devices,
    ),
    Rule(
        "host-share",
        CRITICAL,
        "a folder of the host",
        "Copy what the guest needs from it to a disk or a network share.",
        _shares,
    ),
    Rule(
        "tpm.state-lost",
        CRITICAL,
        "a TPM, whose content is not carried",
        "Have recovery keys (BitLocker, LUKS) at hand, or unseal before the move.",
        _tpm,
    ),
    Rule(
        "tpm.measured-anew",
        WARNING,
        "a TPM whose content is carried, and that measures another firmware",
        "Have recovery keys at hand; where the system asks for one, seal it anew there.",
        _measured,
    ),
    Rule(
        "nic.dropped",
        WARNING,
        "a card that the policy drops",
        "Change the policy's `networks` if the guest needs it.",
        _dropped,
    ),
    Rule(
        "nic.address-changed",
        WARNING,
        "a card on the pod network",
        "Let the guest use DHCP, and update whoever knows its address; or map it to a multus network.",
        _address,
    ),
    Rule(
        "nic.model-changed",
        WARNING,
        "a card of another model",
        "Rehearse it; set `nicModel` for it in the policy if another fits better.",
        per_nic(_model),
    ),
    Rule(
        "nic.mac-unknown",
        WARNING,
        "a card without a MAC address",
        "Guests that know their card by its MAC must be changed.",
        per_nic(_no_mac),
    ),
    Rule(
        "nic.mac-illegal",
        WARNING,
        "a MAC address that is none of a card",
        "Guests that know their card by its MAC must be changed.",
        per_nic(_bad_mac),
    ),
    Rule(
        "nic.network-unknown",
        WARNING,
        "a card on a network that is not told",
        "Check the policy's rule for it.",
        per_nic(_kind_unknown),
    ),
    Rule(
        "nic.failover",
        WARNING,
        "a card that another one stands in for",
        "See that the partner's network carries its load; an SR-IOV network can be attached by hand after the move.",
        _failover,
    ),
    Rule(
        "nic.no-migration",
        WARNING,
        "a card that keeps the machine on its node, where it must be migrated",
        "Use the binding masquerade, a multus network, or `evictionStrategy: LiveMigrateIfPossible`.",
        _stays_on_its_node,
    ),
    Rule("nic.vlan", WARNING, "VLAN tags", "Use a network attachment with this tag.", per_nic(_vlan)),
    Rule("nic.mtu", INFO, "an MTU", "Use a network attachment with this MTU.", per_nic(_mtu)),
    Rule(
        "nic.throttled",
        WARNING,
        "bandwidth limits",
        "Set limits in the network attachment if they matter.",
        per_nic(_limits),
    ),
    Rule(
        "nic.filtered",
        WARNING,
        "a network filter",
        "Write a NetworkPolicy in its place; where the source tells its lines, `network: {policies: from-source}` in "
        "the policy does.",
        per_nic(_filter),
    ),
    Rule(
        "memory.persistent",
        CRITICAL,
        "persistent memory of the guest's",
        "Move what is in it to a disk inside the guest, and remove the device.",
        _persistent,
    ),
    Rule(
        "device.host-bound",
        WARNING,
        "other devices that belong to the host",
        "Nothing, if the guest does not depend on them.",
        _host_bound,
    ),
    Rule(
        "device.video-changed",
        INFO,
        "graphics that KubeVirt has not",
        "Nothing: every guest has a driver for VGA.",
        _video,
    ),
    Rule(
        "device.sound-changed",
        INFO,
        "sound that KubeVirt has not",
        "Nothing, if the guest does not play sound.",
        _sound,
    ),
    Rule("device.spice", INFO, "a SPICE screen", "Use `virtctl vnc`.", _spice),
    Rule(
        "watchdog.changed",
        WARNING,
        "a watchdog that KubeVirt has not",
        "Change the guest's watchdog driver.",
        _watchdog,
    ),
)
