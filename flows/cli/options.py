"""Options that several verbs have, and what they name: the plan, the configuration, the machines."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from kubeferry.config import find_config, read_config
from kubeferry.documents import Config, Outline, Plan, Policy, load, load_outline
from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.words import meant

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

LISTED = 30  # names in an error; a plan may have hundreds


def _names_in_plan(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The machines of the plan that stands on the line already."""
    plan = ctx.params.get("plan") or next(iter(ctx.args), None)  # click gives up on the line at an option's end
    with contextlib.suppress(KubeferryError):
        if plan:
            names = (entry.name for entry in load_outline(Path(plan)).entries)
            return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


config_option = click.option("--config", "-c", type=FILE, help="Configuration; KUBEFERRY_CONFIG or kubeferry.yaml.")
target_option = click.option(
    "--config", "-c", type=FILE, help="Ask this configuration's target for its storage classes; else nobody is asked."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
machine_option = click.option(
    "--machine",
    "-m",
    "machines",
    multiple=True,
    shell_complete=_names_in_plan,
    help="Only this machine; may be repeated.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
policy_option = click.option("--policy", type=FILE, help="Your choices; the defaults where there is none.")


def policy_of(path: Path | None) -> Policy:
    """The policy in this file; without one the defaults."""
    return load(path, Policy) if path else Policy()


def opened(plan: Path, config: Path | None) -> tuple[Plan, Config, Path]:
    """The plan, the configuration, and the configuration's path."""
    path = find_config(config)
    return load(plan, Plan), read_config(path), path


def outlined(plan: Path, config: Path | None) -> tuple[Outline, Config, Path]:
    """The same with the plan's outline, for what only asks where machines stand."""
    path = find_config(config)
    return load_outline(plan), read_config(path), path


def chosen(plan: Plan, machines: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the plan's machines that are named; all of them where none is. Raises InputInvalid."""
    known = [entry.name for entry in plan.entries]
    refuse_unknown("the plan has no such machine", machines, known, plan.excluded, "it is not in the plan")
    return machines or tuple(known)


def refuse_unknown(
    what: str, names: tuple[str, ...], known: list[str], excluded: dict[str, str] | None = None, why: str = ""
) -> None:
    """Raise InputInvalid where a `--machine` is none of those that are known, with those that may be meant."""
    there = frozenset(known)
    problems = []
    for name in names:
        if name not in there:
            fix = " ".join(filter(None, (meant(name, known), f"Name one of: {_listed(known)}.")))
            problems.append(Problem(f"--machine {name}", (excluded or {}).get(name, why), fix))
    if problems:
        raise InputInvalid(what, problems)


def _listed(known: list[str]) -> str:
    more = len(known) - LISTED
    return (", ".join(known[:LISTED]) or "none") + (f" and {more} more" if more > 0 else "")
