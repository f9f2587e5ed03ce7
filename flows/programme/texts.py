"""Pages about a plan, a machine and a run, as Markdown; pure. Text of others brings no markup of its own."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from flows.programme.endings import Ending
from flows.told import Outcome
from kubeferry.documents import Plan
from kubeferry.life.states import Recorded
from kubeferry.words import size
from reports.facts import build_report
from reports.markdown import render_markdown
from reports.shapes import MachineReport

_MARKUP = re.compile(r"([\\`*_\[\]|#~!@])")


def machine_page(
    plan: Plan, name: str, events: Mapping[str, Sequence[Recorded]], *, generated_at: str
) -> tuple[str, MachineReport]:
    """What the journal proves of a machine and of those that it moves together with: verdict, downtime in its parts,
    disks, probes; and the facts of the machine itself."""
    alone = _only(plan, plan.set_of(name))
    told = {one.name: events.get(one.name, ()) for one in alone.entries}
    report = build_report(alone, told, generated_at=generated_at)
    facts = next(one for one in report.machines if one.name == name)
    return render_markdown(report), facts


def plan_page(plan: Plan) -> str:
    """A plan for review: its waves, what is left out, and what to do with it."""
    made = f"Digest `{plan.digest}`, made {plan.created_at} from {plan.source}."
    lines = [f"# Plan {plain(plan.name)}", "", made, ""]
    rows = (
        (
            wave.name,
            entry.name,
            f"{entry.namespace}/{entry.target_name}",
            entry.mode,
            size(sum(d.size_bytes for d in entry.disks)),
        )
        for wave in plan.waves
        for entry in (plan.entry(name) for name in wave.machines)
    )
    lines += table(("wave", "machine", "target", "mode", "disks"), rows)
    lines += [f"- not moved: {plain(name)}: {plain(why)}" for name, why in plan.excluded.items()]
    lines += ["", f"To set up its deployments: `kubeferry deploy --plan {plan.digest[:12]}`"]
    return "\n".join(lines) + "\n"


def verdict_page(
    plan: Plan, ending: Ending, outcomes: Iterable[Outcome], links: Mapping[str, str], pages: Mapping[str, str]
) -> str:
    """A run at its end: what came of it, of each machine, and where to read on. `links` are pages of machines."""
    heading = ending.name or ending.kind
    lines = [f"# {heading}", "", plain(ending.message), ""]
    found = [(linked(one.machine, links.get(one.machine, "")), one) for one in outcomes]
    rows = ((name, one.stands or one.phase) for name, one in found)
    lines += table(("machine", "stands"), rows, escaped=(1,))
    reasons = [f"- {name}: {plain(_why(one))}" for name, one in found if _why(one)]  # a cell does not wrap
    lines += ["", *reasons] if reasons else []
    lines += ["", *(f"- [{what}]({where})" for what, where in pages.items())]
    lines += ["", f"The whole report: `kubeferry report --plan {plan.digest[:12]}`"]
    return "\n".join(lines) + "\n"


def _why(outcome: Outcome) -> str:
    return outcome.error.reason if outcome.error else outcome.left


def linked(text: str, where: str) -> str:
    """The text, leading there where it is known."""
    return f"[{plain(text)}]({where})" if where else plain(text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: Sequence[int] | None = None) -> list[str]:
    """A table; of each row these cells are made plain, else all."""
    told = [
        [plain(cell) if escaped is None or place in escaped else cell for place, cell in enumerate(row)] for row in rows
    ]
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *told)]


def plain(text: str) -> str:
    """Foreign text on one line, as text."""
    return _MARKUP.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _only(plan: Plan, names: Sequence[str]) -> Plan:
    """The plan with these of its machines."""
    kept = frozenset(names)
    waves = tuple(
        wave.model_copy(update={"machines": tuple(one for one in wave.machines if one in kept)})
        for wave in plan.waves
        if kept & set(wave.machines)
    )
    entries = tuple(entry for entry in plan.entries if entry.name in kept)
    return plan.model_copy(update={"waves": waves, "entries": entries, "excluded": {}})
