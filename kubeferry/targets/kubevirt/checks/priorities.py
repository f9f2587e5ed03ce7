"""Priority classes that machines and movers name. Pure.

KubeVirt takes a machine that names one that is not there, and so does Kubernetes a Job: only their pods are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.model import Concern
from kubeferry.targets.kubevirt.checks.facts import Facts, Request, template_of
from kubeferry.targets.kubevirt.checks.told import concern, not_checked


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """Who names one that is not there, with those that are."""
    if not are_named(request):
        return
    if not facts.priorities.known:
        yield not_checked("priority classes", facts.priorities.why)
        return
    has = ", ".join(sorted(one["metadata"]["name"] for one in facts.priorities.objects)) or "none"
    for who, name, setting in _named(request):
        if facts.priorities.named(name) is None:
            what = f"{who} to have priority class {name}, and the cluster has {has}: no such pod is taken"
            yield concern("priority-class.missing", what, f"Make it, or name another one: {setting}.")


def are_named(request: Request) -> bool:
    """Whether the plan names any."""
    return any(True for _ in _named(request))


def _named(request: Request) -> Iterator[tuple[str, str, str]]:
    """Who, which, and the setting that says so."""
    for entry in request.entries:
        if name := template_of(entry).get("priorityClassName"):
            yield f"{entry.name} is", name, "placement.priorityClass in the policy, and plan again"
    if request.entries and (name := request.config.movers.priority_class):
        yield "movers are", name, "target.movers.priorityClass"
