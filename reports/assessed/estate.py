"""All machines of an assessment with what they have in common: apps, waves, what is open, and the room that there is.

Waves are the plan's; where the policy makes no plan there are none but those that it names, and `problems` says why.
Apps, windows and budgets are the policy's: they hold for machines that no plan takes yet, too. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubeferry.documents import AppProbe, Inventory, Plan, PlannedApp, Window
from kubeferry.documents.assessment import ACCEPT, Assessment, OpenDecision, Verdict
from kubeferry.documents.offer import ClusterRoom
from kubeferry.model import Machine, Severity
from kubeferry.schedule.windows import told

VERDICTS: tuple[Verdict, ...] = ("blocked", "incomplete", "ready-with-warnings", "ready", "excluded")
"""The gravest first."""


@dataclass(frozen=True, slots=True)
class Member:
    """One machine as pages show it. `folder` is where its pages lie; `wave` is empty where it has none, `waited_for`
    are those that come after it, `held` is why it does not move although nothing speaks against itself."""

    told: Assessment
    machine: Machine
    folder: str
    app: str = ""
    owner: str = ""
    wave: str = ""
    window: str = ""
    after: tuple[str, ...] = ()
    waited_for: tuple[str, ...] = ()
    held: str = ""
    budget_seconds: float | None = None

    @property
    def name(self) -> str:
        return self.told.name

    @property
    def verdict(self) -> Verdict:
        return self.told.verdict


@dataclass(frozen=True, slots=True)
class Together:
    """Machines that are looked at as one: an app, or a wave. Sums are of what is known; `unsized` disks are not in
    them."""

    name: str
    members: tuple[Member, ...]

    @property
    def verdict(self) -> Verdict:
        """The gravest of its members, those that the policy leaves out aside."""
        there = {member.verdict for member in self.members} - {"excluded"}
        return next((one for one in VERDICTS if one in there), "excluded")

    @property
    def unsized(self) -> int:
        return sum(member.told.unsized for member in self.members)

    @property
    def size_bytes(self) -> int:
        return sum(disk.size_bytes for member in self.members for disk in member.told.disks)

    @property
    def claim_bytes(self) -> int:
        return sum(disk.claim_bytes for member in self.members for disk in member.told.disks)

    @property
    def disks(self) -> int:
        return sum(len(member.told.disks) + member.told.unsized for member in self.members)

    @property
    def memory_bytes(self) -> int:
        return sum(member.machine.memory.size_bytes for member in self.members)

    @property
    def vcpus(self) -> int:
        return sum(member.machine.cpu.vcpus for member in self.members)

    @property
    def seconds(self) -> tuple[float, float]:
        """The least and most that all copies take, one after the other."""
        low = sum(member.told.estimate.low_seconds for member in self.members)
        return low, sum(member.told.estimate.high_seconds for member in self.members)

    @property
    def open(self) -> int:
        return sum(len(member.told.decisions) for member in self.members if member.verdict != "excluded")

    @property
    def windows(self) -> tuple[str, ...]:
        return tuple(sorted({member.window for member in self.members if member.window}))

    @property
    def waves(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(member.wave for member in self.members if member.wave))


@dataclass(frozen=True, slots=True)
class AppOutlook(Together):
    """An app. `tiers` are its machines in the order of their start, empty where any order will do."""

    owner: str = ""
    tiers: tuple[tuple[str, ...], ...] = ()
    after: tuple[str, ...] = ()
    together: bool = False
    window: str = ""
    budget_seconds: float | None = None
    probes: tuple[AppProbe, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """What a wave takes of something, and what there is; `fits` is None where nobody knows how much there is."""

    what: str
    need: float
    have: float | None
    of: str
    fits: bool | None


@dataclass(frozen=True, slots=True)
class WaveOutlook(Together):
    """A wave, and what it needs of the target's room."""

    apps: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Common:
    """A concern that so many machines have not settled, such as `what`; and the lines that accept it wherever it is,
    empty where it cannot be accepted."""

    id: str
    severity: Severity
    what: str
    machines: int
    accept: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the policy says of apps and windows, whatever speaks against their machines."""

    apps: Sequence[PlannedApp] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)


_UNSAID = Said()


@dataclass(frozen=True, slots=True)
class Estate:
    """Everything that the pages of an assessment tell."""

    source: str
    observed_at: str
    made_for: str
    members: tuple[Member, ...]
    apps: tuple[AppOutlook, ...]
    waves: tuple[WaveOutlook, ...]
    common: tuple[Common, ...]
    room: ClusterRoom | None = None
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    windows: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdicts(self) -> Counter[Verdict]:
        return Counter(member.verdict for member in self.members)

    def app(self, name: str) -> AppOutlook | None:
        return next((app for app in self.apps if app.name == name), None)

    def wave(self, name: str) -> WaveOutlook | None:
        return next((wave for wave in self.waves if wave.name == name), None)


def build_estate(
    inventory: Inventory,
    assessments: Sequence[Assessment],
    folders: Mapping[str, str],
    *,
    plan: Plan | None = None,
    problems: Sequence[str] = (),
    room: ClusterRoom | None = None,
    said: Said = _UNSAID,
) -> Estate:
    """The estate, its gravest machines first. `folders` are those of the machines' pages, `plan` is the one that the
    same inventory and policy make, and `problems` why they make none; `said` is what the policy says of apps and
    windows."""
    by_name = {machine.name: machine for machine in inventory.machines}
    members = tuple(sorted(_members(by_name, assessments, folders, plan), key=_gravest_first))
    return Estate(
        source=inventory.source,
        observed_at=inventory.observed_at,
        made_for=assessments[0].made_for if assessments else "",
        members=members,
        apps=_apps(members, said.apps),
        waves=_waves(members, plan, room),
        common=_common(assessments),
        room=room,
        problems=tuple(problems),
        missing=_missing(inventory),
        windows={name: told(window) for name, window in said.windows.items()},
    )


def _missing(inventory: Inventory) -> tuple[str, ...]:
    """What an estate's sources did not tell, or told twice."""
    told = inventory.unreadable if inventory.members else ()
    return tuple(f"{one.what}. {one.fix}" for one in told if one.severity is not Severity.INFO)


def _gravest_first(member: Member) -> tuple[int, str]:
    return VERDICTS.index(member.verdict), member.name


def _members(
    machines: Mapping[str, Machine], assessments: Sequence[Assessment], folders: Mapping[str, str], plan: Plan | None
) -> list[Member]:
    waves = {name: wave.name for wave in plan.waves for name in wave.machines} if plan else {}
    left = plan.excluded if plan else {}
    behind: defaultdict[str, list[str]] = defaultdict(list)
    for one in assessments:
        for other in one.after:
            behind[other].append(one.name)
    return [
        Member(
            told=one,
            machine=machines[one.name],
            folder=folders[one.name],
            app=one.app or "",
            owner=one.owner or "",
            wave=waves.get(one.name) or (one.wave or "" if plan is None else ""),
            window=one.window or "",
            after=one.after,
            waited_for=tuple(behind[one.name]),
            held=left.get(one.name, "") if one.verdict in {"ready", "ready-with-warnings"} else "",
            budget_seconds=one.budget_seconds,
        )
        for one in assessments
    ]


def _apps(members: Sequence[Member], apps: Sequence[PlannedApp]) -> tuple[AppOutlook, ...]:
    by_app: defaultdict[str, list[Member]] = defaultdict(list)
    for member in members:
        if member.app:
            by_app[member.app].append(member)
    planned = {app.name: app for app in apps}
    return tuple(_app(name, by_app[name], planned.get(name)) for name in sorted(by_app))


def _app(name: str, members: Sequence[Member], planned: PlannedApp | None) -> AppOutlook:
    owners = tuple(dict.fromkeys(member.owner for member in members if member.owner))
    if planned is None:
        return AppOutlook(name, tuple(members), owner=", ".join(owners))
    place = {one: number for number, tier in enumerate(planned.tiers or ()) for one in tier}
    return AppOutlook(
        name,
        tuple(sorted(members, key=lambda member: (place.get(member.name, len(place)), member.name))),
        owner=planned.owner or ", ".join(owners),
        tiers=planned.tiers or (),
        after=planned.after or (),
        together=bool(planned.together),
        window=planned.window or "",
        budget_seconds=planned.downtime_seconds,
        probes=planned.probes or (),
    )


def _waves(members: Sequence[Member], plan: Plan | None, room: ClusterRoom | None) -> tuple[WaveOutlook, ...]:
    names = [wave.name for wave in plan.waves] if plan else sorted({member.wave for member in members if member.wave})
    found = []
    for name in names:
        there = tuple(member for member in members if member.wave == name)
        apps = tuple(dict.fromkeys(member.app for member in there if member.app))
        found.append(WaveOutlook(name, there, apps, tuple(_needs(Together(name, there), room))))
    return tuple(found)


def _needs(wave: Together, room: ClusterRoom | None) -> list[Need]:
    """What a wave takes, beside what the target has: sums, without what pods take beside their guests."""
    nodes = f"{room.nodes} node{'' if room.nodes == 1 else 's'}, as if empty" if room else "the cluster"
    memory, cpus = (room.memory_bytes, room.cpus) if room else (None, None)
    found = [
        Need("memory", wave.memory_bytes, memory, nodes, None if memory is None else wave.memory_bytes <= memory),
        Need("processors", wave.vcpus, cpus, f"{nodes}; guests may share them", None),
        Need("claims", wave.claim_bytes, None, "storage", None),
    ]
    for quota in (room.quotas or ()) if room else ():
        inside = Together(wave.name, tuple(one for one in wave.members if one.told.namespace == quota.namespace))
        asked = {
            "requests.memory": inside.memory_bytes,
            "requests.storage": inside.claim_bytes,
            "persistentvolumeclaims": _claims(inside),
        }
        if inside.members and quota.resource in asked:
            need = asked[quota.resource]
            where = f"quota {quota.namespace}/{quota.quota}"
            found.append(Need(quota.resource, need, quota.left, where, need <= quota.left))
    return found


def _claims(wave: Together) -> int:
    return sum(len(member.told.disks) for member in wave.members)


def _common(assessments: Sequence[Assessment]) -> tuple[Common, ...]:
    """What is open, that of the most machines first among those that are equally grave."""
    found: dict[str, OpenDecision] = {}
    times: Counter[str] = Counter()
    for one in (one for one in assessments if one.verdict != "excluded"):
        times.update({decision.id for decision in one.decisions})
        for decision in one.decisions:
            found.setdefault(decision.id, decision)
    rank = {Severity.CRITICAL: 0, Severity.WARNING: 1}
    ids = sorted(found, key=lambda one: (rank[found[one].severity], -times[one], one))
    return tuple(Common(one, found[one].severity, found[one].what[0], times[one], _accepted(found[one])) for one in ids)


def _accepted(decision: OpenDecision) -> str:
    if not any(answer.means == ACCEPT for answer in decision.answers):
        return ""
    return f"rules:\n- match: {{}}\n  accept: [{decision.id}]\n"
