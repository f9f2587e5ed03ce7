"""The policy's rules, applied: what each machine is wished to be, and which rule said so.

After `settled` a policy has no rules any more, but a choice for every machine: nothing behind it needs to know how
choices come about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic.alias_generators import to_camel

from kubeferry.documents import MachinePolicy, Match, Policy, PolicyRule, over
from kubeferry.model import Machine
from mappings.disk_wishes import any_fits, as_planned, disk_wishes, disks_decided
from mappings.names import dns_labels, empty_words, label_value, rendered, settles, tagged, unknown_words
from mappings.systems import is_windows

# Choices of which the last one counts field by field.
_GROUPS = {"placement", "rehearsal", "storage", "stop", "warm", "downtime", "commit", "network", "sandbox"}
# Those of which each part has somebody who said it.
_BY_PART = {"labels", "annotations"} | _GROUPS
# Those to which several may have added.
_LISTS = {"accept", "after", "patch", "disks", "networks"}
# Choices that add up; of all others the last one counts.
_ADD_UP = _BY_PART | _LISTS
# Of these the order counts: one that is said again has the last word again.
_IN_ORDER = {"patch", "disks"}
_TEMPLATES = ("name_template", "namespace_template", "app_from")
BY_SHEET = "the sheet"
_NO_LABELS: Mapping[str, str] = MappingProxyType({})
UNEDITED: Mapping[str, MachinePolicy] = MappingProxyType({})
_MADE = {"labels_from": "labels", "annotations_from": "annotations"}


@dataclass(frozen=True, slots=True)
class Settled:
    """The policy without rules; for each machine, by its name, what decided which of its choices, by their places on a
    page (`placement.nodeSelector`, `labels[team]`), and of its disks; and the machines, with a note of the disks that
    they leave behind."""

    policy: Policy
    decided: dict[str, dict[str, str]]
    of_disks: dict[str, dict[str, str]]
    machines: tuple[Machine, ...]


def settled(policy: Policy, machines: Iterable[Machine], sheet: Mapping[str, MachinePolicy] = UNEDITED) -> Settled:
    """The policy with its rules applied to these machines, and what a sheet says of them, which has the last word."""
    choices, decided, of_disks, noted = {}, {}, {}, []
    for machine in machines:
        speaking = [(label, _made(choice, machine)) for label, choice in _speaking(policy, machine)]
        if edited := sheet.get(machine.name):
            speaking.append((BY_SHEET, edited))
        own, decided[machine.name] = _settle(speaking, machine)
        choices[machine.name] = own
        of_disks[machine.name] = disks_decided(speaking, machine) if own.disks else {}
        noted.append(as_planned(machine, disk_wishes(own.disks, machine)) if own.disks and own.include else machine)
    settled_policy = policy.model_copy(update={"rules": (), "machines": choices})
    return Settled(settled_policy, decided, of_disks, tuple(noted))


def _settle(speaking: Sequence[tuple[str, MachinePolicy]], machine: Machine) -> tuple[MachinePolicy, dict[str, str]]:
    said: dict[str, Any] = {}
    decided: dict[str, str] = {}
    for label, choice in speaking:
        for field in sorted(choice.model_fields_set - {"match", *_MADE}):
            value = getattr(choice, field)
            adds_up = field in _ADD_UP and label != BY_SHEET
            said[field] = _together(field, said.get(field), value) if adds_up else value
            if field in _GROUPS and value is None:  # all that was said of it before is taken back
                decided = {place: by for place, by in decided.items() if not place.startswith(f"{to_camel(field)}.")}
            for place in parts(field, value):
                before = decided.get(place) if field in _LISTS and value else None
                decided[place] = f"{before}, {label}" if before else label
    for source in _MADE:  # what nothing could be made of is told of by `labels.unset`
        said[source] = {key: text for _, choice in speaking for key, text in getattr(choice, source).items()}
    template = said.get("namespace_template")
    # What cannot be filled in is left open, for `namespace.unsettled` to tell: a namespace of nobody's choice is wrong.
    if template and not said.get("namespace") and settles(template, machine):
        text = rendered(template, machine)
        said["namespace"] = dns_labels([text])[text]
    template = said.get("app_from")
    if template and "app" not in said and settles(template, machine):
        text = rendered(template, machine)
        said["app"] = dns_labels([text])[text]
    return MachinePolicy.model_construct(_fields_set=set(said), **said), decided


def parts(field: str, value: Any) -> dict[str, Any]:
    """A choice, as it is or as JSON has it, by the places that a page has for it: one for each field of a group, and
    for each label."""
    name = to_camel(field)
    if isinstance(value, dict):
        place = f"{name}.{{}}" if field in _GROUPS else f"{name}[{{}}]"
        return {place.format(key): one for key, one in value.items()} if field in _BY_PART else {name: value}
    if field in _GROUPS and value is not None:
        return {f"{name}.{to_camel(one)}": getattr(value, one) for one in sorted(value.model_fields_set)}
    return {name: value}


def _speaking(policy: Policy, machine: Machine) -> Iterator[tuple[str, MachinePolicy]]:
    for number, rule in speaking_rules(policy, machine):
        yield f"rule {number}", rule
    if machine.name in policy.machines:
        yield "its own choice", policy.machines[machine.name]


def speaking_rules(policy: Policy, machine: Machine) -> Iterator[tuple[int, PolicyRule]]:
    """The rules that are for a machine, counted from 1."""
    own = _made(policy.of(machine.name), machine).labels
    labels = policy.labels | own
    for number, rule in enumerate(policy.rules, start=1):
        if fits(rule.match, machine, labels):
            labels = labels | _made(rule, machine).labels | own
            yield number, rule


def _made(choice: MachinePolicy, machine: Machine) -> MachinePolicy:
    """A choice with the labels and annotations that its templates make; what it says in so many words comes first."""
    made = {}
    for source, field in _MADE.items():
        if templates := getattr(choice, source):
            values = {
                key: rendered(template, machine)
                for key, template in templates.items()
                if not empty_words(template, machine)
            }
            if field == "labels":
                values = {key: legal for key, value in values.items() if (legal := label_value(value))}
            made[field] = values | getattr(choice, field)
    return choice.model_copy(update=made) if made else choice


def _together(field: str, before: Any, more: Any) -> Any:
    if before is None or more is None:
        return more
    if field in _GROUPS:
        return over(before, more)
    if field == "networks":  # the first one that fits a card is taken
        return (*more, *(one for one in before if one not in more))
    if isinstance(more, dict):
        return before | more
    return (*before, *(one for one in more if field in _IN_ORDER or one not in before))


def fits(match: Match, machine: Machine, labels: Mapping[str, str] = _NO_LABELS) -> bool:
    """Whether all that a match says is so of a machine that has these labels by the policy."""
    nets = [name for nic in machine.nics for name in (nic.network, nic.portgroup)]
    checked: tuple[tuple[str | None, Iterable[str | None]], ...] = (
        (match.name, [machine.name]),
        (match.source, [machine.source]),
        (match.folder, [machine.metadata.get("folder")]),
        (match.os, [machine.guest.os_id, machine.guest.os_name, "windows" if is_windows(machine.guest) else None]),
        (match.network, nets),
        *((pattern, tagged(machine, key)) for key, pattern in match.tags.items()),
        *((pattern, [labels.get(key)]) for key, pattern in match.labels.items()),
    )
    return all(pattern is None or any_fits(pattern, values) for pattern, values in checked)


def shown(match: Match) -> str:
    """What a match asks for, as it is written: `name: web*, os: *windows*`."""
    said = match.model_dump(exclude_defaults=True).items()
    told = ((field, _pairs(value) if isinstance(value, dict) else value) for field, value in said)
    return ", ".join(f"{field}: {value}" for field, value in told) or "all"


def _pairs(told: dict[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in told.items())}}}"


def template_problems(policy: Policy) -> Iterator[tuple[str, str]]:
    """Where a template of the policy has words that nothing can be put in for: the place, and the words."""
    places = [(f"rule {number}", rule) for number, rule in enumerate(policy.rules, start=1)]
    for where, choice in [*places, *((f"machines.{name}", one) for name, one in policy.machines.items())]:
        for place, template in _templates(choice):
            if words := unknown_words(template):
                yield f"policy {where}.{place}", ", ".join(words)


def _templates(choice: MachinePolicy) -> Iterator[tuple[str, str]]:
    for field in _TEMPLATES:
        yield to_camel(field), getattr(choice, field) or ""
    for field in _MADE:
        yield from ((f"{to_camel(field)}.{key}", template) for key, template in getattr(choice, field).items())
