"""The verbs that decide: assess, plan, schema. They ask no source, and a target only what there is to choose from.

`plan` asks the journal, too, before it overwrites a plan.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import FILE, FOLDER, json_option, policy_of, policy_option, target_option
from flows.cli.output import print_json, print_table
from flows.cli.replaced import held, lines
from flows.cli.wave_tables import print_apps, print_waves
from flows.serving import given_answers
from kubeferry.documents import KINDS, Inventory, Plan, WavesPolicy, json_schema, save
from kubeferry.errors import Problem
from kubeferry.life.held import FEWEST
from kubeferry.model import Severity
from kubeferry.outside.clock import now
from kubeferry.schedule.windows import told
from kubeferry.words import counted, first_of, plain, shortened, size

inventories_argument = click.argument("inventories", type=FILE, nargs=-1, required=True, metavar="INVENTORY...")

NAMED = 6
REASON = 100
"""Characters of a reason that are shown of one that does not move."""

if TYPE_CHECKING:  # the rules are many, and only `assess` and `plan` apply them
    from kubeferry.documents.assessment import Assessment
    from mappings.plan import Planned


@click.command()
@inventories_argument
@policy_option
@target_option
@click.option("--out", type=FOLDER, default=Path("assessment"), show_default=True, help="The folder to write.")
@json_option
def assess(inventories: tuple[Path, ...], policy: Path | None, config: Path | None, out: Path, as_json: bool) -> None:
    """Say what would happen to each machine; touches neither source nor target.

    Several inventories are taken as one of an estate.
    """
    from flows.inventories import load_inventories
    from mappings.policy_problems import policy_problems

    if given_answers():
        from flows.programme.asking import assess as flow
        from flows.serving.reached import reached

        given = [str(path.resolve()) if path else None for path in (policy, config)]
        with reached():
            files = [str(one.resolve()) for one in inventories]
            assessments = flow(files if len(files) > 1 else files[0], given[0], str(out.resolve()), given[1])
    else:
        from flows.assessing import offer_of, write_assessments

        facts = load_inventories(inventories, config)
        assessments = write_assessments(facts, policy_of(policy), out, offer=offer_of(config))
        _tell_of_estate(facts, config, merged=False)  # an assessment is not carried out
    if as_json:
        print_json([item.model_dump(mode="json", by_alias=True) for item in assessments])
    else:
        _print_assessments(assessments)
        click.echo(f"Pages for the owners: {out}/index.html")
    if policy:
        _tell_problems(policy_problems(load_inventories(inventories, config), policy_of(policy)))


def _tell_problems(problems: list[Problem]) -> None:
    """What `plan` will refuse the policy for, on standard error: pages can be made all the same."""
    if problems:
        click.secho("`plan` will refuse this policy until it fits the inventory:", fg="yellow", err=True)
    for problem in problems:
        click.echo(plain(f"  - {problem}"), err=True)


def _print_assessments(assessments: tuple[Assessment, ...]) -> None:
    rows: list[tuple[str, ...]] = []
    for item in assessments:
        fates = [str(sum(line.fate == fate for line in item.carried)) for fate in ("carried", "changed", "lost")]
        counts = [f"{sum(c.severity == s for c in item.concerns)} {s}" for s in Severity]
        said = ", ".join(text for text in counts if not text.startswith("0 "))
        rows.append((item.name, item.verdict, *fates, said))
    apps = [item.app or "" for item in assessments]
    if any(apps):
        rows = [(name, app, *others) for (name, *others), app in zip(rows, apps, strict=True)]
    named = ("machine", *(("app",) if any(apps) else ()))
    print_table((*named, "verdict", "carried", "changed", "lost", "concerns"), rows)
    verdicts = [str(item.verdict) for item in assessments]
    parts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    concerns = counted(sum(len(item.concerns) for item in assessments), "concern")
    click.echo(f"total: {counted(len(assessments), 'machine')}{parts and f' ({parts})'}, {concerns}")


@click.command()
@inventories_argument
@policy_option
@target_option
@click.option("--name", help="The plan's name; that of the inventory's source or estate by default.")
@click.option("--out", type=FILE, default=Path("plan.yaml"), show_default=True, help="The plan to write.")
@click.option(
    "--sheet",
    type=FILE,
    help="The waves as a table for spreadsheets (CSV): read where it is there, its edits stand above the policy; "
    "then written.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the plan and what it would change of the one in the file, and write nothing; with --json, all of it.",
)
@json_option
def plan(
    inventories: tuple[Path, ...],
    policy: Path | None,
    config: Path | None,
    name: str | None,
    out: Path,
    sheet: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decide everything, and freeze it for review.

    Several inventories are taken as one of an estate: of the configuration's that has their sources, else of one that
    is called `estate`. Machines of one name get their source's behind it. A plan that moves no machine is written, too,
    with the reasons; the exit code is 2 then.
    """
    from flows.assessing import offer_of
    from flows.cli.sheets import read_sheet, tell_edits, write_sheet
    from flows.inventories import load_inventories
    from mappings.plan import planned

    facts, choices = load_inventories(inventories, config), policy_of(policy)
    grid, edits = read_sheet(sheet, facts, choices)
    whole = planned(
        facts,
        choices,
        name=name or facts.source,
        created_at=now("seconds"),
        offer=offer_of(config),
        sheet=edits.choices,
    )
    made = whole.plan
    if not dry_run:
        if out.exists():
            from flows.cli.overwriting import refuse_under_way  # the journal comes with it

            refuse_under_way(out, made, config)
        save(made, out)
        if sheet:
            write_sheet(sheet, grid, whole, facts, edits)
    if sheet:
        tell_edits(sheet, edits, err=as_json)
    if as_json:
        print_json(made.model_dump(mode="json", by_alias=True))
    else:
        _print_plan(whole, out, dry_run=dry_run)
        _tell_written(made, out, sheet, dry_run=dry_run)
        if facts.source_kind.endswith("export"):
            click.secho(_OF_EXPORTS, fg="yellow", err=True)
        _tell_of_estate(facts, config, merged=len(inventories) > 1)
    if not made.entries:
        raise click.exceptions.Exit(2)


def _tell_of_estate(facts: Inventory, config: Path | None, *, merged: bool) -> None:
    """What of the inventory of several sources keeps a plan from being whole; and, of one that was `merged`, from being
    carried out."""
    from flows.inventories import lacking
    from kubeferry.config import read_config

    told = [one for one in facts.unreadable if facts.members and one.severity is not Severity.INFO]
    for concern in told:
        click.secho(plain(f"{concern.severity}: {concern.what} [{concern.id}] {concern.fix}"), fg="yellow", err=True)
    if merged and (line := lacking(facts, read_config(config) if config else None)):
        needs = f"It is of several sources: what carries it out needs `{line}` in its configuration."
        click.secho(plain(needs), fg="yellow", err=True)


_OF_EXPORTS = (
    "It is made of exported files, whose disks nobody can read: it shows what would happen, and cannot be carried out. "
    "Discover the source itself and plan again for that."
)


def _tell_written(made: Plan, out: Path, sheet: Path | None, *, dry_run: bool) -> None:
    """Where the plan stands now, or would; of a dry run also what it would change there."""
    named = f"plan {made.name} ({made.digest[:12]})"
    if not dry_run:
        click.echo(f"P{named[1:]} written to {out}{f', its waves to {sheet}' if sheet else ''}")
        return
    if (old := held(out)) is not None:
        changed = list(lines(old, made))
        changes = "what would change:" if changed else "its machines would move as they do in it"
        click.echo(plain(f"{out} holds plan {old.name} ({old.digest[:12]}); {changes}"))
        for line in changed:
            click.echo(plain(f"  {line}"))
    where = f"{out}, and its waves to {sheet}" if sheet else str(out)
    click.echo(f"Nothing was written: without --dry-run {named} would be written to {where}")


def _print_plan(whole: Planned, out: Path, *, dry_run: bool) -> None:
    made = whole.plan
    print_waves(made, whole.pulled)
    entries = {entry.name: entry for entry in made.entries}
    rows = []
    for wave in made.waves:
        for entry in (entries[machine] for machine in wave.machines):
            amount = size(sum(disk.size_bytes for disk in entry.disks))
            target = f"{entry.namespace}/{entry.target_name}"
            named = (wave.name, *((entry.app or "",) if made.apps else ()), entry.name)
            opens = (entry.window or "any time",) if made.windows else ()
            rows.append((*named, target, str(len(entry.disks)), amount, str(len(entry.concerns)), *opens))
    headings = ("wave", *(("app",) if made.apps else ()), "machine", "target", "disks", "bytes", "concerns")
    print_table((*headings, "window") if made.windows else headings, rows)
    disks = [disk.size_bytes for entry in made.entries for disk in entry.disks]
    concerns = sum(len(entry.concerns) for entry in made.entries)
    click.echo(
        f"total: {counted(len(made.waves), 'wave')}, {counted(len(rows), 'machine')}, "
        f"{counted(len(disks), 'disk')} with {size(sum(disks))}, {counted(concerns, 'concern')}"
    )
    for window, when in (made.windows or {}).items():
        click.echo(plain(f"window {window}: {told(when)}"))
    print_apps(made)
    for entry in made.entries:
        if entry.after and not entry.app:
            click.echo(plain(f"{entry.name} waits until {first_of(entry.after, NAMED)} has moved"))
    if made.order and len(made.waves) > 1:
        click.echo(_what_fails(made.order))
    for together in dict.fromkeys(made.set_of(entry.name) for entry in made.entries if entry.shares_disks):
        click.echo(plain(f"together or not at all, since they share disks: {', '.join(together)}"))
    if not made.entries:
        click.secho("The plan moves no machine: `migrate` will refuse it.", fg="yellow", err=True)
    _print_excluded(made, out, dry_run=dry_run)


def _print_excluded(made: Plan, out: Path, *, dry_run: bool) -> None:
    """Who does not move, a line a reason, and where the whole of each stands."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in made.excluded.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        click.secho(f"not moved: {plain(first_of(names, NAMED))}: ", fg="red", nl=False)
        click.echo(plain(shortened(reason, REASON)))
    if any(len(reason) > REASON for reason in by_reason):
        where = "with --json" if dry_run else f"in {out}"
        click.echo(f"each reason in full, and what settles it: `excluded` {where}, and the pages of `kubeferry assess`")


def _what_fails(order: WavesPolicy) -> str:
    """What a machine that does not move holds back."""
    rule = order.stop_after
    several = f"{counted(rule.failures or 0, 'machine')} of it failed" if rule.failures else ""
    share = f"{FEWEST} or more failed, and {rule.share:.0%} of those that came to an end" if rule.share else ""
    stops = " or ".join(filter(None, (several, share)))
    others = "all later waves" if order.in_order else "those that come after it, and no others"
    return f"a machine that does not move holds back {others}" + (f"; a wave stops once {stops}" if stops else "")


@click.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)), required=False)
@json_option
def schema(kind: str | None, as_json: bool) -> None:
    """Print the JSON schema of a document."""
    content = json_schema(kind) if kind else {name: json_schema(name) for name in sorted(KINDS)}
    if as_json:
        print_json(content)
    else:
        click.echo(json.dumps(content, indent=1))
