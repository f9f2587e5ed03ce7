"""What is asked of source and target before any source is stopped, all of it at once: by `doctor PLAN`, `precopy` and
`migrate` alike.

A machine that either of them refuses is out, with its reasons; what speaks against all of them is told as such. Each
machine that nothing speaks against is tried: a mover opens its room and its source, and writes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from kubeferry.documents import Config, Entry, Plan, VmwareAccess
from kubeferry.errors import (
    InputInvalid,
    Interrupted,
    KubeferryError,
    Problem,
    SourceRefused,
    TargetRefused,
    TargetUnavailable,
    TransientError,
    as_told,
)
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import UNTOUCHED
from kubeferry.model import Concern, Power, Severity
from kubeferry.sources import Source
from kubeferry.steps import hooks, tpm, variables
from kubeferry.steps.questions import Told, ask_each, nobody
from kubeferry.steps.sources import source_of, unknown_source
from kubeferry.steps.strayed import looked_for
from kubeferry.targets import Reach, Target, open_target
from kubeferry.targets.alike import PASSING
from kubeferry.words import counted

SECRET_NOT_CHECKED = "mover.secret-not-checked"  # noqa: S105 (a concern's name)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was answered. `refused`: critical concerns by machine; `barred`: those that no single machine answers for.
    `tried`: machines whose mover opened everything that it will need."""

    concerns: tuple[Concern, ...] = ()
    refused: Mapping[str, tuple[Concern, ...]] = field(default_factory=dict)
    barred: tuple[Concern, ...] = ()
    tried: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise InputInvalid where nothing can be moved as things are."""
        if self.barred:
            problems = [Problem(one.id, one.what, one.fix) for one in self.barred]
            raise InputInvalid("the target cannot take this plan", problems)

    def nothing_left(self, plan: str) -> KubeferryError:
        """The error where every machine is refused, each reason once; a transient one where all of them may pass."""
        found = dict.fromkeys(one for ones in self.refused.values() for one in ones)
        what = f"nothing is left of plan {plan} to move: what is refused was not touched"
        if all(one.id == PASSING for one in found):
            return TargetUnavailable(what, why="; ".join(one.what for one in found), fix="Run the same command again.")
        return InputInvalid(what, [Problem(one.id, one.what, one.fix) for one in found])

    def errors(self) -> dict[str, KubeferryError]:
        """Why each machine that is refused is out."""
        return {name: _refusal(name, found) for name, found in self.refused.items()}


def untouched(machines: tuple[str, ...], states: Mapping[str, MachineState], *, again: bool = False) -> tuple[str, ...]:
    """The machines whose sources nobody has stopped yet. Those that are under way, or have moved, go on as they are;
    who was rolled back is asked about only when it is taken up again."""
    phases = UNTOUCHED if again else UNTOUCHED - {Phase.ROLLED_BACK}
    known = {name: states[name] for name in machines if name in states}
    begun = {
        name
        for name, state in known.items()
        if state.source_off or (state.resumes not in phases and not state.waits_for_window)
    }
    return tuple(name for name in machines if name not in begun)


def copied_ahead(states: Mapping[str, MachineState]) -> frozenset[str]:
    """The machines of which a round is durable: their own movers have been where a trial would go."""
    return frozenset(name for name, state in states.items() if state.rounds)


def ask(
    config: Config, plan: Plan, machines: tuple[str, ...], shown: frozenset[str] = frozenset(), told: Told = nobody
) -> Asked:
    """Ask source and target everything about these machines, and try what can be tried, of those that are not `shown`.
    Nothing is left of it. `told` hears how many machines the source was asked about.

    Raises TransientError where the target does not answer, and Interrupted. A source that does not answer now is a
    warning of each machine: it is asked again before it is stopped.
    """
    entries = tuple(plan.entry(name) for name in machines)
    if not entries:
        return Asked()
    hindered = _hindered(config, plan)
    all_are = all(entry.machine.source in hindered for entry in entries)
    with contextlib.closing(open_target(config.target)) as target:
        said, refused, barred = _of_target(target, entries)
        if all_are:
            every = tuple(dict.fromkeys(one for ones in hindered.values() for one in ones))
            return Asked((*said, *every), refused, (*barred, *every))
        connect = partial(source_of, plan, config)
        found, running = _Found(said, refused), []
        ask_source = partial(_of_source, config=config, name=plan.source)
        for entry in entries:
            found.add(entry.name, hindered.get(entry.machine.source, ()))
        for entry, (concerns, runs) in zip(entries, ask_each(entries, connect, ask_source, told), strict=True):
            found.add(entry.name, concerns)
            running += [entry.name] if runs else []
        found.refused = _with_their_sets(plan, found.refused)
        if barred:
            return Asked(found.told(), found.refused, barred)
        new = tuple(entry for entry in entries if entry.name not in found.refused and entry.name not in shown)
        with contextlib.closing(connect()) as source:
            for name, tried in target.trial(new, _reach(source, target)).items():
                found.add(name, tried)
        found.concerns += _only_the_stop(running)
        found.refused = _with_their_sets(plan, found.refused)
    passed = tuple(entry.name for entry in new if entry.name not in found.refused)
    return Asked(found.told(), found.refused, barred, passed)


def _with_their_sets(plan: Plan, refused: Mapping[str, tuple[Concern, ...]]) -> dict[str, tuple[Concern, ...]]:
    """Who is refused, and who moves together with one of those."""
    found = dict(refused)
    for name in refused:
        for other in plan.set_of(name):
            tied = plan.entry(other).tied_to(f"{name}, which cannot be moved as planned")
            what = f"{other}: it {tied}"
            fix = f"Settle what speaks against {name}: they move together or not at all."
            concern = Concern(id="set.not-whole", severity=Severity.CRITICAL, what=what, fix=fix)
            found.setdefault(other, (concern,))
    return found


class _Found:
    """What is known so far."""

    def __init__(self, concerns: Iterable[Concern], refused: dict[str, tuple[Concern, ...]]) -> None:
        self.concerns, self.refused = list(concerns), dict(refused)

    def add(self, machine: str, concerns: Iterable[Concern]) -> None:
        new = list(concerns)
        self.concerns += new
        if critical := _critical(new):
            self.refused[machine] = (*self.refused.get(machine, ()), *critical)

    def told(self) -> tuple[Concern, ...]:
        """Each once: several machines may be of one trial."""
        return tuple(dict.fromkeys(self.concerns))


# --- the target ------------------------------------------------------------------------------------------------------


def _of_target(
    target: Target, entries: tuple[Entry, ...]
) -> tuple[list[Concern], dict[str, tuple[Concern, ...]], tuple[Concern, ...]]:
    """What the target has against these machines: all of it, what each one answers for alone, and the rest of what is
    critical. What is too much of several machines is of none: a person chooses."""
    told = _said(target, entries)
    critical = _critical(told)
    if not critical or len(entries) == 1:
        return told, {entries[0].name: critical} if critical else {}, ()
    common = set(_critical(target.concerns(())))
    refused = dict(_blamed(target, entries, common))
    left = tuple(entry for entry in entries if entry.name not in refused)
    together = _critical(_said(target, left)) if left and len(left) < len(entries) else critical if left else ()
    return told, refused, tuple(dict.fromkeys((*(one for one in critical if one in common), *together)))


def _blamed(
    target: Target, entries: tuple[Entry, ...], common: set[Concern]
) -> Iterator[tuple[str, tuple[Concern, ...]]]:
    """The machines that are refused each by itself, found by halves: of many machines few are."""
    found = tuple(one for one in _critical(_said(target, entries)) if one not in common)
    if not found:
        return
    if len(entries) == 1:
        yield entries[0].name, found
        return
    middle = len(entries) // 2
    yield from _blamed(target, entries[:middle], common)
    yield from _blamed(target, entries[middle:], common)


def _said(target: Target, entries: tuple[Entry, ...]) -> list[Concern]:
    """What the target has against machines; what it raises for good is a concern of theirs, unless it says the same
    without any."""
    try:
        return target.concerns(entries)
    except TransientError:
        raise
    except Exception as error:  # noqa: BLE001 (a defect of ours in one machine does not keep the others)
        target.concerns(())
        told = as_told(error)
        what = f"the target cannot be asked about them: {told.reason}"
        return [Concern(id="target.not-asked", severity=Severity.CRITICAL, what=what, fix=told.fix)]


# --- the source ------------------------------------------------------------------------------------------------------


def _of_source(source: Source, entry: Entry, *, config: Config, name: str) -> tuple[list[Concern], bool]:
    """What the source of this name has against a machine, and whether it runs there."""
    found: list[Concern] = []
    try:
        found += source.concerns(entry.machine)
        found += _not_carried(source, entry)
        found += hooks.concerns_of(source, entry)
        return found, source.power(entry.machine) is not Power.OFF
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 (a defect of ours in one machine does not keep the others)
        told = looked_for(config, name, entry, error) if isinstance(error, SourceRefused) else as_told(error)
        severity = Severity.WARNING if told.transient else Severity.CRITICAL
        what = f"{entry.name}: {told.reason}"
        return [*found, Concern(id="source.not-asked", severity=severity, what=what, fix=told.fix)], False


def _not_carried(source: Source, entry: Entry) -> Iterator[Concern]:
    """What the plan carries beside the disks, and that cannot be: its cutover would not begin, after all its rounds."""
    carried = {"source.variables": variables.refuse_unreadable, "source.tpm": tpm.refuse_unreadable}
    for identity, refuse in carried.items():
        try:
            refuse(source, entry)
        except SourceRefused as refused:
            what = f"{entry.name}: {refused.reason}"
            yield Concern(id=identity, severity=Severity.CRITICAL, what=what, fix=refused.fix)


def _reach(source: Source, target: Target) -> Reach:
    """Something of a machine's source that a mover of the target may open now."""
    remote = not target.capabilities.movers_here
    return lambda entry: source.way(entry.machine, remote=remote)


def _only_the_stop(running: list[str]) -> list[Concern]:
    """What nobody can ask beforehand, said once."""
    if not running:
        return []
    what = (
        f"only the stop shows of {counted(len(running), 'running machine')} whether the guest heeds it in time, "
        "whether its disks can be frozen and read once it is off, and whether its copy starts"
    )
    fix = "Nothing: whatever of it fails, the source is started again. Try it with a machine that matters less."
    return [Concern(id="move.only-the-stop-shows", severity=Severity.INFO, what=what, fix=fix)]


# --- the way between them --------------------------------------------------------------------------------------------


def ways(config: Config, plan: Plan) -> Iterator[Concern]:
    """Whether movers in a cluster have a way to the plan's source, or to each of its sources. Asks nobody."""
    homes = _by_home(plan) or {plan.source: []}
    told = (one for home, entries in homes.items() for one in _ways(config, plan, home, entries))
    yield from dict.fromkeys(told)


def _hindered(config: Config, plan: Plan) -> dict[str, tuple[Concern, ...]]:
    """By source what keeps movers from it."""
    found = {name: _critical(_ways(config, plan, name, entries)) for name, entries in _by_home(plan).items()}
    return {name: concerns for name, concerns in found.items() if concerns}


def _by_home(plan: Plan) -> dict[str, list[Entry]]:
    """The plan's machines by the source that they are of."""
    found: dict[str, list[Entry]] = {}
    for entry in plan.entries:
        found.setdefault(entry.machine.source, []).append(entry)
    return found


def _ways(config: Config, plan: Plan, home: str, entries: Sequence[Entry]) -> Iterator[Concern]:
    """Whether movers have a way to one source, `home` of these machines of the plan."""
    if problem := unknown_source(plan, config):
        yield Concern(id="source.unknown", severity=Severity.CRITICAL, what=problem.what, fix=problem.fix)
        return
    if config.target.kind != "kubevirt" or config.target.transfer == "upload":
        return
    members = config.members(plan.source)
    name = home if config.is_estate(plan.source) else plan.source
    if name not in members:
        return  # which the estate says of each of them
    source = members[name]
    by_ssh = (source.ssh.secret, "the hypervisor's key", "FailedMount") if source.ssh else None
    needs = {
        "aws": (source.aws.secret, "the keys of an AWS account", "CreateContainerConfigError"),
        "vmware": _of_vmware(source.vmware),
        "ova": None,  # files of this host
    }.get(source.kind, by_ssh)
    if needs is None:
        what = f"movers in the cluster have no way to source {name}"
        fix = "Give a libvirt source `ssh`, or send small disks from here: target.transfer: upload."
        yield Concern(id="source.no-way", severity=Severity.CRITICAL, what=what, fix=fix)
        return
    yield from _unseen(entries, *needs)


def _of_vmware(access: VmwareAccess) -> tuple[str, str, str]:
    """The Secret for the disks: of the user's own reader where there is one, else of vCenter."""
    if access.reader and access.reader_secret:
        return access.reader_secret, "what the reader asks for", "FailedMount"
    return access.secret, "a login at vCenter", "CreateContainerConfigError"


def _unseen(entries: Sequence[Entry], secret: str, content: str, said: str) -> Iterator[Concern]:
    """The Secret that movers need, in each namespace."""
    for namespace in dict.fromkeys(entry.namespace for entry in entries):
        what = f"whether Secret {namespace}/{secret} holds {content} is not looked at"
        fix = f"The account may not read Secrets. Without it the first mover says {said}, and why."
        yield Concern(id=SECRET_NOT_CHECKED, severity=Severity.INFO, what=what, fix=fix)


# --- in words --------------------------------------------------------------------------------------------------------


def left_out(plan: Plan) -> str:
    """How many machines a plan that moves none leaves out, to go on with; empty for none."""
    return f": it leaves out {counted(len(plan.excluded), 'machine')}" if plan.excluded else ""


def _critical(concerns: Iterable[Concern]) -> tuple[Concern, ...]:
    return tuple(one for one in concerns if one.severity is Severity.CRITICAL)


def _refusal(machine: str, found: tuple[Concern, ...]) -> KubeferryError:
    of_source = all(one.id.startswith("source.") for one in found)
    passing = all(one.id == PASSING for one in found)
    kind = TargetUnavailable if passing else SourceRefused if of_source else TargetRefused
    return kind(
        "it cannot be moved as planned",
        why="; ".join(f"{one.what} [{one.id}]" for one in found),
        fix=" ".join(dict.fromkeys(one.fix for one in found)),
        machine=machine,
    )
