"""What a plan needs on a Prefect server: a work pool, a deployment a verb, automations; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.deploying.wakings import Waking, of_caretake, of_cutover, of_precopy
from flows.programme import FLOWS
from kubeferry.documents import Plan
from kubeferry.words import counted

OURS = "kubeferry"
"""The tag of everything that `kubeferry deploy` makes."""
MADE_BY = "Made by `kubeferry deploy`"
HEARTBEAT_SECONDS = 30
SILENT_SECONDS = 180
"""A run that was not heard of for so long has died; one whose server was away for longer says that it lives."""
WAITS = "run-of-kubeferry.waits"
"""The event of a run that is suspended from now on, and no process lives for it."""
ONE_AT_A_TIME = frozenset({"precopy", "cutover", "rehearse", "caretake"})
"""A second run of these is cancelled at once: one that waited would begin outside its window."""
ENDED_BADLY = ("Failed", "Crashed", "RolledBack", "TimedOut")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One verb of a plan. Its name on the server is `VERB/PLAN`; `limit` is how many runs of it there may be."""

    verb: str
    plan: str
    tags: tuple[str, ...]
    about: str
    version: str
    parameters: Mapping[str, Any]
    wakings: tuple[Waking, ...] = ()
    limit: int | None = None

    @property
    def name(self) -> str:
        return f"{self.verb}/{self.plan}"

    @property
    def entrypoint(self) -> str:
        return FLOWS[self.verb]


@dataclass(frozen=True, slots=True)
class Automation:
    """One automation, in the form of Prefect's API."""

    name: str
    description: str
    tags: tuple[str, ...]
    trigger: Mapping[str, Any]
    actions: tuple[Mapping[str, Any], ...]

    @property
    def spec(self) -> str:
        """A tag that changes with what it does."""
        text = json.dumps([self.name, self.description, self.trigger, self.actions], sort_keys=True)
        return f"spec:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a plan needs. `pool` is made where there is none of its name."""

    pool: str
    deployments: tuple[Deployment, ...]
    automations: tuple[Automation, ...]
    plan_tag: str
    journal_tag: str


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person says beside the plan. `config` is where workers have the configuration, empty for their
    environment's; `policy` the name of the one that the journal keeps, empty for none; `webhook` the id of a block to
    call; `caretake_seconds` how often machines that nobody is at work on are looked after, 0 for never; `spread`:
    machines of a run are handed out to other workers."""

    journal: str
    pool: str = OURS
    config: str = ""
    policy: str = ""
    webhook: str = ""
    caretake_seconds: int = 60
    spread: bool = False


def wanted(plan: Plan, choices: Choices) -> Wanted:
    """What this plan needs."""
    common = {"plan": plan.name, "digest": plan.digest} | ({"config": choices.config} if choices.config else {})
    verbs = [verb for verb in FLOWS if verb not in {"discover", "assess", "plan", "caretake"}]
    if not choices.spread:
        verbs.remove("machine")
    if not any(entry.mode == "warm" for entry in plan.entries):
        verbs.remove("precopy")
    wakings = {"precopy": of_precopy(plan), "cutover": of_cutover(plan)}
    made = [_deployment(plan, choices, verb, common, wakings.get(verb, ())) for verb in verbs]
    given = {"config": choices.config} if choices.config else {}
    made.append(_deployment(plan, choices, "discover", given | {"source": plan.source}))
    made.append(_deployment(plan, choices, "caretake", given, of_caretake(choices.caretake_seconds)))
    if choices.policy:
        chain = given | {"inventory": plan.source, "policy": choices.policy}
        made += [
            _deployment(plan, choices, "assess", chain),
            _deployment(plan, choices, "plan", chain | {"name": plan.name}),
        ]
    automations = (_of_the_dead(choices), *((_webhook(choices),) if choices.webhook else ()))
    return Wanted(choices.pool, tuple(made), automations, f"plan:{plan.name}", f"journal:{choices.journal}")


def _deployment(
    plan: Plan,
    choices: Choices,
    verb: str,
    parameters: Mapping[str, Any],
    wakings: tuple[Waking, ...] = (),
) -> Deployment:
    waves = tuple(f"wave:{wave.name}" for wave in plan.waves)
    tags = (OURS, f"plan:{plan.name}", f"journal:{choices.journal}", *waves)
    amount = f"{counted(len(plan.entries), 'machine')} in {counted(len(plan.waves), 'wave')}"
    about = f"Plan `{plan.name}` ({plan.digest[:12]}): {amount}. {MADE_BY}; it changes and removes it."
    limit = 1 if verb in ONE_AT_A_TIME else None
    return Deployment(verb, plan.name, tags, about, plan.digest[:12], dict(parameters), wakings, limit)


def _of_the_dead(choices: Choices) -> Automation:
    """A run whose process was killed tells nobody: it is Crashed once its heartbeat was not heard for a while."""
    return Automation(
        "kubeferry: runs that died",
        f"{MADE_BY}: a run of kubeferry's that is not heard of for {SILENT_SECONDS} s has died.",
        (OURS, f"journal:{choices.journal}"),
        {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": _tagged(choices),
            "after": ["prefect.flow-run.heartbeat"],
            "expect": ["prefect.flow-run.*", WAITS],
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": SILENT_SECONDS,
        },
        (
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "message": "nothing was heard of it: its process has died. The journal says where each machine stands.",
            },
        ),
    )


def _webhook(choices: Choices) -> Automation:
    """Tell a webhook of a run that did not end well. For notices only: it goes through Prefect's server."""
    return Automation(
        "kubeferry: tell of runs that did not end well",
        f"{MADE_BY}.",
        (OURS, f"journal:{choices.journal}"),
        {
            "type": "event",
            "posture": "Reactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": _tagged(choices),
            "after": [],
            "expect": [f"prefect.flow-run.{state}" for state in ENDED_BADLY],
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": 0,
        },
        (
            {
                "type": "call-webhook",
                "block_document_id": choices.webhook,
                "payload": '{"run": {{ flow_run.name|tojson }}, "state": {{ flow_run.state.name|tojson }}, '
                '"message": {{ flow_run.state.message|tojson }}, "page": {{ flow_run|ui_url|tojson }}}',
            },
        ),
    )


def _tagged(choices: Choices) -> dict[str, Any]:
    """Runs of deployments of ours, that carry our journal's tag."""
    return {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.journal:{choices.journal}"}
