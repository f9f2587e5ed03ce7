"""The verbs that look: doctor, discover. Nothing here changes a source or a target."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import click

from flows.cli.logs import logged
from flows.cli.options import FILE, FOLDER, config_option, json_option, machine_option, refuse_unknown
from flows.cli.output import print_event, print_json, print_table
from flows.serving import given_answers
from kubeferry import marks
from kubeferry.config import find_config, pick_source, read_config
from kubeferry.documents import Inventory, save
from kubeferry.model import Concern, Machine, Severity
from kubeferry.sources.facts.readings import UNREADABLE
from kubeferry.words import counted, plain, size

COLOURS = {Severity.CRITICAL: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


@click.command()
@click.argument("plan", type=FILE, required=False)
@config_option
@click.option("--versions", "with_versions", is_flag=True, help="Say first what is asked: kubeferry, plan and journal.")
@json_option
def doctor(plan: Path | None, config: Path | None, with_versions: bool, as_json: bool) -> None:
    """Check tools, configuration, source, journal and target.

    With a PLAN, also all that `migrate` asks before its first stop: what source and target have against each machine,
    whether the source can be started again, and what a mover on trial meets. That one writes to no disk and leaves
    nothing.
    """
    from flows.doctor import examine
    from flows.progress import Questions
    from flows.versions import in_words, told
    from kubeferry.steps.questions import nobody

    questions = nobody if as_json else Questions()
    findings = examine(find_config(config), plan, questions)
    versions = told(find_config(config), plan) if with_versions else {}
    if as_json:
        listed = [finding.model_dump(mode="json", by_alias=True) for finding in findings]
        print_json({"findings": listed} | versions if with_versions else listed)
    else:
        for line in in_words(versions):
            click.echo(plain(line))
        _print_by_subject(findings)
        if all(finding.severity is Severity.INFO for finding in findings):
            click.secho("all is well", fg="green")
    if any(finding.severity is Severity.CRITICAL for finding in findings):
        raise click.exceptions.Exit(2)


def _print_by_subject(concerns: Iterable[Concern]) -> None:
    """Concerns below the subject that their id begins with; the subject with the worst one first."""
    order = list(Severity)
    subjects: dict[str, list[Concern]] = {}
    for concern in sorted(concerns, key=lambda one: order.index(one.severity)):
        subjects.setdefault(concern.id.partition(".")[0], []).append(concern)
    for subject, found in subjects.items():
        click.secho(plain(subject), bold=True)
        for concern in found:
            click.secho(f"  {concern.severity}: ", fg=COLOURS[concern.severity], nl=False)
            click.echo(plain(f"{concern.what} [{concern.id}]"))
            if concern.fix:
                click.echo(plain(f"    {concern.fix}"))


@click.command()
@config_option
@click.option(
    "--source", help="Which source or estate of the configuration; not needed where there is one, or an estate of all."
)
@click.option(
    "--from",
    "exported",
    type=FOLDER,
    help="Read a folder of exported files (virsh dumpxml, OVF, VMX, Proxmox, aws ec2, RVTools) instead.",
)
@machine_option
@click.option("--out", type=FILE, default=Path("inventory.yaml"), show_default=True, help="The inventory to write.")
@json_option
@logged
def discover(
    config: Path | None,
    source: str | None,
    exported: Path | None,
    machines: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Ask a source about its machines and write an inventory.

    With --from, the folder and all below it is read as far as it can be; where a file of machines is left out, the
    inventory is written without it, and the exit code is 2.
    """
    if as_json:
        print_event("asking", source=str(exported) if exported else source or "")
    inventory, missing = _asked(config, source, exported)
    if as_json:
        print_event("answered", source=inventory.source, machines=len(inventory.machines))
    if machines:
        inventory, missing = _only(inventory, machines), 0
    save(inventory, out)
    if as_json:
        print_json(inventory.model_dump(mode="json", by_alias=True))
    else:
        _print_machines(inventory.machines)
        for concern in inventory.unreadable:
            click.secho(f"{concern.severity}: ", fg=COLOURS[concern.severity], nl=False)
            click.echo(plain(f"{concern.what} [{concern.id}] {concern.fix}".rstrip()))
        left_out = f", {counted(missing, 'machine or file', 'machines or files')} left out" if missing else ""
        click.echo(f"{counted(len(inventory.machines), 'machine')} written to {out}{left_out}")
        if not inventory.machines and not missing:  # else that is why
            click.secho(_NONE_IN_FILES if exported else _NONE_FOUND, fg="yellow", err=True)
    if exported and missing:  # who gave the files can mend them
        raise click.exceptions.Exit(2)


_NONE_FOUND = (
    "No machine was found: look whether the source's `uri` in the configuration leads where they are, and whether its "
    "account may see them."
)
_NONE_IN_FILES = (
    "No machine was found: the files were read, and hold none that can be moved. Look whether they are those of the "
    "right host, account and region, and whether the login they were made with may see the machines."
)


def _asked(config: Path | None, source: str | None, exported: Path | None) -> tuple[Inventory, int]:
    """What the source says, and how many machines or files it leaves out."""
    if exported:
        from kubeferry.sources.exported import read_and_count

        return read_and_count(exported, source or "exported")
    inventory = _asked_source(find_config(config), source)
    return inventory, sum(one.id == UNREADABLE for one in inventory.unreadable)


def _asked_source(config: Path, source: str | None) -> Inventory:
    """What the source says; as a flow where there is a Prefect server of the user's, and it answers."""
    if given_answers():
        from flows.programme.asking import discover as flow
        from flows.serving.reached import reached

        with reached():
            return flow(pick_source(read_config(config), source), str(config.resolve()))
    from kubeferry.steps.discover import discover as ask

    return ask(read_config(config), source)


def _only(inventory: Inventory, names: tuple[str, ...]) -> Inventory:
    """The inventory with these machines alone."""
    known = sorted(machine.name for machine in inventory.machines)
    refuse_unknown("machines are named that are not there", names, known, why="the source has no such machine")
    kept = tuple(machine for machine in inventory.machines if machine.name in names)
    return inventory.model_copy(update={"machines": kept, "unreadable": ()})


def _power(machine: Machine) -> str:
    """With a word where it is off because a move has stopped it, which is not done."""
    return f"{machine.power}, by a move" if marks.of(machine) else str(machine.power)


def _print_machines(machines: tuple[Machine, ...]) -> None:
    agents = {True: "answers", False: "silent", None: "unknown"}
    several = len({machine.source for machine in machines}) > 1
    rows = [
        (
            machine.name,
            *((machine.source,) if several else ()),
            _power(machine),
            machine.firmware.kind,
            str(machine.cpu.vcpus),
            size(machine.memory.size_bytes or None),
            _disks([disk.capacity_bytes for disk in machine.data_disks]),
            str(len(machine.nics)),
            agents[machine.guest.agent_answers],
        )
        for machine in machines
    ]
    where = ("source",) if several else ()
    print_table(("machine", *where, "power", "firmware", "vCPU", "memory", "disks", "NICs", "agent"), rows)
    disks = [disk.capacity_bytes for machine in machines for disk in machine.data_disks]
    with_bytes = f" with {size(sum(filter(None, disks)))}" if any(disks) or None not in disks else ""
    of_unknown = f", {disks.count(None)} of them of unknown size" if None in disks else ""
    memory = _memory([machine.memory.size_bytes for machine in machines])
    click.echo(
        f"total: {counted(sum(machine.cpu.vcpus for machine in machines), 'vCPU')}, {memory}, "
        f"{counted(len(disks), 'disk')}{with_bytes}{of_unknown}, "
        f"{counted(sum(len(machine.nics) for machine in machines), 'NIC')}"
    )


def _disks(sizes: list[int | None]) -> str:
    """The sizes in their order; those of one size that follow each other are counted."""
    runs = [(one, len(list(alike))) for one, alike in groupby(sizes)]
    told = (
        size(one) if number == 1 else f"{number} of unknown size" if one is None else f"{number} x {size(one)}"
        for one, number in runs
    )
    return ", ".join(told) or "none"


def _memory(sizes: list[int]) -> str:
    """What they come to; 0 is what nobody told."""
    unknown = sizes.count(0)
    if unknown and not any(sizes):
        return "unknown memory"
    return f"{size(sum(sizes))} of memory" + (f" (that of {counted(unknown, 'machine')} is unknown)" if unknown else "")
