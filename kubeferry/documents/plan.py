"""Plan: every decision, the manifests included, frozen by a digest."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from kubeferry.documents.approvals import PlannedApproval
from kubeferry.documents.apps import AppProbe, PlannedApp
from kubeferry.documents.base import ShortName, canonical_json, content_of
from kubeferry.documents.cutover_policy import CommitPolicy, DowntimePolicy
from kubeferry.documents.earlier import as_counted, as_written
from kubeferry.documents.hooks import PlannedHook
from kubeferry.documents.offer import OfferedType
from kubeferry.documents.policy import RehearsalPolicy, StopPolicy, WarmPolicy
from kubeferry.documents.probes import Probe
from kubeferry.documents.repeated import Repeated
from kubeferry.documents.traffic_policy import SandboxPolicy
from kubeferry.documents.waves_policy import WavesPolicy
from kubeferry.documents.windows import Window
from kubeferry.model import Bytes, Carried, Concern, Machine, Value
from kubeferry.shapes import Document

Form = Callable[[Value], dict[str, Any]]
FORMS: tuple[Form, ...] = (content_of, as_written, as_counted)
"""How the digest of a plan is taken, and how earlier versions took it."""


class PlannedDisk(Value):
    """One disk and its claim. `size_bytes` is the guest's disk, `claim_bytes` what the claim asks for. `shared_with`
    are machines of the set that attach the claim, too."""

    disk: str
    claim: ShortName
    volume: ShortName
    size_bytes: Bytes
    claim_bytes: Bytes
    volume_mode: Literal["Block", "Filesystem"] = "Filesystem"
    shared_with: tuple[str, ...] | None = None


class AttachedDisk(Value):
    """A disk that another machine of the set carries: it is copied and proven there, once, and its claim is attached
    here. `carrier` is that machine, and `carrier_target` what it is called at the target."""

    disk: str
    claim: ShortName
    volume: ShortName
    size_bytes: Bytes
    carrier: str
    carrier_target: ShortName


class Companion(Value):
    """Another machine of the set, and what it is called at the target."""

    name: str
    target_name: ShortName


class KeptVariables(Value):
    """The source's UEFI variables go with the machine: to `file` on the claim from which the target's firmware reads
    them, in the `layout` of that firmware's flash (`kubeferry.images.variables`)."""

    claim: ShortName
    file: str
    layout: Literal["2m", "4m"] = "4m"


class KeptTpm(Value):
    """What the source's TPM holds goes with the machine: to `file` on the claim from which the target's TPM reads it.
    It is a secret; here stands only where it goes."""

    claim: ShortName
    file: str


class SizedBy(Value):
    """The instance type that gives a machine its processors and memory: its kind and name, and what it gave when the
    plan was made, None where the target was not asked."""

    kind: str
    name: str
    gives: OfferedType | None = None


class Entry(Value):
    """Everything that is decided about one machine. `manifests` are applied as they stand here; steps never map.

    `moves_with` are the other machines of its set: they share disks, or are of an app that moves as one, so all of them
    stop, start and go back together.
    `attached` are the disks of the set that others of them carry. `after` are machines that have to have moved before
    it may; None in plans of earlier versions, which kept no more of it than the order of their waves. `window`: its
    source is stopped only in this one of the plan's windows; None: at any time. `commit`: None commits it as soon as
    its probes have passed. `app` is the one of the plan's `apps` that it belongs to, `app_probes` are those of the
    app's that are asked of this machine once all of the app run, and `owner` answers for it. `sandbox`: who it belongs
    to, and what its movers run under. `hooks` are in the order in which those of a phase are run.
    """

    name: str
    target_name: ShortName
    namespace: ShortName
    machine: Machine
    disks: tuple[PlannedDisk, ...]
    manifests: tuple[dict[str, Any], ...]
    variables: KeptVariables | None = None
    tpm: KeptTpm | None = None
    sized_by: SizedBy | None = None
    probes: tuple[Probe, ...] = ()
    stop: StopPolicy = StopPolicy()
    mode: Literal["cold", "warm"] = "cold"
    warm: WarmPolicy = WarmPolicy()
    verify: Literal["always", "written"] = "written"
    concerns: tuple[Concern, ...] = ()
    carried: tuple[Carried, ...] = ()
    moves_with: tuple[Companion, ...] | None = None
    attached: tuple[AttachedDisk, ...] | None = None
    after: tuple[str, ...] | None = None
    window: str | None = None
    downtime: DowntimePolicy | None = None
    commit: CommitPolicy | None = None
    app: str | None = None
    app_probes: tuple[AppProbe, ...] | None = None
    owner: str | None = None
    rehearsal: RehearsalPolicy | None = None
    sandbox: SandboxPolicy | None = None
    hooks: tuple[PlannedHook, ...] | None = None

    def sized(self, machine: dict[str, Any]) -> dict[str, Any]:
        """Its VirtualMachine with processors, memory and place, also where an instance type gives them: what that gives
        as far as the plan knows, else what the machine had. To reckon with, and to prove it by; never to be applied."""
        if not machine.get("spec", {}).get("instancetype"):
            return machine
        made = copy.deepcopy(machine)
        given = self.sized_by.gives if self.sized_by else None
        template = made["spec"]["template"]["spec"]
        domain = template["domain"]
        cpu, memory = domain.setdefault("cpu", {}), domain.setdefault("memory", {})
        cpu["sockets"] = given.vcpus if given else self.machine.cpu.vcpus
        memory["guest"] = str(given.memory_bytes if given else self.machine.memory.size_bytes)
        if given and given.hugepages:
            memory["hugepages"] = {"pageSize": given.hugepages}
        if given and given.dedicated_cpus:
            cpu["dedicatedCpuPlacement"] = True
        if given and given.node_selector:
            template["nodeSelector"] = dict(given.node_selector)
        return made

    @property
    def all_probes(self) -> tuple[Probe, ...]:
        """Its own, and those of its app that are asked of it: what the started copy must be able to answer."""
        return (*self.probes, *(self.app_probes or ()))

    @property
    def shares_disks(self) -> bool:
        """Whether a disk of it is one with that of another machine."""
        return bool(self.attached) or any(disk.shared_with for disk in self.disks)

    @property
    def bond(self) -> str:
        """Why it does not move without those that it moves with, for the middle of a sentence."""
        if self.shares_disks or not self.app:
            return "they share a disk, which is moved once for all of them"
        return f"app {self.app} moves as one"

    def tied_to(self, others: str) -> str:
        """That it does not move without others of its set, and why, after `it`."""
        return f"shares a disk with {others}" if self.shares_disks else f"moves together with {others}: {self.bond}"

    @property
    def run_strategy(self) -> str:
        """What it is run as from its commit on; empty for one without a VirtualMachine."""
        told = (manifest.get("spec", {}).get("runStrategy") for manifest in self.manifests)
        return str(next(filter(None, told), ""))

    @property
    def halted(self) -> bool:
        """Whether it is started for its proof only, and then stays off."""
        return self.run_strategy == "Halted"


class Wave(Value):
    name: ShortName
    machines: tuple[str, ...]


class Plan(Document):
    """What will be done, frozen by `digest` (SHA-256 of the plan without it): what was reviewed is what is applied.

    `order` is what a machine that did not move holds back beside those that come after it; None in plans of earlier
    versions: their waves are in order, since nothing else says what waits for what. `windows` are those in which its
    machines are stopped, by name. `apps` are machines that belong together, each in one wave. `precopy` is when running
    machines are copied ahead by a schedule, for `kubeferry deploy`. `approval`: who has to approve before a machine is
    cut over; None where nobody has to.
    """

    KIND: ClassVar[str] = "Plan"

    kind: Literal["Plan"] = "Plan"
    name: ShortName
    created_at: str
    source: ShortName
    source_version: str = ""
    inventory_digest: str
    waves: tuple[Wave, ...]
    order: WavesPolicy | None = None
    windows: dict[ShortName, Window] | None = None
    apps: tuple[PlannedApp, ...] | None = None
    precopy: Repeated | None = None
    approval: PlannedApproval | None = None
    entries: tuple[Entry, ...]
    excluded: dict[str, str] = {}
    digest: str = ""

    @model_validator(mode="after")
    def _coherent(self) -> Plan:
        names = [entry.name for entry in self.entries]
        waved = [name for wave in self.waves for name in wave.machines]
        if len(set(names)) != len(names):
            raise ValueError("a machine stands in the plan twice")
        if sorted(waved) != sorted(names):
            raise ValueError("the waves do not hold each machine exactly once")
        known = frozenset(names)
        for entry in self.entries:
            if strangers := [other for other in entry.after or () if other not in known]:
                raise ValueError(f"{entry.name} comes after {strangers[0]}, which is not in the plan")
            if entry.window is not None and entry.window not in (self.windows or {}):
                raise ValueError(f"{entry.name} moves in window {entry.window}, which is not in the plan")
        by_name = {entry.name: entry for entry in self.entries}
        for entry in self.entries:
            if entry.moves_with or entry.attached:
                _check_set(entry, by_name, self.waves)
        for app in self.apps or ():
            _check_app(app, by_name, self.waves)
        return self

    def entry(self, name: str) -> Entry:
        """The entry of a machine. Raises KeyError where the plan has none."""
        places, entries = self.places, self.entries
        if places.of is not entries:  # a copy with other entries has taken them along
            return _Places(entries).by_name[name]
        return places.by_name[name]

    def set_of(self, name: str) -> tuple[str, ...]:
        """The machines that move as one with this one, itself among them, in the plan's order: those of its wave."""
        together = {name, *(other.name for other in self.entry(name).moves_with or ())}
        if len(together) == 1:
            return (name,)
        return tuple(one for wave in self.waves for one in wave.machines if one in together)

    def app_of(self, name: str) -> PlannedApp | None:
        """The app that a machine is of."""
        of = self.entry(name).app
        return next((app for app in self.apps or () if app.name == of), None)

    def without(self, moved: Collection[str]) -> Plan:
        """The plan as it is for what is left of apps of which these have moved already: those that are left are
        rehearsed together, the last one by itself, and nobody asks the probes of an app that is not whole. It is no
        plan to be kept: its digest is that of the whole one."""
        apps = [app if app.members_left(moved) == app.members else app.without(moved) for app in self.apps or ()]
        return self.model_copy(update={"apps": tuple(apps) or None})

    def rehearsed_with(self, name: str) -> tuple[str, ...]:
        """The machines that are rehearsed together with this one, itself among them, in the plan's order: its app; none
        where it is rehearsed by itself."""
        app = self.app_of(name)
        if app is None or name not in app.members or app.rehearsal is None or not app.rehearsal.together:
            return ()
        return tuple(one for wave in self.waves for one in wave.machines if one in app.members)

    @cached_property
    def places(self) -> _Places:
        """Where each entry stands: a run asks for one after the other, of thousands."""
        return _Places(self.entries)


def _check_set(entry: Entry, entries: Mapping[str, Entry], waves: tuple[Wave, ...]) -> None:
    """All of a set stand in the plan, in one wave and window, and say the same of each other. Raises ValueError."""
    whole = {entry.name, *(other.name for other in entry.moves_with or ())}
    for name in whole:
        other = entries.get(name)
        if other is None or {name, *(one.name for one in other.moves_with or ())} != whole:
            raise ValueError(f"{entry.name} moves together with {name}, which says otherwise, or is not in the plan")
        if other.window != entry.window:
            raise ValueError(f"{entry.name} moves together with {name}, in another window")
    if not any(whole <= set(wave.machines) for wave in waves):
        raise ValueError(f"{', '.join(sorted(whole))} move together, and do not stand in one wave")
    for disk in entry.attached or ():
        carrier = entries[disk.carrier] if disk.carrier in whole else entry
        carried = [one for one in carrier.disks if one.claim == disk.claim and entry.name in (one.shared_with or ())]
        if not carried or carrier.namespace != entry.namespace:
            raise ValueError(f"{entry.name} attaches {disk.claim}, and {disk.carrier} does not carry it for it")


def _check_app(app: PlannedApp, entries: Mapping[str, Entry], waves: tuple[Wave, ...]) -> None:
    """All of an app stand in the plan, in one wave, and are told to be of it. Raises ValueError."""
    if strangers := [name for name in app.members if name not in entries or entries[name].app != app.name]:
        raise ValueError(f"{strangers[0]} is a member of app {app.name}, and not in the plan as such")
    if app.tiers is not None and sorted(name for tier in app.tiers for name in tier) != sorted(app.members):
        raise ValueError(f"the tiers of app {app.name} do not hold each of its machines exactly once")
    if not any(set(app.members) <= set(wave.machines) for wave in waves):
        raise ValueError(f"app {app.name} does not stand in one wave")
    if any(probe.machine not in app.members for probe in app.probes or ()):
        raise ValueError(f"a probe of app {app.name} is asked of none of its machines")


class _Places:
    """The entries of a plan by name."""

    def __init__(self, of: tuple[Entry, ...]) -> None:
        self.of = of
        self.by_name = {entry.name: entry for entry in of}


def freeze(plan: Plan) -> Plan:
    """The plan with its digest set."""
    return plan.model_copy(update={"digest": digest_of_plan(plan)})


def is_whole(plan: Plan) -> bool:
    """Whether the plan is as it was when its digest was set, by this version or by an earlier one that did not know
    some of its fields."""
    return form_of(plan) is not None


def form_of(plan: Plan) -> Form | None:
    """In which form of its content the plan's digest was taken; None where it fits none."""
    return next((form for form in FORMS if plan.digest == digest_of_plan(plan, form)), None)


def digest_of_plan(plan: Plan, form: Form = content_of) -> str:
    """SHA-256 over the plan without its digest, as canonical JSON."""
    seen = hashlib.sha256()
    for piece in canonical(plan, form):
        seen.update(piece.encode())
    return seen.hexdigest()


def canonical(plan: Plan, form: Form = content_of) -> Iterator[str]:
    """The text that a digest is taken over, in pieces: what stands before the entries, each of them, what stands after.
    A plan of thousands of machines is never there twice."""
    shell = form(plan.model_copy(update={"entries": ()}))
    before = {key: value for key, value in shell.items() if key < "entries" and key != "digest"}
    after = {key: value for key, value in shell.items() if key > "entries"}
    yield f'{canonical_json(before)[:-1]},"entries":['
    last = len(plan.entries) - 1
    for number, entry in enumerate(plan.entries):
        text = canonical_json(form(entry))
        yield text if number == last else f"{text},"
    yield f"],{canonical_json(after)[1:]}"
