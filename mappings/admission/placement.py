"""Admission rules about where a machine runs and what it is guaranteed there; those on its pod are found out at its
first start only."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.errors import Problem
from mappings.admission.affinity import affinity
from mappings.admission.keys import is_subdomain, key_problems, label_problems
from mappings.admission.view import View, problem
from mappings.names import LABEL_VALUE
from mappings.quantities import parse_quantity

_OPERATORS = ("Exists", "Equal")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _node_selector(view: View) -> Iterator[Problem]:
    yield from label_problems(view.template.get("nodeSelector", {}), "spec.template.spec.nodeSelector")


def _priority_class(view: View) -> Iterator[Problem]:
    name = view.template.get("priorityClassName", "")
    if name and not is_subdomain(name):
        fix = "Use small letters, digits, hyphens and dots."
        yield problem("spec.template.spec.priorityClassName", f"{name!r} is not a legal name", fix)


def _tolerations(view: View) -> Iterator[Problem]:
    for number, one in enumerate(view.template.get("tolerations", [])):
        where = f"spec.template.spec.tolerations[{number}]"
        key, value, operator = one.get("key", ""), one.get("value", ""), one.get("operator") or "Equal"
        if operator not in _OPERATORS:
            yield problem(f"{where}.operator", f"{operator!r} is refused", f"Use one of {', '.join(_OPERATORS)}.")
        yield from key_problems([key] if key else (), f"{where}.key")
        if not key and operator != "Exists":
            yield problem(f"{where}.operator", "is not Exists, and there is no key", "Name a key, or write Exists.")
        if operator == "Exists" and value:
            yield problem(f"{where}.value", f"is {value!r}, and Exists takes none", "Remove it, or write Equal.")
        if LABEL_VALUE.fullmatch(value) is None:
            yield problem(f"{where}.value", f"{value!r} is not a legal label value", "Write that of the taint.")
        if (effect := one.get("effect", "")) and effect not in _EFFECTS:
            yield problem(f"{where}.effect", f"{effect!r} is refused", f"Use one of {', '.join(_EFFECTS)}.")
        if "tolerationSeconds" in one and effect != "NoExecute":
            yield problem(f"{where}.tolerationSeconds", "is for NoExecute only", "Remove it.")


def _dedicated(view: View) -> Iterator[Problem]:
    """Processors of its own: whole ones, as many as the machine has, and requests that are the limits."""
    cpu, resources = view.part("cpu"), view.part("resources")
    if not cpu.get("dedicatedCpuPlacement"):
        return
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    fix = "Leave it out: the machine's own processors and memory decide; or write the same as request and limit."
    for name in ("cpu", "memory"):
        if name in requests and name in limits and parse_quantity(requests[name]) != parse_quantity(limits[name]):
            what = "is not its limit, and dedicated processors need that"
            yield problem(f"domain.resources.requests[{name}]", what, fix)
    had = cpu.get("sockets", 1) * cpu.get("cores", 1) * cpu.get("threads", 1)
    told = {kind: one["cpu"] for kind, one in (("requests", requests), ("limits", limits)) if "cpu" in one}
    for kind, number in told.items():
        if parse_quantity(number) % 1:
            where = f"domain.resources.{kind}[cpu]"
            yield problem(where, f"is {number}, and dedicated processors are whole ones", fix)
    if told and all(parse_quantity(number) != had for number in told.values()):
        what = f"is not the number of processors, {had}, and those are to be dedicated"
        yield problem(f"domain.resources.{next(iter(told))}[cpu]", what, fix)


PLACEMENT_CHECKS = (_node_selector, affinity, _priority_class, _tolerations, _dedicated)
