"""What a plan adds to a namespace, in the words of quotas: claims, machines' pods, movers, objects. Pure.

Only what is not there yet is counted, so that the same plan can go on where it was. Machines begin one after another,
and stay: at its fullest a namespace holds all of them, or all but one and that one's mover.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from kubeferry.documents import Entry, MoverSettings
from kubeferry.targets.kubevirt import claims, names
from kubeferry.targets.kubevirt.checks.facts import Facts, Place, Request, claims_of, keeps_state, machine_of
from kubeferry.targets.kubevirt.checks.launcher import Footprint, footprint
from kubeferry.targets.kubevirt.checks.storage import class_name
from kubeferry.targets.kubevirt.job_spec import TMP_LIMIT, TMP_SIZE
from kubeferry.targets.kubevirt.kinds import CLAIM, DATA_VOLUME, INSTANCE, JOB, POD, VIRTUAL_MACHINE, Kind
from kubeferry.targets.kubevirt.quantities import amount

# The claim that KubeVirt makes for UEFI variables and a TPM (v1.9 line).
STATE_BYTES = amount("10Mi")
OVER = frozenset({"Succeeded", "Failed"})

Amounts = dict[str, Fraction]


@dataclass(frozen=True, slots=True)
class Room:
    """One claim: its name, its bytes and its class."""

    name: str
    size: Fraction
    storage_class: str | None


def demand(facts: Facts, request: Request, namespace: str) -> Amounts:
    """What the namespace must have left for the plan."""
    place = facts.places[namespace]
    entries = request.within(namespace)
    found: Amounts = {}
    for room in rooms(facts, place, request, entries):
        _add(found, _claimed(room))
    coming = [entry for entry in entries if machine_of(entry) is not None and not arrived(place, entry)]
    mover = mover_footprint(request.config.movers)
    moves = bool(entries) and not movers_run(place)
    _add(
        found,
        peak([pod_amounts(footprint(entry, facts.kubevirt)) for entry in coming], pod_amounts(mover), moves=moves),
    )
    _add(found, dict(_objects(place, entries, coming)))
    return {name: value for name, value in found.items() if value}


def rooms(facts: Facts, place: Place, request: Request, entries: Iterable[Entry]) -> Iterator[Room]:
    """The claims that will be made."""
    settings = request.config.movers
    for entry in entries:
        mine = list(claims_of(entry))
        if entry.disks and mine:
            profile = facts.profiles.named(class_name(facts, claims.state_class(mine[0], settings)) or "")
            mine.append(claims.state_claim(entry, mine[0], settings, profile, limits=place.limits.objects))
        for claim in mine:
            if place.claims.named(claim["metadata"]["name"]) is None:
                size = amount(claim["spec"]["resources"]["requests"]["storage"])
                yield Room(claim["metadata"]["name"], size, class_name(facts, claim["spec"].get("storageClassName")))
        kept = f"persistent-state-for-{entry.target_name}"
        if entry.variables is None and entry.tpm is None and keeps_state(entry) and not _has_prefix(place, kept):
            named = facts.kubevirt.get("vmStateStorageClass")
            yield Room(kept, STATE_BYTES, class_name(facts, str(named) if named else None))


def arrived(place: Place, entry: Entry) -> bool:
    """Whether the machine's pod is there, and counted already."""
    there = place.instances.named(entry.target_name)
    return there is not None and (there.get("status") or {}).get("phase") not in OVER


def movers_run(place: Place) -> bool:
    """Whether a mover of ours is there, and counted already."""
    ours = (
        one for one in place.jobs.objects if (one["metadata"].get("labels") or {}).get(names.PART_LABEL) == names.MOVER
    )
    return any((one.get("status") or {}).get("active") for one in ours)


def mover_footprint(settings: MoverSettings) -> Footprint:
    """What a mover's pod asks for."""
    requests = {
        "cpu": amount(settings.cpu_request),
        "memory": amount(settings.memory_request),
        "ephemeral-storage": amount(TMP_SIZE),
    }
    limits = {
        "cpu": amount(settings.cpu_limit),
        "memory": amount(settings.memory_limit),
        "ephemeral-storage": amount(TMP_LIMIT),
    }
    return Footprint(requests, limits)


def pod_amounts(pod: Footprint) -> Amounts:
    """A pod in the words of quotas."""
    asked = {f"requests.{name}": value for name, value in pod.requests.items()}
    return asked | {f"limits.{name}": value for name, value in pod.limits.items()} | {"pods": Fraction(1)}


def peak(machines: list[Amounts], mover: Amounts, *, moves: bool) -> Amounts:
    """The most of each resource at any moment: all machines; or a mover, and all but the machine that it moves."""
    found: Amounts = {}
    for name in sorted({*mover, *(key for one in machines for key in one)}):
        values = [one.get(name, Fraction()) for one in machines]
        whole = sum(values, Fraction())
        before = whole - min(values, default=Fraction()) + mover.get(name, Fraction())
        found[name] = max(whole, before) if moves else whole
    return found


def count_of(kind: Kind) -> str:
    """The name of the quota on the number of objects of a kind."""
    return f"count/{kind.plural}" + (f".{kind.group}" if kind.group else "")


def _claimed(room: Room) -> Amounts:
    one, counted = Fraction(1), {"requests.storage": room.size, "persistentvolumeclaims": Fraction(1)}
    if room.storage_class:
        prefix = f"{room.storage_class}.storageclass.storage.k8s.io"
        counted |= {f"{prefix}/requests.storage": room.size, f"{prefix}/persistentvolumeclaims": one}
    return counted | {count_of(CLAIM): one}


def _objects(place: Place, entries: Iterable[Entry], coming: list[Entry]) -> Iterator[tuple[str, Fraction]]:
    """Numbers of objects that are made. Of each disk there is one Job at a time, which stays for a while."""
    made: Counter[str] = Counter()
    for entry in entries:
        for kind in (VIRTUAL_MACHINE, DATA_VOLUME):
            wanted = [one["metadata"]["name"] for one in entry.manifests if one.get("kind") == kind.name]
            made[count_of(kind)] += sum(place.of(kind).named(name) is None for name in wanted)
        made[count_of(JOB)] += sum(not _has_job(place, entry, planned.disk) for planned in entry.disks)
    made[count_of(INSTANCE)] = made[count_of(POD)] = len(coming)
    return ((name, Fraction(number)) for name, number in made.items())


def _has_job(place: Place, entry: Entry, disk: str) -> bool:
    wanted = {names.MACHINE_LABEL: entry.target_name, names.DISK_LABEL: names.label_value(disk)}
    return any(wanted.items() <= (one["metadata"].get("labels") or {}).items() for one in place.jobs.objects)


def _has_prefix(place: Place, prefix: str) -> bool:
    return any(one["metadata"]["name"].startswith(prefix) for one in place.claims.objects)


def _add(found: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        found[name] = found.get(name, Fraction()) + value
