"""What is wrong with a policy for an inventory, all at once: names that are not there, choices that fit nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pydantic.alias_generators import to_camel

from kubeferry.documents import OF_AN_APP, Inventory, MachinePolicy, Policy
from kubeferry.errors import Problem
from kubeferry.model import Machine
from kubeferry.words import first_of
from mappings import disk_wishes
from mappings.approvals import approval_problems
from mappings.apps import gathered
from mappings.constraints import constraint_problems
from mappings.marks import MANAGED_BY, OURS
from mappings.rules.table import RULES
from mappings.windows import wrong_windows
from mappings.wishes import UNEDITED, Settled, settled, shown, speaking_rules, template_problems

SHOWN = 6


def policy_problems(
    inventory: Inventory, policy: Policy, sheet: Mapping[str, MachinePolicy] = UNEDITED
) -> list[Problem]:
    """Where a policy names machines, disks or apps that are none, windows that it does not define, concerns that are
    none or cannot be accepted, one boot order for several disks of a machine, two apps for one machine, or constraints
    that fit nothing."""
    known = {machine.name: machine for machine in inventory.machines}
    fix = "Use {name}, {source}, {folder} and {tag:KEY}."
    found = [Problem(where, f"nothing can be put in for {words}", fix) for where, words in template_problems(policy)]
    found += [*_key_problems("policy ", policy), *wrong_windows(policy, sheet), *approval_problems(policy)]
    for name, choice in policy.machines.items():
        where = f"policy machines.{name}"
        if name not in known:
            found.append(Problem(where, "is no machine of the inventory", _misnamed(name, inventory)))
        found += _choice_problems(where, choice, known, [known[name]] if name in known else [])
    found_for: dict[int, list[Machine]] = defaultdict(list)
    for machine in inventory.machines:
        for number, _ in speaking_rules(policy, machine):
            found_for[number].append(machine)
    for number, rule in enumerate(policy.rules, start=1):
        where = f"policy rule {number}"
        theirs = found_for[number]
        if not theirs:
            what = f"fits no machine of the inventory ({shown(rule.match)})"
            found.append(Problem(where, what, "Correct its `match`, or remove the rule."))
        found += _choice_problems(where, rule, known, theirs)
    wishes = settled(policy, inventory.machines, sheet)
    found += constraint_problems(wishes.policy, inventory.machines)
    found += gathered(wishes.policy, inventory.machines, wishes.decided).problems
    found += _absent_members(inventory, policy)
    return [*found, *_one_order(wishes)]


def _misnamed(name: str, inventory: Inventory) -> str:
    """What to do about a name that no machine has."""
    if alike := [one.name for one in inventory.machines if one.name.startswith(f"{name}-")]:  # told apart so
        return f"Write one of {first_of(alike, SHOWN)}."
    if away := [member.name for member in inventory.members or () if member.away]:
        return f"Discover again when {first_of(away, SHOWN)} answers, correct the name, or remove it."
    return "Correct the name, remove it, or discover again."


def _absent_members(inventory: Inventory, policy: Policy) -> Iterator[Problem]:
    """Machines that an app names, and that are not there: without them it would be planned as if it were whole."""
    known = [machine.name for machine in inventory.machines]
    for name, app in (policy.apps or {}).items():
        for member in app.members:
            if not disk_wishes.is_pattern(member) and not disk_wishes.any_fits(member, known):
                what = f"{member!r} is no machine of the inventory"
                yield Problem(f"policy apps.{name}.members", what, _misnamed(member, inventory))


def _key_problems(where: str, choice: MachinePolicy | Policy) -> Iterator[Problem]:
    """Labels and annotations under keys that say what kubeferry says itself: they would stand nowhere."""
    for field in ("labels", "labels_from", "annotations", "annotations_from"):
        for key in getattr(choice, field, {}):
            if key.startswith(OURS) or (key == MANAGED_BY and field.startswith("labels")):
                yield Problem(f"{where}{to_camel(field)}[{key}]", "is kubeferry's own", "Choose another key.")


def _choice_problems(
    where: str, choice: MachinePolicy, known: Iterable[str], machines: list[Machine]
) -> Iterator[Problem]:
    yield from _key_problems(f"{where}.", choice)
    for other in choice.after:
        if other not in known and not other.startswith(OF_AN_APP):
            yield Problem(f"{where}.after", f"{other!r} is no machine of the inventory", "Correct or remove the name.")
    rules = {rule.id: rule for rule in RULES}
    for accepted in choice.accept:
        if accepted not in rules:
            fix = "Use the id that `kubeferry assess` shows."
            yield Problem(f"{where}.accept", f"{accepted!r} is no concern that can be accepted", fix)
        elif not rules[accepted].acceptable:
            yield Problem(f"{where}.accept", f"{accepted!r} cannot be accepted", rules[accepted].fix)
    yield from _no_such_disk(where, choice, machines)


def _no_such_disk(where: str, choice: MachinePolicy, machines: list[Machine]) -> Iterator[Problem]:
    """Choices for disks that none of the machines has; of no machine at all another problem tells."""
    for number, one in enumerate(choice.disks, start=1):
        if machines and not any(disk_wishes.fitting(one.match, machine) for machine in machines):
            whose = machines[0].name if len(machines) == 1 else f"the {len(machines)} machines that it is for"
            what = f"fits no disk of {whose} ({disk_wishes.shown(one.match)})"
            yield Problem(
                f"{where}.disks, choice {number}",
                what,
                "Use what the inventory says of it: its id, label, file or size.",
            )


def _one_order(wishes: Settled) -> Iterator[Problem]:
    fix = "Give each disk a number of its own, or name one of them alone."
    for machine in wishes.machines:
        by_disk = disk_wishes.disk_wishes(wishes.policy.of(machine.name).disks, machine)
        decided = wishes.of_disks[machine.name]
        for order, disks in disk_wishes.one_order(by_disk, machine):
            whose = dict.fromkeys(decided[disk_wishes.place(disk, "boot_order")] for disk in disks)
            what = f"{', '.join(disks)} would all have boot order {order} ({', '.join(whose)})"
            yield Problem(f"policy disks of {machine.name}", what, fix)
