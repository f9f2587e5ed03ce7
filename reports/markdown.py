"""A report as Markdown, for tickets and pull requests; pure. Text of others cannot bring markup of its own."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from kubeferry.model import Fate
from reports.shapes import Bound, HookReport, MachineReport, Report
from reports.wording import NOT_SEEN, clock, count, duration, moment, rate, size

_MARKUP = re.compile(r"([\\`*_\[\]|#~!@])")


def render_markdown(report: Report) -> str:
    """The whole report but pictures, console output and the journal's lines: those are in the HTML page."""
    sections = [list(_head(report)), *(list(_machine(machine)) for machine in report.machines), list(_foot(report))]
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def _plain(text: str) -> str:
    """Foreign text as text: HTML and Markdown lose their meaning, addresses do not become links."""
    return _MARKUP.sub(r"\\\1", html.escape(text, quote=False)).replace("://", "\\://").replace("www.", "www\\.")


def _code(text: str) -> str:
    """Foreign text as code, which nothing in it can end."""
    return f"`{text.replace('`', '').replace('|', '')}`"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    body = [_row(row) for row in rows]
    if body:
        yield from ("", _row(head), _row("---" for _ in head), *body)


def _head(report: Report) -> Iterator[str]:
    totals = report.totals
    yield f"# {report.verdict.capitalize()}"
    yield ""
    yield _plain(report.sentence)
    yield ""
    longest = max(report.machines, key=lambda machine: machine.downtime.seconds or 0, default=None)
    measured = longest is not None and longest.downtime.seconds is not None
    yield f"- {totals.proven} of {totals.machines} machines proven"
    yield f"- {totals.disks_verified} of {totals.disks} disks read back and equal ({size(totals.proven_bytes)})"
    yield f"- {totals.probes_passed} of {totals.probes} probes passed"
    yield (
        f"- longest downtime: {_down(longest)} ({_plain(longest.name)})"
        if longest and measured
        else "- no downtime measured"
    )
    if scores := totals.scores:
        middle = f"; in the middle {scores.ratio:.2f} of what was likely" if scores.ratio is not None else ""
        yield f"- {scores.inside} of {scores.machines} downtimes inside the range that was projected{middle}"
    head = ("Machine", "Verdict", "Was down", "Disks equal", "Probes passed", "Data")
    yield from _table(head, (_summary(machine) for machine in report.machines))
    decided = (
        (moment(one.at), _plain(one.by), _plain(f"{one.what}: {one.about} {one.said}".strip()), _plain(one.proof))
        for one in report.decisions
    )
    yield from _table(("When", "Who", "Decided", "How that is known"), decided)
    yield from _table(("Left out", "Why"), ((_plain(one.name), _plain(one.reason)) for one in report.excluded))


def _summary(machine: MachineReport) -> tuple[str, ...]:
    equal = sum(disk.verified for disk in machine.disks)
    passed = sum(probe.ok for probe in machine.probes)
    return (
        _plain(machine.name),
        f"**{machine.verdict}**",
        _down(machine),
        f"{equal} of {len(machine.disks)}",
        f"{passed} of {max(machine.probes_planned, len(machine.probes))}",
        size(sum(disk.data_bytes or 0 for disk in machine.disks)),
    )


def _down(machine: MachineReport) -> str:
    down = machine.downtime
    bound = "" if down.bound is Bound.EXACT else f"{down.bound} "
    return f"{bound}{duration(down.seconds)}" if down.seconds is not None else "—"


def _machine(machine: MachineReport) -> Iterator[str]:
    yield from ("", f"## {_plain(machine.name)}: {machine.verdict}", "")
    yield from (f"- {_plain(reason)}" for reason in machine.why)
    yield ""
    yield f"{_plain(machine.hardware)}; becomes {_code(f'{machine.namespace}/{machine.target_name}')}."
    if others := machine.moves_with:
        yield from ("", f"**Moves together with** {_plain(', '.join(others))}.")
        yield from (f"- {_plain(disk)}" for disk in machine.attached)
    if ends := machine.ends_as:
        yield from ("", f"**Run strategy:** {_plain(ends)}")
    if machine.left_so:
        yield from ("", f"**Source:** off, {_plain(', '.join(machine.left_so))}")
    yield from ("", f"**Downtime:** {_plain(machine.downtime.text)}")
    if machine.projection:
        yield from ("", f"**Projected:** {_plain(machine.projection.text)}")
    if machine.timeline:
        parts = ((part.label, duration(part.seconds), "yes" if part.down else "") for part in machine.timeline.parts)
        yield from _table(("Part", "Time", "Down"), parts)
    yield from _disks(machine)
    yield from _rounds(machine)
    yield from _rehearsals(machine)
    yield from _table(("", "Hook", "Does", "Said", "Took"), (_hook(one) for one in machine.hooks))
    asked = ((_mark(probe.ok), _plain(probe.what), _plain(probe.evidence) or NOT_SEEN) for probe in machine.probes)
    yield from _table(("", "Probe", "Seen"), asked)
    if machine.boot and machine.boot.seen:
        yield from _table(("The running copy", ""), ((_plain(k), _plain(v)) for k, v in machine.boot.seen.items()))
    fates = (
        (str(fate.fate), _plain(fate.field), _plain(fate.source), _plain(fate.target), _plain(fate.reason))
        for fate in machine.carried
        if fate.fate not in {Fate.CARRIED, Fate.NOT_NEEDED}
    )
    yield from _table(("", "Field", "Source", "Target", "Why"), fates)
    concerns = ((str(one.severity), _plain(one.what), _plain(one.fix)) for one in machine.concerns)
    yield from _table(("Concern", "What", "Fix"), concerns)
    told = ((clock(one.at), _plain(one.what), _plain(f"{one.why} {one.fix}".strip())) for one in machine.history)
    yield from _table(("At", "What happened", "Why, and what helps"), told)


def _disks(machine: MachineReport) -> Iterator[str]:
    rows = (
        (
            _plain(disk.disk),
            size(disk.size_bytes),
            NOT_SEEN if disk.data_bytes is None else size(disk.data_bytes),
            rate(disk.copied.bytes_per_second) if disk.copied else NOT_SEEN,
            _plain(disk.result),
            f"{_plain(disk.algorithm or '')} {_code(disk.root)}" if disk.root else NOT_SEEN,
        )
        for disk in machine.disks
    )
    yield from _table(("Disk", "Size", "Data", "Copied at", "Result", "Root"), rows)
    places = (
        (_plain(disk.disk), done, _plain(part.where))
        for disk in machine.disks
        for done, part in (("copied", disk.copied), ("read back", disk.read_back))
        if part and part.where
    )
    yield from _table(("Disk", "Done", "By"), places)


def _rounds(machine: MachineReport) -> Iterator[str]:
    rows = (
        (
            str(one.round),
            moment(one.begins_at),
            "all data" if one.whole else "what changed",
            f"{size(one.data_bytes)} in {duration(one.seconds)}",
            size(one.read_back_bytes),
        )
        for one in machine.rounds
    )
    yield from _table(("Copied ahead", "Begun", "Of", "Copied", "Read back"), rows)


def _rehearsals(machine: MachineReport) -> Iterator[str]:
    for one in machine.rehearsals:
        passed = "passed" if one.passed else f"did not pass: {_plain(one.why)}"
        together = f", together: {', '.join(map(_plain, one.together))}" if one.together else ""
        yield from ("", f"**Rehearsed** {moment(one.at)}, as of round {one.round}{together}: {passed}", "")
        yield from (f"- {_plain(disk)}" for disk in one.disks)
        yield from (f"- removed: {_plain(thing)}" for thing in one.removed)
        yield from (f"- not asked: {_plain(probe)}" for probe in one.not_asked)
        for head, probes in (("Probe of the rehearsal", one.probes), (f"Probe of app {one.app}", one.app_probes)):
            asked = ((_mark(probe.ok), _plain(probe.what), _plain(probe.evidence) or NOT_SEEN) for probe in probes)
            yield from _table(("", head, "Seen"), asked)


def _hook(one: HookReport) -> tuple[str, ...]:
    ended = "not run" if one.ok is None else _mark(one.ok)
    said = "; ".join(filter(None, (one.why, one.said.rpartition("\n")[2])))
    took = "" if one.ok is None else duration(one.seconds)
    return ended, f"{one.phase} {_plain(one.name)}", _plain(one.what), _plain(said), took


def _mark(ok: bool) -> str:
    return "passed" if ok else "**failed**"


def _foot(report: Report) -> Iterator[str]:
    if report.open_things:
        yield from (
            "",
            f"## {count(len(report.open_things), 'thing')} that the move made, not recorded as gone",
            "",
        )
        yield from (f"- {_plain(f'{one.machine}: {one.kind} {one.where}')}" for one in report.open_things)
    yield from ("", "---", "")
    yield f"Plan {_plain(report.plan_name)} {_code(report.plan_digest)}, made {moment(report.planned_at)} from source"
    yield f"{_plain(report.source)}. Report made {moment(report.generated_at)} from plan and journal."
    if report.versions:
        yield ", ".join(f"{_plain(name)} {_plain(version)}" for name, version in sorted(report.versions.items())) + "."
