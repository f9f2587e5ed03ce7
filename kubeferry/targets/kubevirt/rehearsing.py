"""A rehearsal in a cluster: started over the machine's claims, looked at, and taken away.

It has a VirtualMachine of its own name. Who may begin and end one is told by a fence on the claim that the machine's
movers keep their state on: that outlives it, so whoever slept through its end begins none any more.
"""

from __future__ import annotations

from dataclasses import replace

from kubeferry.documents import Entry, Observation, TargetConfig
from kubeferry.errors import Fenced, TargetRefused
from kubeferry.ledger import REHEARSAL, External, Ledger
from kubeferry.targets import rehearsed_now, runs_from_it
from kubeferry.targets.guest import rehearsals
from kubeferry.targets.kubevirt import fences, machine, names, objects, observing, rehearsal_spec, removal
from kubeferry.targets.kubevirt.api import Cluster
from kubeferry.targets.kubevirt.kinds import CLAIM, NETWORK_POLICY, VIRTUAL_MACHINE


def start(
    cluster: Cluster,
    config: TargetConfig,
    entry: Entry,
    ledger: Ledger,
    fence: int,
    beside: tuple[Entry, ...] = (),
) -> None:
    """See `kubeferry.targets.Target.rehearse`. Machines have no network there, and so nothing of each other."""
    if beside:
        raise TargetRefused(
            "a cluster rehearses each machine by itself",
            fix="Plan again with this configuration (`kubeferry plan --config`).",
            machine=entry.name,
        )
    if machine.runs(cluster, entry):
        raise runs_from_it(entry, entry.name)
    _refuse_without_claims(cluster, entry)
    _raise_fence(cluster, entry, fence)
    apart, name = rehearsal_spec.rehearsed(entry), names.rehearsal(entry.target_name)

    def told(thing: External) -> None:
        ledger(replace(thing, kind=REHEARSAL) if thing.kind == names.VIRTUAL_MACHINE else thing)

    if cluster.get(NETWORK_POLICY, name, entry.namespace) is None:
        ledger(External(names.NETWORK_POLICY, name, f"{entry.namespace}/{name}"))
    cluster.apply(rehearsal_spec.network_policy(entry), NETWORK_POLICY)
    objects.apply(cluster, apart, told, dry_run=False)
    machine.start(cluster, apart, told)
    try:
        fences.check(cluster, entry, fence, CLAIM, names.state_claim(entry.target_name))
    except Fenced:  # asleep before the last request, we come too late
        _take_away(cluster, config, entry)
        raise


def observe(cluster: Cluster, config: TargetConfig, entry: Entry) -> Observation:
    """See `kubeferry.targets.Target.observe_rehearsal`."""
    probes, not_asked = rehearsals.asked(entry, networked=False)
    apart = rehearsal_spec.rehearsed(entry).model_copy(update={"probes": probes})
    if cluster.get(VIRTUAL_MACHINE, apart.target_name, entry.namespace) is None:
        raise TargetRefused("no rehearsal of it is started", fix="Start it first.", machine=entry.name)
    if cards := rehearsal_spec.connected(observing.appeared(cluster, apart)):
        _take_away(cluster, config, entry)
        raise TargetRefused(
            "its rehearsal has a network, and was ended at once",
            why=f"the cluster gave it {', '.join(cards)}",
            fix="Find what adds networks to machines there: a webhook, or a preference.",
            machine=entry.name,
        )
    seen = observing.observe(cluster, apart, {})
    where = seen.where.replace("KubeVirt, ", "KubeVirt, rehearsed over a throw-away layer and without a network, ", 1)
    not_shown = (*seen.not_shown, *rehearsal_spec.unshown(entry), *rehearsals.unshown(entry))
    return seen.model_copy(
        update={"where": where, "not_asked": not_asked, "not_shown": tuple(dict.fromkeys(not_shown))}
    )


def end(cluster: Cluster, config: TargetConfig, entry: Entry, fence: int = 0) -> list[str]:
    """See `kubeferry.targets.Target.end_rehearsal`."""
    _raise_fence(cluster, entry, fence)
    return _take_away(cluster, config, entry)


def refuse(cluster: Cluster, entry: Entry) -> None:
    """Raise TargetRefused where a rehearsal runs over the machine's claims, or is about to."""
    name = names.rehearsal(entry.target_name)
    there = cluster.get(VIRTUAL_MACHINE, name, entry.namespace)
    if there is not None and names.objection(entry, there) is None:
        raise rehearsed_now(entry, f"VirtualMachine {entry.namespace}/{name}")


def _take_away(cluster: Cluster, config: TargetConfig, entry: Entry) -> list[str]:
    """The machine first, then its policy: it runs at no time without that."""
    apart = rehearsal_spec.rehearsed(entry)
    name = apart.target_name
    machine.stop(cluster, config, apart)
    removed = removal.drop(cluster, entry, [(VIRTUAL_MACHINE, name)])
    return [*removed, *removal.drop(cluster, entry, [(NETWORK_POLICY, name)])]


def _raise_fence(cluster: Cluster, entry: Entry, fence: int) -> None:
    fences.raise_fence(cluster, entry, fence, CLAIM, names.state_claim(entry.target_name))


def _refuse_without_claims(cluster: Cluster, entry: Entry) -> None:
    wanted = [one.claim for one in entry.disks]
    found = {claim: cluster.get(CLAIM, claim, entry.namespace) for claim in wanted}
    missing = [claim for claim, there in found.items() if there is None]
    foreign = [why for there in found.values() if there is not None and (why := names.objection(entry, there))]
    if missing or foreign:
        raise TargetRefused(
            "the machine's disks are not here",
            why="; ".join([*(f"no claim {entry.namespace}/{claim}" for claim in missing), *foreign]),
            fix="Copy them first.",
            machine=entry.name,
        )
