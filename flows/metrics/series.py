"""All machines' tallies as the series that are exported. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from flows.metrics.exposition import Family, Sample
from flows.metrics.tallies import Tally
from kubeferry.journal.outbox import Queue
from kubeferry.life.machine_state import Phase

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanTallies:
    """A plan by its name: each machine's wave and tally, how many leases in it have run out, and of how many machines
    the events cannot be read. `budgets` are the seconds for which a source may be off, of machines that have such a
    budget."""

    name: str
    waves: Mapping[str, str]
    tallies: Mapping[str, Tally]
    leases_expired: int = 0
    unreadable: int = 0
    budgets: Mapping[str, float] = field(default_factory=dict)

    def by_wave(self) -> Iterator[tuple[str, str, Tally]]:
        """Each machine with its wave and tally; one of which nothing is recorded is planned."""
        for machine, wave in self.waves.items():
            yield machine, wave, self.tallies.get(machine, Tally())


def families(plans: Sequence[PlanTallies], queues: Iterable[Queue], now: float) -> list[Family]:
    """Every series at this time (seconds since 1970)."""
    waiting = list(queues)
    return [
        *_of_copies(plans, now),
        *_of_cutovers(plans, now),
        Family(
            "kubeferry_leases_expired",
            "gauge",
            "Machines whose runner has not renewed its lease: nobody is at work on them, and somebody should be.",
            tuple(Sample({"plan": plan.name}, plan.leases_expired) for plan in plans),
        ),
        Family(
            "kubeferry_unreadable",
            "gauge",
            "Machines whose events in the journal are damaged, or of a newer version: they are in no other series.",
            tuple(Sample({"plan": plan.name}, plan.unreadable) for plan in plans),
        ),
        Family(
            "kubeferry_outbox_waiting",
            "gauge",
            "Messages that their receiver has not taken yet.",
            tuple(Sample({"receiver": one.receiver}, one.waiting) for one in waiting),
        ),
        Family(
            "kubeferry_outbox_undeliverable",
            "gauge",
            "Messages that their receiver has refused, set aside.",
            tuple(Sample({"receiver": one.receiver}, one.undeliverable) for one in waiting),
        ),
    ]


def _of_copies(plans: Sequence[PlanTallies], now: float) -> Iterator[Family]:
    machines: Counter[Labels] = Counter()
    oldest: dict[Labels, float] = {}
    delta: Counter[Labels] = Counter()
    copied: Counter[Labels] = Counter()
    for plan in plans:
        for wave in dict.fromkeys(plan.waves.values()):
            machines.update({(plan.name, wave, phase): 0 for phase in Phase})
            copied[plan.name, wave] = 0
        for _, wave, tally in plan.by_wave():
            where = (plan.name, wave)
            machines[(*where, tally.phase)] += 1
            copied[where] += tally.copied_bytes
            if tally.synced_of is not None:
                oldest[where] = max(oldest.get(where, 0.0), now - tally.synced_of)
            if tally.delta_bytes is not None:
                delta[where] += tally.delta_bytes
    names, with_state = ("plan", "wave"), ("plan", "wave", "state")
    yield _gauge("kubeferry_machines", "Machines by where they stand.", with_state, machines)
    age = "Seconds since the newest durable round began, of the machine of the wave whose copy is oldest."
    yield _gauge("kubeferry_sync_age_seconds", age, names, oldest)
    last = "Bytes that the newest durable round of each machine of the wave has copied, in all."
    yield _gauge("kubeferry_delta_bytes", last, names, delta)
    written = "Bytes that were written to targets, in all rounds."
    yield Family("kubeferry_copied_bytes", "counter", written, _samples(names, copied))


def _of_cutovers(plans: Sequence[PlanTallies], now: float) -> Iterator[Family]:
    off: dict[Labels, float] = {}
    budgets: dict[Labels, float] = {}
    rollbacks: Counter[Labels] = Counter()
    ratios: dict[Labels, list[float]] = {}
    down: dict[Labels, list[float]] = {}
    for plan in plans:
        for machine, wave, tally in plan.by_wave():
            if tally.off_since is not None:
                off[plan.name, wave, machine] = max(0.0, now - tally.off_since)
                if machine in plan.budgets:
                    budgets[plan.name, wave, machine] = plan.budgets[machine]
            for reason, count in tally.rollbacks.items():
                rollbacks[plan.name, wave, reason] += count
            if tally.projection_ratio is not None:
                ratios.setdefault((plan.name, wave), []).append(tally.projection_ratio)
            for part, seconds in tally.downtime.items():
                down.setdefault((plan.name, wave, part), []).append(seconds)
    machine_names = ("plan", "wave", "machine")
    since = "Seconds since the source was asked to stop, of machines that nothing serves in the place of yet."
    yield _gauge("kubeferry_cutover_in_progress_seconds", since, machine_names, off)
    budget = "Seconds for which the plan lets the source of such a machine be off."
    yield _gauge("kubeferry_downtime_budget_seconds", budget, machine_names, budgets)
    back = "Machines that went back, by the kind of reason."
    yield Family("kubeferry_rollbacks", "counter", back, _samples(("plan", "wave", "reason"), rollbacks))
    parts = tuple(
        Sample(dict(zip(("plan", "wave", "part"), key, strict=True)), value, suffix)
        for key, found in sorted(down.items())
        for suffix, value in (("_count", float(len(found))), ("_sum", sum(found)))
    )
    middle = {key: median(found) for key, found in ratios.items()}
    ratio = "Downtime that was measured by the one that was projected just before the stop, in the middle of the wave."
    yield _gauge("kubeferry_projection_error_ratio", ratio, ("plan", "wave"), middle)
    told = "Downtime of machines that have moved, by its parts; the part `total` is all of it."
    yield Family("kubeferry_downtime_seconds", "summary", told, parts)


def _gauge(name: str, about: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Family:
    return Family(name, "gauge", about, _samples(labels, values))


def _samples(labels: Sequence[str], values: Mapping[Labels, float]) -> tuple[Sample, ...]:
    return tuple(Sample(dict(zip(labels, key, strict=True)), value) for key, value in sorted(values.items()))
