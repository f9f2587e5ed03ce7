"""Options that several verbs have, and what they name: the plan, the configuration, the machines."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.words import first_of, meant

if TYPE_CHECKING:  # single disks have options, too, and no documents
    from kubeferry.documents import Config, Outline, Plan, Policy
    from kubeferry.life.decisions import Scope

P = ParamSpec("P")
R = TypeVar("R")

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

MIB = 1 << 20
SLOWEST, FASTEST = 0.001, 2.0**20  # MiB a second

LISTED = 30  # names in an error; a plan may have hundreds


def _completed(ctx: click.Context, incomplete: str, named: Callable[[Outline], Iterable[str]]) -> list[CompletionItem]:
    """Names in the plan that stands on the line already."""
    from kubeferry.documents import load_outline

    plan = ctx.params.get("plan") or next(iter(ctx.args), None)  # click gives up on the line at an option's end
    with contextlib.suppress(KubeferryError):
        if plan:
            return [CompletionItem(name) for name in named(load_outline(Path(plan))) if name.startswith(incomplete)]
    return []


def _names_in_plan(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _completed(ctx, incomplete, lambda plan: [entry.name for entry in plan.entries])


def _apps_in_plan(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _completed(ctx, incomplete, lambda plan: [app.name for app in plan.apps or ()])


def _waves_in_plan(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _completed(ctx, incomplete, lambda plan: [wave.name for wave in plan.waves])


class Rate(click.FloatRange):
    """MiB per second on the command line, whole bytes per second for us; nothing that cannot be kept."""

    def __init__(self) -> None:
        super().__init__(SLOWEST, FASTEST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises BadParameter."""
        rate = super().convert(value, param, ctx)
        if math.isnan(rate):  # which no comparison keeps out
            self.fail(f"{value!r} is no number of MiB per second.", param, ctx)
        return int(rate * MIB)


plan_argument = click.argument("plan", type=FILE, required=False)
plan_option = click.option(
    "--plan", "named", metavar="NAME", help="Take the plan from the journal: its name or digest."
)
config_option = click.option("--config", "-c", type=FILE, help="Configuration; KUBEFERRY_CONFIG or kubeferry.yaml.")
target_option = click.option(
    "--config",
    "-c",
    type=FILE,
    help="Ask this configuration's target what it has: storage, version, room for UEFI variables; else none is asked.",
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


@dataclass(frozen=True, slots=True)
class Named:
    """What of a plan is named on the command line: machines, and those of apps and waves. False where nothing is."""

    machines: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    waves: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.machines or self.apps or self.waves)


def members_option(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb on some of a plan's machines: it gets what is named as one, `machines`."""

    @functools.wraps(verb)
    def gathered(*args: P.args, **options: P.kwargs) -> R:
        parts = (tuple(cast("tuple[str, ...]", options.pop(part))) for part in ("machines", "apps", "waves"))
        options["machines"] = Named(*parts)
        return verb(*args, **options)

    return machine_option(app_option(wave_option(gathered)))


app_option = click.option(
    "--app",
    "apps",
    multiple=True,
    shell_complete=_apps_in_plan,
    help="Only the machines of this app; may be repeated.",
)
wave_option = click.option(
    "--wave",
    "waves",
    multiple=True,
    shell_complete=_waves_in_plan,
    help="Only the machines of this wave; may be repeated.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
policy_option = click.option("--policy", type=FILE, help="Your choices; the defaults where there is none.")


def policy_of(path: Path | None) -> Policy:
    """The policy in this file; without one the defaults."""
    from kubeferry.documents import Policy, load

    return load(path, Policy) if path else Policy()


def plan_named(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb on one plan, which is given as a file or by `--plan`; refused before anything is done where it is not."""

    @functools.wraps(verb)
    def checked(*args: P.args, **options: P.kwargs) -> R:
        if not options.get("plan") and not options.get("named"):
            raise click.UsageError(
                "Missing argument 'PLAN': the file of a plan, or --plan with the name of one that the journal holds "
                "(`kubeferry status` lists them)."
            )
        return verb(*args, **options)

    return plan_argument(plan_option(checked))


def opened(plan: Path | None, named: str | None, config: Path | None) -> tuple[Plan, Config, Path]:
    """The plan, from its file or from the journal, the configuration, and the configuration's path."""
    from kubeferry.documents import Plan, load, plan_in

    return _opened(plan, named, config, lambda path: load(path, Plan), plan_in)


def outlined(plan: Path | None, named: str | None, config: Path | None) -> tuple[Outline, Config, Path]:
    """The same with the plan's outline, for what only asks where machines stand."""
    from kubeferry.documents import load_outline, outline_in

    return _opened(plan, named, config, load_outline, outline_in)


def _opened(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    in_file: Callable[[Path], R],
    in_document: Callable[[str, str], R],
) -> tuple[R, Config, Path]:
    from kubeferry.config import find_config, read_config

    if plan and named:
        raise click.UsageError("Name one plan: its file, or with --plan one that the journal holds.")
    path = find_config(config)
    if plan:
        return in_file(plan), read_config(path), path
    settings = read_config(path)
    return in_document(*_registered(named or "", settings)), settings, path


def _registered(named: str, settings: Config) -> tuple[str, str]:
    """The document of a plan as it was registered, and what it is called in errors. Raises InputInvalid where there is
    none, or several, by this name."""
    from kubeferry.journal import Journal, meant_by

    with contextlib.closing(Journal.open(settings.journal)) as journal:
        found = journal.plan(meant_by(named, journal.plans()).digest)
    return found.document, f"plan {found.name} ({found.digest[:12]}) in the journal"


def chosen(plan: Plan | Outline, named: Named | tuple[str, ...]) -> tuple[str, ...]:
    """Those of the plan's machines that are named, by themselves, by their app or by their wave, in the order in which
    they are named; all of them where nothing is. Raises InputInvalid, with everything that is unknown."""
    named = named if isinstance(named, Named) else Named(named)
    known = [entry.name for entry in plan.entries]
    apps = {app.name: app.members for app in plan.apps or ()}
    waves = {wave.name: wave.machines for wave in plan.waves}
    problems = [
        *_unknown("--machine", named.machines, known, plan.excluded, "it is not in the plan"),
        *_unknown("--app", named.apps, list(apps), {}, "the plan has no such app"),
        *_unknown("--wave", named.waves, list(waves), {}, "the plan has no such wave"),
    ]
    if problems:
        only = "machine" if len({one.where.split()[0] for one in problems}) == 1 and named.machines else "part"
        raise InputInvalid(f"the plan has no such {only}", problems)
    if not named:
        return tuple(known)
    groups = [*(apps[name] for name in named.apps), *(waves[name] for name in named.waves)]
    return tuple(dict.fromkeys([*named.machines, *(name for group in groups for name in group)]))


def whole_sets(plan: Plan, machines: tuple[str, ...]) -> tuple[str, ...]:
    """The machines, where each set of them that shares disks is named whole. Raises InputInvalid: what is done to one
    of a set is done to all of it, and whoever asks for that says so."""
    problems = []
    for name in machines:
        missing = [other for other in plan.set_of(name) if other not in machines]
        if missing:
            tied = plan.entry(name).tied_to(", ".join(missing))
            what = f"it {tied}: they move, and go back, together or not at all"
            named = " ".join(f"--machine {one}" for one in missing)
            problems.append(Problem(f"--machine {name}", what, f"Name them, too ({named}), or no machine of the set."))
    if problems:
        raise InputInvalid("a part of a set of machines is named", problems)
    return machines


def refuse_unknown(
    what: str, names: tuple[str, ...], known: list[str], excluded: dict[str, str] | None = None, why: str = ""
) -> None:
    """Raise InputInvalid where a `--machine` is none of those that are known, with those that may be meant."""
    if problems := list(_unknown("--machine", names, known, excluded or {}, why)):
        raise InputInvalid(what, problems)


def _unknown(
    option: str, names: tuple[str, ...], known: list[str], excluded: Mapping[str, str], why: str
) -> Iterator[Problem]:
    there = frozenset(known)
    for name in names:
        if name not in there:
            fix = " ".join(filter(None, (meant(name, known), f"Name one of: {first_of(known, LISTED) or 'none'}.")))
            yield Problem(f"{option} {name}", excluded.get(name, why), fix)


def scope_of(plan: Plan, wave: str | None, app: str | None, machines: tuple[str, ...]) -> Scope:
    """The machines that are meant by a wave, an app and names: those that fit all that is said, sets whole. Raises
    UsageError where nothing is said, InputInvalid for what is not there."""
    from kubeferry.life.decisions import Scope

    if not (wave or app or machines):
        raise click.UsageError("Name what is meant: --wave, --app or --machine.")
    members = members_of(plan, wave or "", app or "")
    refuse_unknown("these machines are not meant", machines, list(members), plan.excluded, "it is not among them")
    meant_by_name = tuple(name for name in members if not machines or name in machines)
    return Scope(wave=wave or "", app=app or "", machines=whole_sets(plan, meant_by_name))


def members_of(plan: Plan, wave: str = "", app: str = "") -> tuple[str, ...]:
    """The machines of a wave, of an app, or of both where both are said; of neither, all. Raises InputInvalid where
    there is none."""
    waves = [one.name for one in plan.waves]
    apps = sorted({entry.app for entry in plan.entries if entry.app})
    for noun, word, known in (("wave", wave, waves), ("app", app, apps)):
        if word and word not in known:
            fix = " ".join(filter(None, (meant(word, known), f"Name one of: {first_of(known, LISTED) or 'none'}.")))
            raise InputInvalid(f"the plan has no such {noun}", [Problem(f"--{noun} {word}", "it is not there", fix)])
    named = [name for one in plan.waves for name in one.machines if not wave or one.name == wave]
    found = tuple(name for name in named if not app or plan.entry(name).app == app)
    if not found:
        fix = "`kubeferry status` lists the machines; name those that are meant with --machine."
        problem = Problem(f"--wave {wave} --app {app}", "no machine is of both", fix)
        raise InputInvalid("no machine is meant", [problem])
    return found
