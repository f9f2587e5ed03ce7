"""`kubeferry doctor`: what would stop a migration, found before one is tried."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from flows.telling import in_words
from kubeferry.config import read_config
from kubeferry.documents import Config, Plan, SourceConfig, load
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.journal import Journal
from kubeferry.life.machine_state import MachineState
from kubeferry.model import Concern, Severity
from kubeferry.notices import problems
from kubeferry.outside.process import PACKAGES
from kubeferry.sources import open_source
from kubeferry.steps.beforehand import SECRET_NOT_CHECKED, Asked, ask, left_out, untouched, ways
from kubeferry.steps.questions import Told, nobody
from kubeferry.targets import open_target

DEBUG = "KUBEFERRY_DEBUG"
NEEDED = ("qemu-img", "qemu-nbd", "setpriv")


def examine(path: Path, plan_path: Path | None = None, told: Told = nobody) -> list[Concern]:
    """Every problem at once: tools, configuration, journal, sources, target; with a plan, all that `migrate` would ask
    of source and target before its first stop. A part that breaks, in whatever way, is a concern, and the others are
    looked at all the same. Makes an absent journal, and what a trial needs for as long as it lasts. Raises Interrupted
    where somebody asks to stop. `told` hears about how many of the plan's machines the source was asked."""
    found = list(_tools())
    plan = config = None
    with _told("plan", found):
        plan = load(plan_path, Plan) if plan_path else None
    with _told("config", found):
        config = read_config(path)
    for part, asking in _parts(config, plan, told).items() if config else ():
        with _told(part, found):
            found += asking()
    return found


@contextlib.contextmanager
def _told(part: str, found: list[Concern]) -> Iterator[None]:
    """What a part raises is told as its concern. Nobody knows what a library raises."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 (as the docstring says)
        found.append(_trouble(part, error))


def _tools() -> Iterator[Concern]:
    for program in NEEDED:
        if shutil.which(program) is None:
            fix = f"apt-get install {PACKAGES[program]}"
            yield Concern(id="tool.missing", severity=Severity.CRITICAL, what=f"{program} is not installed", fix=fix)


def _parts(config: Config, plan: Plan | None, told: Told) -> dict[str, Callable[[], Iterable[Concern]]]:
    """Each part is opened and asked something, as a run would ask it."""
    parts: dict[str, Callable[[], Iterable[Concern]]] = {"journal": lambda: _ask_journal(config)}
    if config.notify:
        parts["notify"] = lambda: _ask_outbox(config)
    parts |= {f"source.{name}": partial(_ask_source, name, settings) for name, settings in config.sources.items()}
    if plan is None:
        return parts | {"target": lambda: _ask_target(config)}
    asked = Asked()

    def everything() -> tuple[Concern, ...]:
        nonlocal asked
        asked = _ask_everything(config, plan, told)
        return asked.concerns

    parts["target"] = everything
    parts["ways"] = lambda: _unsaid(asked, ways(config, plan))
    return parts


def _ask_everything(config: Config, plan: Plan, told: Told) -> Asked:
    """As `migrate` does. A plan of no machine is no plan that could go well."""
    if not plan.entries:
        what, fix = f"plan {plan.name} moves no machine{left_out(plan)}", "Look at why: `kubeferry assess`."
        return Asked((Concern(id="plan.empty", severity=Severity.CRITICAL, what=what, fix=fix),))
    if not config.members(plan.source):  # told by the ways; the target may be asked all the same
        return Asked(tuple(_ask_target(config, plan)))
    machines = untouched(tuple(entry.name for entry in plan.entries), _states(config, plan))
    return ask(config, plan, machines, told=told)


def _states(config: Config, plan: Plan) -> dict[str, MachineState]:
    """Where the machines stand; nothing of a journal that does not answer, which is told by itself."""
    with contextlib.suppress(Exception), contextlib.closing(Journal.open(config.journal)) as journal:
        return dict(journal.states(plan.digest))
    return {}


def _unsaid(asked: Asked, concerns: Iterable[Concern]) -> Iterator[Concern]:
    """What was not told yet, nor shown otherwise by a mover that was let in."""
    for one in concerns:
        if one not in asked.concerns and not (asked.tried and one.id == SECRET_NOT_CHECKED):
            yield one


def _ask_journal(config: Config) -> list[Concern]:
    with contextlib.closing(Journal.open(config.journal)) as journal:
        journal.plans()
    return []


def _ask_outbox(config: Config) -> list[Concern]:
    """What keeps receivers from being told, and what was not told yet."""
    wrong = [
        Concern(id="notify.not-set", severity=Severity.CRITICAL, what=f"{one.where}: {one.what}", fix=one.fix)
        for one in problems(config)
    ]
    with contextlib.closing(Journal.open(config.journal)) as journal:
        told = in_words(journal.outbox.queues())
    fix = "`kubeferry notify --test` says what the receiver answers."
    return wrong + [Concern(id="notify.waiting", severity=Severity.WARNING, what=line, fix=fix) for line in told]


def _ask_source(name: str, settings: SourceConfig) -> list[Concern]:
    with contextlib.closing(open_source(name, settings)) as source:
        inventory = source.discover()
    if inventory.machines or inventory.unreadable:
        return list(inventory.unreadable)
    what = f"source {name} answers, and has no machines"
    fix = f"Look at its address, filters and rights under `sources.{name}`: they may hide what you expect."
    return [Concern(id=f"source.{name}.empty", severity=Severity.WARNING, what=what, fix=fix)]


def _ask_target(config: Config, plan: Plan | None = None) -> list[Concern]:
    with contextlib.closing(open_target(config.target)) as target:
        return target.concerns(plan.entries if plan else ())


def _trouble(part: str, error: Exception) -> Concern:
    """What keeps a part from being asked. Where a fault that has no words of ours happened is printed on request."""
    if isinstance(error, KubeferryError):
        named = f"{part}: " if "." in part else ""  # one of several sources; any other is named by the id alone
        return Concern(id=f"{part}.unusable", severity=Severity.CRITICAL, what=f"{named}{error.reason}", fix=error.fix)
    if os.environ.get(DEBUG):
        traceback.print_exception(error, file=sys.stderr)
    what = f"{part}: {type(error).__name__}: {error}".splitlines()[0]
    fix = f"This is unexpected. Where it happened says `{DEBUG}=1 kubeferry doctor`: report it with that."
    return Concern(id=f"{part}.broken", severity=Severity.CRITICAL, what=what, fix=fix)
