"""What is on the server against what a plan needs: what would be made, changed, removed; pure.

What a person has paused there stays paused, and a schedule that he has switched off stays off while it is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flows.deploying.wanted import OURS, Automation, Deployment, Wanted
from kubeferry.errors import Problem

Deed = Literal["make", "change", "remove"]


@dataclass(frozen=True, slots=True)
class There:
    """A deployment that is on the server, as far as it is compared. `state` are its fields by the names of `fields`."""

    id: str
    name: str
    tags: tuple[str, ...]
    state: Mapping[str, Any]
    off: frozenset[str] = frozenset()
    """Schedules that somebody has switched off, by slug."""


@dataclass(frozen=True, slots=True)
class AutomationThere:
    id: str
    name: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What is there. `pool` is its type, None where there is none of the name; `ours` whether we have made it, `used`
    by how many deployments. `deployments` are those that carry our tag, and those of names that are wanted."""

    pool: str | None
    pool_is_ours: bool = False
    pool_used: int = 0
    deployments: tuple[There, ...] = ()
    automations: tuple[AutomationThere, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do on the server. `what` is what is made or changed, `id` that of what is there."""

    deed: Deed
    kind: Literal["work pool", "deployment", "automation"]
    name: str
    why: str = ""
    what: Deployment | Automation | None = None
    there: There | None = None
    id: str = ""

    def told(self, *, done: bool) -> str:
        """In words."""
        deed = {"make": "made", "change": "changed", "remove": "removed"}[self.deed] if done else f"would {self.deed}"
        return f"{deed} {self.kind} {self.name}{self.why and f': {self.why}'}"

    def facts(self) -> dict[str, Any]:
        """For a program: schedules in Prefect's own form, too."""
        told = {"deed": self.deed, "kind": self.kind, "name": self.name, "why": self.why}
        if isinstance(self.what, Deployment) and self.what.wakings:
            return told | {"schedules": [dict(one.schedule) for one in self.what.wakings]}
        return told


def foreign(wanted: Wanted, found: Found) -> list[Problem]:
    """What is in the way: things of a name that is wanted, which we did not make, or for another journal."""
    names = {one.name for one in wanted.deployments}
    fix = "Rename or delete it there, or give the plan another name."
    problems = []
    for there in found.deployments:
        if there.name in names and not _ours(there.tags, wanted):
            by = "another journal's plan has it" if OURS in there.tags else "kubeferry did not make it"
            problems.append(Problem(f"deployment {there.name}", by, fix))
    for automation in found.automations:
        same = automation.name in {one.name for one in wanted.automations}
        if same and OURS not in automation.tags:
            what = "kubeferry did not make it"
            problems.append(Problem(f"automation {automation.name}", what, "Rename or delete it there."))
    return problems


def changes(wanted: Wanted, found: Found) -> list[Change]:
    """What has to be done so that all that is wanted is there, and nothing else of this plan."""
    done: list[Change] = []
    if found.pool is None:
        done.append(Change("make", "work pool", wanted.pool, "of type process"))
    there = {one.name: one for one in found.deployments if _ours(one.tags, wanted)}
    for deployment in wanted.deployments:
        old = there.get(deployment.name)
        if old is None:
            told = "; ".join(f"runs {one}" for one in deployment.wakings)
            done.append(Change("make", "deployment", deployment.name, told, deployment))
        elif differing := differences(deployment, wanted.pool, found.pool or "process", old):
            done.append(Change("change", "deployment", deployment.name, ", ".join(differing), deployment, old, old.id))
    names = {one.name for one in wanted.deployments}
    done += [
        Change("remove", "deployment", old.name, "the plan needs it no more", there=old, id=old.id)
        for old in there.values()
        if wanted.plan_tag in old.tags and old.name not in names
    ]
    return [*done, *_automations(wanted, found)]


def removals(wanted: Wanted, found: Found) -> list[Change]:
    """What has to be done so that nothing of this plan is there: its deployments; and what all of our plans share, with
    the last of them."""
    mine = [one for one in found.deployments if _ours(one.tags, wanted)]
    gone = [one for one in mine if wanted.plan_tag in one.tags]
    done = [Change("remove", "deployment", one.name, id=one.id) for one in gone]
    if len(gone) == len(mine):
        ours = [one for one in found.automations if _ours(one.tags, wanted)]
        done += [Change("remove", "automation", one.name, id=one.id) for one in ours]
        if found.pool_is_ours and found.pool_used <= len(gone):
            done.append(Change("remove", "work pool", wanted.pool))
    return done


def _automations(wanted: Wanted, found: Found) -> Iterator[Change]:
    there = {one.name: one for one in found.automations if _ours(one.tags, wanted)}
    for automation in wanted.automations:
        old = there.get(automation.name)
        if old is None:
            yield Change("make", "automation", automation.name, what=automation)
        elif automation.spec not in old.tags:
            yield Change("change", "automation", automation.name, "it does something else now", automation, id=old.id)


def _ours(tags: Sequence[str], wanted: Wanted) -> bool:
    return OURS in tags and wanted.journal_tag in tags


# --- a deployment, field by field ------------------------------------------------------------------------------------


def fields(deployment: Deployment, pool: str, pool_type: str) -> dict[str, Any]:
    """What a deployment is, in the words of Prefect's API, as far as it is ours to say."""
    return {
        "tags": sorted(deployment.tags),
        "version": deployment.version,
        "parameters": dict(deployment.parameters),
        "entrypoint": deployment.entrypoint,
        "work_pool_name": pool,
        "concurrency_limit": deployment.limit,
        "job_variables": job_variables(pool_type),
        "schedules": {
            one.slug: {"schedule": dict(one.schedule), "parameters": dict(one.parameters)} for one in deployment.wakings
        },
        "description": deployment.about,
    }


def differences(deployment: Deployment, pool: str, pool_type: str, there: There) -> list[str]:
    """The fields in which what is there is not what is wanted."""
    return [name for name, value in fields(deployment, pool, pool_type).items() if there.state.get(name) != value]


def job_variables(pool_type: str) -> dict[str, Any]:
    """How the process of a run is started. Of a process worker nothing is inherited that would end the run when the
    worker does (`stream_output`)."""
    heartbeat = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}
    return heartbeat | ({"stream_output": False} if pool_type == "process" else {})
