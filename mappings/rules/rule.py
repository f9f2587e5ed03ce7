"""What a person should know before a machine moves: one rule each, in tables, applied to one machine at a time.

A critical concern refuses its machine. It is settled by changing the source or the policy, or, where its rule says so,
by naming its id in the policy's `accept`: then it stays in the list as information. A concern of a lower severity that
is accepted becomes information too. Ids are stable: policies and scripts name them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kubeferry.model import Concern, Machine, Severity
from mappings.choices import Choices
from mappings.names import Names
from mappings.sharing import Sharing
from mappings.traffic import UNFILTERED, Traffic

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule looks at. `sharing` tells of disks that other machines of the inventory have, too; `manifest` is the
    finished VirtualMachine, `traffic` what becomes of the filters of its cards."""

    machine: Machine
    choices: Choices
    names: Names
    sharing: Sharing
    manifest: dict[str, Any]
    traffic: Traffic = UNFILTERED


@dataclass(frozen=True, slots=True)
class Rule:
    """`about` says what it looks for, `find` yields one sentence for each such thing that a machine has. `acceptable`
    is False where going on would move wrong bytes or make a machine that the cluster refuses: no word of the user's
    changes that."""

    id: str
    severity: Severity
    about: str
    fix: str
    find: Callable[[Case], Iterable[str]]
    acceptable: bool = True


def when(condition: bool, what: str) -> Iterable[str]:
    """The sentence if the condition holds."""
    return (what,) if condition else ()


def apply_rules(rules: Iterable[Rule], case: Case) -> tuple[Concern, ...]:
    """The concerns that these rules raise, the gravest first, accepted ones as information."""
    found = [_concern(rule, what, case.choices.accept) for rule in rules for what in rule.find(case)]
    order = {CRITICAL: 0, WARNING: 1, INFO: 2}
    return tuple(sorted(found, key=lambda concern: order[concern.severity]))


def _concern(rule: Rule, what: str, accept: frozenset[str]) -> Concern:
    if rule.acceptable and rule.id in accept and rule.severity != INFO:
        return Concern(id=rule.id, severity=INFO, what=f"{what} (accepted by the policy)", fix=rule.fix)
    fix = rule.fix
    if rule.severity == CRITICAL and rule.acceptable:
        fix = f"{fix} Or name `{rule.id}` in the machine's `accept` in the policy to move it all the same."
    return Concern(id=rule.id, severity=rule.severity, what=what, fix=fix)


def is_blocked(concerns: Iterable[Concern]) -> bool:
    return any(concern.severity == CRITICAL for concern in concerns)
