"""The dry run: what would become of each machine, from facts of source and target alone, and nothing written.

Pure half: `assess`. The rest is its pages, for the owner of the application: what will happen, change and be lost,
and what to do.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pydantic.alias_generators import to_camel

from kubeferry.documents import Hook, Inventory, MachinePolicy, Offer, PlannedDisk, Platform, Policy
from kubeferry.documents.assessment import SIZE_UNKNOWN, Assessment, CopyEstimate, Verdict
from kubeferry.documents.triage import Triage
from kubeferry.model import Carried, Concern, Fate, Machine, Severity
from kubeferry.words import RUN_STRATEGIES, first_of, plain
from kubeferry.words import duration as spoken
from mappings.apps import gathered
from mappings.choices import choices_for, own_power, platform_for
from mappings.decisions import open_decisions
from mappings.disk_wishes import disk_wishes, told
from mappings.estimate import Rates, estimate, expected_downtime
from mappings.machine import Mapped, to_manifests
from mappings.names import Names, dns_label, machine_names
from mappings.neighbours import neighbours
from mappings.nics import cards
from mappings.quantities import duration, human_bytes
from mappings.refusals import all_concerns
from mappings.rules.between import included, inventory_concerns
from mappings.rules.rule import CRITICAL
from mappings.sharing import ALONE, sharings
from mappings.storage import UNASKED
from mappings.triage.verdict import triage
from mappings.windows import window_of
from mappings.wishes import Settled, parts, settled

# Facts that only access to the source's storage brings; exported domain files do not hold them.
_BROUGHT_BY_ACCESS = {SIZE_UNKNOWN}


def assess(
    inventory: Inventory, policy: Policy, *, offer: Offer = UNASKED, rates: Rates | None = None
) -> tuple[Assessment, ...]:
    """One assessment per machine, in the order of the inventory. Problems of single machines are their concerns."""
    wishes = settled(policy, inventory.machines)
    wishes = replace(wishes, policy=gathered(wishes.policy, wishes.machines, wishes.decided).policy)
    names = machine_names(wishes.machines, wishes.policy)
    same = sharings(wishes.machines, wishes.policy, names, offer)
    shared = inventory_concerns(wishes.machines, wishes.policy, names, same)
    platform = platform_for(wishes.policy, offer)
    around = neighbours(included(wishes.machines, wishes.policy), wishes.policy, offer)
    mapped = {
        one.name: to_manifests(one, wishes.policy, names[one.name], offer, same.get(one.name, ALONE), around)
        for one in wishes.machines
    }
    return tuple(
        _assess(
            machine,
            wishes,
            names[machine.name],
            mapped[machine.name],
            all_concerns(mapped, machine.name, shared.get(machine.name, ()), platform),
            offer,
            rates or Rates(),
        )
        for machine in wishes.machines
    )


def _assess(
    machine: Machine,
    wishes: Settled,
    names: Names,
    mapped: Mapped,
    concerns: tuple[Concern, ...],
    offer: Offer,
    rates: Rates,
) -> Assessment:
    policy = wishes.policy
    choices, own = choices_for(machine, policy, offer), policy.of(machine.name)
    elsewhere = {disk.disk for disk in mapped.attached}
    copied = tuple(disk for disk in machine.data_disks if disk.id not in elsewhere)
    copy, mode = estimate(copied, rates), "cold" if mapped.moves_with else choices.mode
    found = Assessment(
        name=machine.name,
        target_name=names.machine,
        namespace=choices.namespace,
        verdict=_verdict(concerns, included=policy.of(machine.name).include),
        run_strategy=choices.run_strategy,
        manifests=mapped.manifests,
        disks=mapped.disks,
        attached=mapped.attached,
        carried=mapped.carried,
        concerns=concerns,
        estimate=copy,
        decided=_by_whom(wishes, machine),
        chosen=_chosen(wishes, machine),
        made_for=_made_for(choices.kubevirt, asked=offer.kubevirt is not None),
        app=own.app or None,
        owner=own.owner or None,
        wave=own.wave or None,
        window=window_of(machine.name, policy),
        budget_seconds=choices.downtime.budget_seconds if choices.downtime else None,
        after=own.after,
        moves_with=tuple(other.name for other in mapped.moves_with),
        power=own_power(machine),
        mode=mode,
        cards=cards(machine, choices),
        probes=choices.probes,
        hooks=(*choices.hooks, *_of_its_app(own, policy)),
        forced=choices.stop.force,
        decisions=open_decisions(machine, choices, concerns),
        triage=triage(machine, choices, mapped.traffic),
    )
    downtime = expected_downtime(found.power, mode, copy, unsized=found.unsized)
    return found.model_copy(update={"downtime": downtime})


def _of_its_app(own: MachinePolicy, policy: Policy) -> tuple[Hook, ...]:
    app = (policy.apps or {}).get(own.app or "")
    return (app.hooks or ()) if app else ()


def _by_whom(wishes: Settled, machine: Machine) -> dict[str, str]:
    """Which rule made which choice; of disks, for each of them."""
    decided = {place: by for place, by in wishes.decided[machine.name].items() if place != "disks"}
    return decided | wishes.of_disks[machine.name]


def _chosen(wishes: Settled, machine: Machine) -> dict[str, Any]:
    own = wishes.policy.of(machine.name)
    dumped = own.model_dump(mode="json", by_alias=True, exclude_unset=True)
    said = [parts(field, dumped.get(to_camel(field))) for field in own.model_fields_set - {"disks"}]
    chosen = {place: value for one in said for place, value in one.items() if place in wishes.decided[machine.name]}
    return chosen | told(disk_wishes(own.disks, machine))


def _made_for(platform: Platform | None, *, asked: bool) -> str:
    if platform is None:
        return "the newest KubeVirt: neither a cluster nor the policy says another"
    return f"KubeVirt {platform.version}, which {'the cluster has' if asked else 'the policy names'}"


def _verdict(concerns: tuple[Concern, ...], *, included: bool) -> Verdict:
    if not included:
        return "excluded"
    critical = {concern.id for concern in concerns if concern.severity == CRITICAL}
    if critical:
        return "incomplete" if critical <= _BROUGHT_BY_ACCESS else "blocked"
    warned = any(concern.severity == Severity.WARNING for concern in concerns)
    return "ready-with-warnings" if warned else "ready"


# --- pages ------------------------------------------------------------------------------------------------------

_VERDICTS = {
    "ready": "Ready: nothing speaks against the move.",
    "ready-with-warnings": "Ready, with warnings: read what to check below.",
    "blocked": "Blocked: it does not move until what is listed below is settled.",
    "incomplete": "Nothing speaks against the move, but sizes of disks are missing: discover them with access.",
    "excluded": "Left out, as the policy says. This page shows what would happen.",
}
NAMED = 12
SHOWN = 160  # characters of a choice on a page; a patch may be long
_MARKUP = re.compile(r"([\\`*_\[\]|#])")


def render_assessment_markdown(assessment: Assessment) -> str:
    """One machine's page. Text from the source is escaped: it cannot bring markup of its own."""
    lines = [
        f"# {_plain(assessment.name)}",
        "",
        f"**{_VERDICTS[assessment.verdict]}**",
        "",
        *_programme(assessment),
        "## What will happen",
        "",
        *_story(assessment),
        "",
    ]
    lines += _section("What the policy decides", _decided(assessment))
    titles = {
        Severity.CRITICAL: "What must be settled first",
        Severity.WARNING: "What to check",
        Severity.INFO: "Good to know",
    }
    for severity, title in titles.items():
        lines += _section(title, _concern_lines(one for one in assessment.concerns if one.severity == severity))
    lines += _section("Where it fits", _place(assessment.triage))
    lines += _section("What changes", _fates(assessment.carried, Fate.CHANGED))
    lines += _section("What is lost", _fates(assessment.carried, Fate.LOST))
    lines += _section("What stays as it is", _fates(assessment.carried, Fate.CARRIED))
    lines += _section("What is not needed there", _fates(assessment.carried, Fate.NOT_NEEDED))
    return "\n".join(lines).rstrip() + "\n"


def render_summary_markdown(assessments: Iterable[Assessment]) -> str:
    """All machines in one table, the blocked ones first, each with the way to its page."""
    assessments = tuple(assessments)
    folders = page_folders(assessments)
    rank = {
        verdict: place
        for place, verdict in enumerate(("blocked", "incomplete", "ready-with-warnings", "ready", "excluded"))
    }
    apps = any(one.app for one in assessments)
    rows = [
        f"| [{_plain(one.name)}]({folders[one.name]}/README.md) {_app_cell(one) if apps else ''}"
        f"| {one.verdict} | {len(one.disks) + one.unsized} "
        f"| {_sizes(one)} | {'unknown' if one.unsized else _duration(one.estimate)} "
        f"| {_count(one, Severity.CRITICAL)} | {_count(one, Severity.WARNING)} |"
        for one in sorted(assessments, key=lambda one: (rank[one.verdict], one.name))
    ]
    head = [
        f"| Machine {'| App ' if apps else ''}| Verdict | Disks | Size | Copy | Critical | Warnings |",
        f"|{'---|' * (7 + apps)}",
    ]
    return "\n".join(["# Assessment", "", *head, *rows]) + "\n"


def page_folders(assessments: Iterable[Assessment]) -> dict[str, str]:
    """The folder of each machine's page, by its name at the source: what it is called at the target, and where
    several are called so, in different namespaces, its own name, too. No two machines share one."""
    assessments = tuple(assessments)
    times = Counter(one.target_name for one in assessments)
    folders = {one.name: one.target_name for one in assessments if times[one.target_name] == 1}
    for one in assessments:
        if one.name not in folders:
            folders[one.name] = dns_label(f"{one.target_name}-{one.name}", {*times, *folders.values()})
    return folders


def _app_cell(assessment: Assessment) -> str:
    return f"| {_plain(assessment.app or '')} "


def _programme(assessment: Assessment) -> list[str]:
    """Its app, its wave, when and for how long it is down, and what it waits for, where the policy says any of it."""
    budget = assessment.budget_seconds
    said = {
        "App": assessment.app,
        "Owner": assessment.owner,
        "Wave": assessment.wave,
        "Window": assessment.window,
        "May be down for": spoken(budget) if budget else None,
    }
    lines = [f"- {name}: {_plain(value)}" for name, value in said.items() if value]
    lines += [f"- Comes after: {_plain(first_of(assessment.after, NAMED))}"] if assessment.after else []
    return [*lines, ""] if lines else []


def _sizes(assessment: Assessment) -> str:
    known = human_bytes(sum(disk.size_bytes for disk in assessment.disks))
    if not (unknown := assessment.unsized):
        return known
    return f"{known}, {unknown} unknown" if assessment.disks else f"{unknown} unknown"


def _count(assessment: Assessment, severity: Severity) -> int:
    return sum(concern.severity == severity for concern in assessment.concerns)


def _story(assessment: Assessment) -> Iterator[str]:
    means = RUN_STRATEGIES[assessment.run_strategy]
    yield (
        f"The machine becomes the VirtualMachine `{assessment.target_name}` in namespace `{assessment.namespace}`, "
        f"with run strategy {assessment.run_strategy} once it has moved: {means}. "
        f"The source is not changed; it is stopped for the cutover only."
    )
    if assessment.made_for:
        yield ""
        yield f"Made for {_plain(assessment.made_for)}."
    if assessment.disks or assessment.attached:
        yield ""
        yield "| Disk | Size | Claim | Claim size | Modes | Class |"
        yield "|---|---|---|---|---|---|"
    for disk in assessment.disks:
        spec = _claim(assessment, disk)
        yield (
            f"| {_plain(disk.disk)} | {human_bytes(disk.size_bytes)} | `{disk.claim}` "
            f"| {human_bytes(disk.claim_bytes)} | {', '.join([disk.volume_mode, *spec['accessModes']])} "
            f"| {_plain(spec.get('storageClassName', 'the default') or 'none')} |"
        )
    for attached in assessment.attached:
        yield (
            f"| {_plain(attached.disk)} | {human_bytes(attached.size_bytes)} | `{attached.claim}` "
            f"| | carried by {_plain(attached.carrier)} | |"
        )
    yield ""
    yield f"Copy: {_copied(assessment)}. Assumed: {'; '.join(assessment.estimate.assumptions)}."


def _claim(assessment: Assessment, disk: PlannedDisk) -> dict[str, Any]:
    """The spec of a disk's claim, as the manifest says it."""
    kind = "PersistentVolumeClaim"
    claims = {one["metadata"]["name"]: one["spec"] for one in assessment.manifests if one["kind"] == kind}
    found: dict[str, Any] = claims[disk.claim]
    return found


def _copied(assessment: Assessment) -> str:
    """How much, and how long it takes; zero bytes are told only where they are known to be zero."""
    estimate = assessment.estimate
    told = f"{_amount(estimate)} in {_duration(estimate)}"
    if not assessment.unsized:
        return told
    return f"{told}, and what is not known" if estimate.high_bytes else "not known"


def _amount(estimate: CopyEstimate) -> str:
    low, high = human_bytes(estimate.low_bytes), human_bytes(estimate.high_bytes)
    return low if low == high else f"{low} to {high}"


def _duration(estimate: CopyEstimate) -> str:
    low, high = duration(estimate.low_seconds), duration(estimate.high_seconds)
    return f"up to {high}" if low == high else f"{low} to {high}"


def _decided(assessment: Assessment) -> Iterator[str]:
    for field, rule in sorted(assessment.decided.items()):
        value = json.dumps(assessment.chosen.get(field), ensure_ascii=False).strip('"')
        shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
        yield f"- `{field}`: {_plain(shown)} ({_plain(rule)})"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    listed = list(lines)
    return [f"## {title}", "", *listed, ""] if listed else []


def _concern_lines(concerns: Iterable[Concern]) -> Iterator[str]:
    for concern in concerns:
        yield f"- {_plain(concern.what)} {_plain(concern.fix)} (`{concern.id}`)"


_PLACES = {"vm": "As a VM", "container": "Perhaps as a container image", "stay": "Where it is, until somebody decides"}


def _place(found: Triage | None) -> Iterator[str]:
    """Where the machine fits, why, what is not known, and the sandbox for it."""
    if found is None:
        return
    yield f"**{_PLACES[found.place]}.** A recommendation, which changes no plan."
    yield ""
    for one in found.reasons:
        yield f"- {_plain(one.what)}{f' ({_plain(one.fact)})' if one.fact else ''}"
    yield f"- Not known: {_plain('; '.join(found.unknown))}."
    box = found.sandbox
    tenant = f" of tenant {box.tenant}" if box.tenant else ""
    policy = "with" if box.network_policy else "without"
    movers = box.runtime_class or "what the configuration says"
    yield ""
    yield (
        f"Sandbox: namespace `{box.namespace}`{tenant}, Pod Security {box.pod_security}, movers under {movers}, "
        f"{policy} a NetworkPolicy."
    )
    yield ""
    for note in box.notes:
        yield f"- {_plain(note)}"


def _fates(carried: tuple[Carried, ...], fate: Fate) -> Iterator[str]:
    rows = [line for line in carried if line.fate == fate]
    if rows:
        yield "| Setting | At the source | At the target | Why |"
        yield "|---|---|---|---|"
    for line in rows:
        target = f"`{re.sub('[`|]', '', line.target)}`" if line.target else ""
        yield f"| {_plain(line.field)} | {_plain(line.source)} | {target} | {_plain(line.reason)} |"


def _plain(text: str) -> str:
    """Text on one line whose characters mean nothing to Markdown or HTML, nor turn a line round."""
    return _MARKUP.sub(r"\\\1", html.escape(plain(" ".join(text.split())), quote=False))
