"""The verbs that look and plan: doctor, discover, assess, plan, schema. Nothing here changes a source or a target."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kubeferry.config import find_config, pick_source, read_config
from kubeferry.documents import KINDS, Inventory, Plan, Policy, dump, json_schema, load, save
from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine, Severity
from kubeferry.outside.clock import now

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

config_option = click.option("--config", "-c", type=FILE, help="Configuration; KUBEFERRY_CONFIG or kubeferry.yaml.")
target_option = click.option(
    "--config", "-c", type=FILE, help="Ask this configuration's target for its storage classes; else nobody is asked."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

COLOURS = {Severity.CRITICAL: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


@click.command()
@config_option
@click.option("--source", help="Which source of the configuration; not needed when there is one.")
@click.option(
    "--from", "exported", type=FOLDER, help="Read a folder of exported files (virsh dumpxml, OVF, aws ec2) instead."
)
@click.option("--machine", "-m", "machines", multiple=True, help="Only this machine; may be repeated.")
@click.option("--out", type=FILE, default=Path("inventory.yaml"), show_default=True, help="The inventory to write.")
@json_option
def discover(
    config: Path | None,
    source: str | None,
    exported: Path | None,
    machines: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Ask a source about its machines and write an inventory."""
    if exported:
        from kubeferry.sources.exported import read_exported

        inventory = read_exported(exported, source or "exported")
    elif os.environ.get("PREFECT_API_URL"):
        from flows.discover import discover_flow

        path = find_config(config)
        inventory = discover_flow(str(path), pick_source(read_config(path), source)[0])
    else:
        from kubeferry.steps.discover import discover as ask

        inventory = ask(read_config(find_config(config)), source)
    inventory = _only(inventory, machines)
    save(inventory, out)
    if as_json:
        click.echo(inventory.model_dump_json(by_alias=True))
        return
    Console().print(_machines_table(inventory.machines))
    _print_concerns(inventory.unreadable)
    click.echo(f"{len(inventory.machines)} machines written to {out}")


def _only(inventory: Inventory, names: tuple[str, ...]) -> Inventory:
    """The inventory with these machines alone; with all of them where none is named."""
    if not names:
        return inventory
    known = {machine.name for machine in inventory.machines}
    fix = f"The source has: {', '.join(sorted(known)) or 'none'}."
    problems = [
        Problem(f"--machine {name}", "the source has no such machine", fix) for name in names if name not in known
    ]
    if problems:
        raise InputInvalid("machines are named that are not there", problems)
    kept = tuple(machine for machine in inventory.machines if machine.name in names)
    return inventory.model_copy(update={"machines": kept, "unreadable": ()})


def _machines_table(machines: Iterable[Machine]) -> Table:
    table = Table(
        "machine", "power", "firmware", "vCPU", "memory", "disks", "NICs", "agent", box=None, header_style="bold"
    )
    for machine in machines:
        sizes = ", ".join(_size(disk.capacity_bytes) for disk in machine.data_disks)
        answers = {True: "answers", False: "silent", None: "unknown"}[machine.guest.agent_answers]
        table.add_row(
            machine.name,
            machine.power,
            machine.firmware.kind,
            str(machine.cpu.vcpus),
            _size(machine.memory.size_bytes),
            sizes or "none",
            str(len(machine.nics)),
            answers,
        )
    return table


def _size(number: int | None) -> str:
    if number is None:
        return "unknown"
    for unit, scale in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if number >= scale:
            return f"{number / scale:.4g} {unit}"
    return f"{number} B"


def _print_concerns(concerns: Iterable[Concern]) -> None:
    for concern in concerns:
        click.secho(f"{concern.severity}: ", fg=COLOURS[concern.severity], nl=False)
        click.echo(f"{concern.what} [{concern.id}] {concern.fix}")


def _print_by_subject(concerns: Iterable[Concern]) -> None:
    """Concerns below the subject that their id begins with; the subject with the worst one first."""
    order = list(Severity)
    subjects: dict[str, list[Concern]] = {}
    for concern in sorted(concerns, key=lambda one: order.index(one.severity)):
        subjects.setdefault(concern.id.partition(".")[0], []).append(concern)
    for subject, found in subjects.items():
        click.secho(subject, bold=True)
        for concern in found:
            click.secho(f"  {concern.severity}: ", fg=COLOURS[concern.severity], nl=False)
            click.echo(f"{concern.what} [{concern.id}]")
            if concern.fix:
                click.echo(f"    {concern.fix}")


def _policy(path: Path | None) -> Policy:
    return load(path, Policy) if path else Policy()


@click.command()
@click.argument("inventory", type=FILE)
@click.option("--policy", type=FILE, help="Your choices; the defaults where there is none.")
@target_option
@click.option("--out", type=FOLDER, default=Path("assessment"), show_default=True, help="The folder to write.")
@json_option
def assess(inventory: Path, policy: Path | None, config: Path | None, out: Path, as_json: bool) -> None:
    """Say what would happen to each machine; touches neither source nor target."""
    if os.environ.get("PREFECT_API_URL"):
        from flows.assess import assess_flow

        given = [str(path) if path else None for path in (policy, config)]
        assessments = assess_flow(str(inventory), given[0], str(out), given[1])
    else:
        from flows.assessing import offer_of, write_assessments

        assessments = write_assessments(load(inventory, Inventory), _policy(policy), out, offer=offer_of(config))
    if as_json:
        click.echo(json.dumps([item.model_dump(mode="json", by_alias=True) for item in assessments]))
        return
    table = Table("machine", "verdict", "carried", "changed", "lost", "concerns", box=None, header_style="bold")
    for item in assessments:
        fates = [str(sum(line.fate == fate for line in item.carried)) for fate in ("carried", "changed", "lost")]
        counts = [f"{sum(c.severity == s for c in item.concerns)} {s}" for s in Severity]
        table.add_row(item.name, item.verdict, *fates, ", ".join(text for text in counts if not text.startswith("0")))
    Console().print(table)
    click.echo(f"Pages for the owners: {out}/README.md")


@click.command()
@click.argument("inventory", type=FILE)
@click.option("--policy", type=FILE, help="Your choices; the defaults where there is none.")
@target_option
@click.option("--name", help="The plan's name; the inventory's source by default.")
@click.option("--out", type=FILE, default=Path("plan.yaml"), show_default=True, help="The plan to write.")
@click.option("--dry-run", is_flag=True, help="Print the plan, write nothing.")
@json_option
def plan(
    inventory: Path,
    policy: Path | None,
    config: Path | None,
    name: str | None,
    out: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decide everything, and freeze it for review."""
    from flows.assessing import offer_of
    from mappings.plan import make_plan

    facts, chosen = load(inventory, Inventory), _policy(policy)
    made = make_plan(facts, chosen, name=name or facts.source, created_at=now("seconds"), offer=offer_of(config))
    if dry_run:
        click.echo(dump(made))
        return
    save(made, out)
    if as_json:
        click.echo(made.model_dump_json(by_alias=True))
        return
    _print_plan(made)
    click.echo(f"Plan {made.name} ({made.digest[:12]}) written to {out}")


def _print_plan(made: Plan) -> None:
    table = Table("wave", "machine", "target", "disks", "bytes", "concerns", box=None, header_style="bold")
    for wave in made.waves:
        for machine in wave.machines:
            entry = made.entry(machine)
            total = sum(disk.size_bytes for disk in entry.disks)
            target = f"{entry.namespace}/{entry.target_name}"
            table.add_row(wave.name, machine, target, str(len(entry.disks)), _size(total), str(len(entry.concerns)))
    Console().print(table)
    for name, reason in made.excluded.items():
        click.secho(f"not moved: {name}: ", fg="red", nl=False)
        click.echo(reason)


@click.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)), required=False)
def schema(kind: str | None) -> None:
    """Print the JSON schema of a document."""
    content = json_schema(kind) if kind else {name: json_schema(name) for name in sorted(KINDS)}
    click.echo(json.dumps(content, indent=1))


@click.command()
@click.argument("plan", type=FILE, required=False)
@config_option
@json_option
def doctor(plan: Path | None, config: Path | None, as_json: bool) -> None:
    """Check tools, configuration, source, journal and target.

    With a PLAN, also everything that its target has against it: rights, room, quotas, nodes, names. Changes nothing.
    """
    from flows.doctor import examine

    findings = examine(find_config(config), load(plan, Plan) if plan else None)
    if as_json:
        click.echo(json.dumps([finding.model_dump(mode="json", by_alias=True) for finding in findings]))
    else:
        _print_by_subject(findings)
        if all(finding.severity is Severity.INFO for finding in findings):
            click.secho("all is well", fg="green")
    if any(finding.severity is Severity.CRITICAL for finding in findings):
        raise click.exceptions.Exit(2)
