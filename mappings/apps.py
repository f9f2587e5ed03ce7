"""Which machines belong to which app, and what follows from it: waves, windows, and who waits for whom.

After `gathered` each machine's choice says what its app says for it; of an app that does not move as one, order is
nothing but machines that come after others.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubeferry.documents import (
    OF_AN_APP,
    AppPolicy,
    AppProbe,
    Entry,
    MachinePolicy,
    Match,
    Offer,
    PlannedApp,
    Policy,
)
from kubeferry.errors import Problem
from kubeferry.model import Machine
from kubeferry.words import first_of, meant
from mappings.disk_wishes import any_fits
from mappings.wishes import BY_SHEET, fits, settled

_SHOWN = 6
_OWN = frozenset({"its own choice", BY_SHEET})
"""Who has the last word about a machine: what rules say is no more than what an app says."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The policy with what apps say in each machine's choice; each machine's app; the apps, with all machines that the
    policy does not leave out; and what is wrong with them."""

    policy: Policy
    of: Mapping[str, str] = field(default_factory=dict)
    apps: tuple[PlannedApp, ...] = ()
    problems: tuple[Problem, ...] = ()


def gathered(policy: Policy, machines: Sequence[Machine], decided: Mapping[str, Mapping[str, str]]) -> Gathered:
    """The apps of a policy without rules; `decided` says who said what of each machine."""
    said = policy.apps or {}
    moving = [machine for machine in machines if policy.of(machine.name).include]
    claims = _claims(policy, machines)
    problems = list(_several(policy, moving, claims, decided))
    of = {one.name: whose for one in machines if (whose := _app_of(policy, one.name, claims, decided))}
    members: dict[str, list[str]] = {}
    for machine in machines:
        if machine.name in of:
            members.setdefault(of[machine.name], []).append(machine.name)
    problems += _unfit(said, {*members, *(app for apps in claims.values() for app in apps)})
    problems += _unknown(policy, members)
    left = {name for name in of if not policy.of(name).include}
    apps = list[PlannedApp]()
    for name in sorted(members):
        there = [one for one in members[name] if one not in left]
        app, wrong = _planned(name, said.get(name, AppPolicy()), there, members[name], policy)
        problems += wrong
        apps += [app] if there else []
    circle = _circle(said)
    problems += circle
    edited = {of[name] for name in of if decided.get(name, {}).get("wave") == BY_SHEET}
    said = {name: app.model_copy(update={"wave": None}) if name in edited else app for name, app in said.items()}
    with_apps = _with_apps(policy, apps, said, {name: of[name] for name in left}, ordered=not circle)
    return Gathered(with_apps, of, tuple(apps), tuple(problems))


def apps_of(policy: Policy, machines: Sequence[Machine]) -> tuple[PlannedApp, ...]:
    """The apps of a policy, with all machines that it does not leave out, whatever speaks against these."""
    wished = settled(policy, machines)
    return gathered(wished.policy, wished.machines, wished.decided).apps


def rehearsable(apps: Iterable[PlannedApp], offer: Offer) -> tuple[PlannedApp, ...]:
    """The apps as the target can rehearse them: where it takes each machine by itself, none is rehearsed together."""
    if offer.together is not False:
        return tuple(apps)
    return tuple(app.model_copy(update={"rehearsal": None}) for app in apps)


def kept(apps: Iterable[PlannedApp], names: Iterable[str]) -> tuple[PlannedApp, ...]:
    """The apps with those of their machines that move; one of which none does is no app of the plan."""
    there, found = frozenset(names), []
    listed = tuple(apps)
    left = {app.name for app in listed if not there.isdisjoint(app.members)}
    for app in (app for app in listed if app.name in left):
        tiers = tuple(tier for one in app.tiers or () if (tier := tuple(n for n in one if n in there)))
        probes = tuple(probe for probe in app.probes or () if probe.machine in there)
        changes = {
            "members": tuple(name for name in app.members if name in there),
            "tiers": tiers or None,
            "probes": probes or None,
            "after": tuple(one for one in app.after or () if one in left) or None,
        }
        found.append(app.model_copy(update=changes))
    return tuple(found)


# --- whose is a machine -------------------------------------------------------------------------------------------


def _claims(policy: Policy, machines: Iterable[Machine]) -> dict[str, tuple[str, ...]]:
    """By machine the apps whose own words fit it."""
    named = [(name, app.members) for name, app in (policy.apps or {}).items() if app.members]
    matches = [(name, _match(app)) for name, app in (policy.apps or {}).items()]
    matches = [(name, match) for name, match in matches if match != Match()]
    found = {}
    for machine in machines:
        labels = policy.labels | policy.of(machine.name).labels
        whose = [name for name, members in named if any(any_fits(one, [machine.name]) for one in members)]
        whose += [name for name, match in matches if fits(match, machine, labels)]
        found[machine.name] = tuple(dict.fromkeys(whose))
    return found


def _match(app: AppPolicy) -> Match:
    return Match(folder=app.folder, tags=app.tags, labels=app.labels)


def _last_word(policy: Policy, name: str, decided: Mapping[str, Mapping[str, str]]) -> bool:
    return policy.of(name).app is not None and decided.get(name, {}).get("app") in _OWN


def _app_of(
    policy: Policy, name: str, claims: Mapping[str, tuple[str, ...]], decided: Mapping[str, Mapping[str, str]]
) -> str:
    own = policy.of(name).app
    if _last_word(policy, name, decided) or own:
        return own or ""
    return claims[name][0] if claims[name] and own is None else ""


def _several(
    policy: Policy,
    machines: Iterable[Machine],
    claims: Mapping[str, tuple[str, ...]],
    decided: Mapping[str, Mapping[str, str]],
) -> Iterator[Problem]:
    """Machines that two apps claim."""
    fix = "Take it out of all but one, or say `app` for it in the policy's `machines`: that has the last word."
    for machine in machines:
        if _last_word(policy, machine.name, decided):
            continue
        ruled = [policy.of(machine.name).app] if policy.of(machine.name).app else []
        if len(whose := list(dict.fromkeys([*claims[machine.name], *filter(None, ruled)]))) > 1:
            yield Problem(f"policy apps, {machine.name}", f"is of {' and of '.join(whose)}", fix)


# --- what an app says ---------------------------------------------------------------------------------------------


def _unfit(said: Mapping[str, AppPolicy], fitting: Collection[str]) -> Iterator[Problem]:
    for name in said:
        if name not in fitting:
            fix = "Correct its `members`, `folder`, `tags` or `labels`, say `app` for its machines, or remove it."
            yield Problem(f"policy apps.{name}", "fits no machine of the inventory", fix)


def _unknown(policy: Policy, members: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """Apps that something comes after, and that are none."""
    told = [(f"policy apps.{name}.after", one) for name, app in (policy.apps or {}).items() for one in app.after]
    for name, choice in policy.machines.items():
        told += [(f"policy machines.{name}.after", one[len(OF_AN_APP) :]) for one in choice.after if _is_app(one)]
    for where, one in told:
        if one not in members and one not in (policy.apps or {}):
            fix = meant(one, members) or f"Name one of: {first_of(sorted(members), _SHOWN) or 'none'}."
            yield Problem(where, f"{one!r} is no app", fix)


def _circle(said: Mapping[str, AppPolicy]) -> list[Problem]:
    """Apps that wait for each other; once, for the first of them."""
    for start in said:
        path = [start]
        while path[-1] in said and (further := said[path[-1]].after):
            following = next((one for one in further if _leads_to(said, one, start)), None)
            if following is None:
                break
            path.append(following)
            if following == start:
                what = f"{' after '.join(path)}: they wait for each other"
                return [Problem(f"policy apps.{start}.after", what, "Remove one of these dependencies.")]
    return []


def _leads_to(said: Mapping[str, AppPolicy], app: str, wanted: str) -> bool:
    seen, left = set[str](), [app]
    while left:
        one = left.pop()
        if one == wanted:
            return True
        if one not in seen and one in said:
            seen.add(one)
            left += said[one].after
    return False


def _planned(
    name: str, app: AppPolicy, members: Sequence[str], known: Sequence[str], policy: Policy
) -> tuple[PlannedApp, list[Problem]]:
    tiers, problems = _tiers(name, app, members, known)
    owners = {policy.of(one).owner for one in members}
    probes, wrong = _probes(name, app, members, known, tiers)
    planned = PlannedApp(
        name=name,
        owner=(owners.pop() if len(owners) == 1 else None) or app.owner,
        members=tuple(members),
        tiers=tiers or None,
        after=tuple(dict.fromkeys(app.after)) or None,
        together=app.together or None,
        window=app.window,
        downtime_seconds=app.downtime_seconds,
        probes=probes or None,
        rehearsal=app.rehearsal if app.rehearsal and app.rehearsal.together else None,
    )
    return planned, [*problems, *wrong]


def _tiers(
    name: str, app: AppPolicy, members: Sequence[str], known: Sequence[str]
) -> tuple[tuple[tuple[str, ...], ...], list[Problem]]:
    if not app.order:
        return (), []
    where, problems = f"policy apps.{name}.order", list[Problem]()
    tier_of: dict[str, int] = {}
    for number, tier in enumerate(app.order):
        for pattern in tier:
            found = [one for one in known if any_fits(pattern, [one])]
            if not found:
                fix = f"Name one of: {first_of(list(known), _SHOWN) or 'none'}."
                problems.append(Problem(where, f"{pattern!r} is no machine of the app", fix))
            for one in found:
                if tier_of.setdefault(one, number) != number:
                    problems.append(Problem(where, f"{one} stands in two tiers", "Leave it in one of them."))
    last = len(app.order) - 1
    tiers = [tuple(one for one in members if tier_of.get(one, last) == number) for number in range(last + 1)]
    return tuple(filter(None, tiers)), problems


def _probes(
    name: str, app: AppPolicy, members: Sequence[str], known: Sequence[str], tiers: Sequence[tuple[str, ...]]
) -> tuple[tuple[AppProbe, ...], list[Problem]]:
    """The probes, each with its machine. Without `together` one machine answers for the app: the last."""
    where, problems = f"policy apps.{name}.probes", list[Problem]()
    last = (tiers[-1] if tiers else tuple(members))[-1:]
    found = []
    for probe in app.probes:
        if probe.machine is not None and probe.machine not in known:
            fix = f"Name one of: {first_of(list(known), _SHOWN) or 'none'}."
            problems.append(Problem(where, f"{probe.machine!r} is no machine of the app", fix))
        elif probe.kind == "counter":
            what = "a counter is compared with what one machine said before its stop"
            problems.append(Problem(where, what, "Put it into the `probes` of that machine."))
        elif last:
            found.append(probe.model_copy(update={"machine": probe.machine or last[0]}))
    asked = dict.fromkeys(probe.machine for probe in found)
    if len(asked) > 1 and not app.together:
        what = f"they are asked of {' and '.join(filter(None, asked))}, of which only one can be the last to move"
        problems.append(Problem(where, what, "Ask one machine, or say `together: true`."))
    answering = next(iter(asked), None)
    if answering and tiers and not app.together and answering not in tiers[-1]:
        what = f"{answering} answers for the app, and does not move last"
        problems.append(Problem(where, what, "Ask a machine of the last tier, or say `together: true`."))
    return tuple(found), problems


# --- what follows for its machines --------------------------------------------------------------------------------


def _is_app(name: str) -> bool:
    return name.startswith(OF_AN_APP)


def _with_apps(
    policy: Policy,
    apps: Sequence[PlannedApp],
    said: Mapping[str, AppPolicy],
    left: Mapping[str, str],
    *,
    ordered: bool,
) -> Policy:
    """The policy with what apps say. `left` are machines that it leaves out, by their apps: these say whose they are,
    and nothing else."""
    by_name = {app.name: app for app in apps}
    changes: dict[str, dict[str, object]] = {}
    behind = _behind(by_name) if ordered else {}
    of = {name: app for app in apps for name in app.members}
    for name, choice in policy.machines.items():
        after = [one for told in choice.after for one in _named(told, by_name)]
        after += behind.get(name, ())
        app = of.get(name)
        change: dict[str, object] = {} if list(choice.after) == after else {"after": tuple(dict.fromkeys(after))}
        if app is not None:
            change |= _from_its_app(choice, app, said.get(app.name, AppPolicy()))
        elif name in left:
            change |= {"app": left[name], "owner": choice.owner or said.get(left[name], AppPolicy()).owner}
        if change:
            changes[name] = change
    machines = {
        name: choice.model_copy(update=changes[name]) if name in changes else choice
        for name, choice in policy.machines.items()
    }
    settled = {app.name: said[app.name].model_copy(update={"probes": app.probes}) for app in apps if app.probes}
    return policy.model_copy(update={"machines": machines, "apps": (policy.apps or {}) | settled or None})


def _from_its_app(choice: MachinePolicy, app: PlannedApp, said: AppPolicy) -> dict[str, object]:
    own: dict[str, object] = {"wave": said.wave, "window": said.window, "owner": app.owner}
    unsaid = {key: value for key, value in own.items() if value and getattr(choice, key) is None}
    return unsaid | {"app": app.name}


def _named(told: str, apps: Mapping[str, PlannedApp]) -> tuple[str, ...]:
    if not _is_app(told):
        return (told,)
    app = apps.get(told[len(OF_AN_APP) :])
    return app.members if app else ()


def _behind(apps: Mapping[str, PlannedApp]) -> dict[str, list[str]]:
    """By machine, those that it comes after because of its app: the machines of apps before it, those of the tier
    before its own, and all others of the app for one that answers for it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for app in apps.values():
        tiers = app.tiers or (app.members,)
        earlier = [one for other in app.after or () if other in apps for one in apps[other].members]
        for name in tiers[0]:
            found[name] += earlier
        if app.together:
            continue
        for before, tier in itertools.pairwise(tiers):
            for name in tier:
                found[name] += before
        for name in dict.fromkeys(probe.machine for probe in app.probes or () if probe.machine):
            found[name] += [one for one in app.members if one != name]
    return found


def unrehearsed(entries: Iterable[Entry], apps: Iterable[PlannedApp] = ()) -> Iterator[Problem]:
    """Machines of apps that move as one, of which a rehearsal is asked for: one alone is none, and none of these `apps`
    says that they are rehearsed together."""
    together = {name for app in apps if app.rehearsal and app.rehearsal.together for name in app.members}
    for entry in entries:
        asked = entry.rehearsal
        if entry.name in together or not entry.moves_with or entry.shares_disks:
            continue
        if asked and (asked.required or asked.each_round):
            wanted = "required" if asked.required else "asked for after each round"
            what = f"a rehearsal is {wanted}, and app {entry.app} moves as one: its machines are not rehearsed"
            fix = (
                "Set `rehearsal: {required: false, eachRound: false}` for them, or `together: false` for the app; or "
                "`rehearsal: {together: true}` for the app where the target is a folder."
            )
            yield Problem(f"policy machines.{entry.name}.rehearsal", what, fix)
