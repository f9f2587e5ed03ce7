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

from kubeferry.config import read_config
from kubeferry.documents import Config, Plan, SourceConfig, VmwareAccess, load
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.journal import Journal
from kubeferry.model import Concern, Severity
from kubeferry.outside.process import PACKAGES
from kubeferry.sources import open_source
from kubeferry.targets import open_target

DEBUG = "KUBEFERRY_DEBUG"
NEEDED = ("qemu-img", "qemu-nbd", "setpriv")


def examine(path: Path, plan_path: Path | None = None) -> list[Concern]:
    """Every problem at once: tools, configuration, journal, sources, target; with a plan, all that the target has
    against it. A part that breaks, in whatever way, is a concern, and the others are looked at all the same. Makes an
    absent journal, nothing else. Raises Interrupted where somebody asks to stop."""
    found = list(_tools())
    plan = config = None
    with _told("plan", found):
        plan = load(plan_path, Plan) if plan_path else None
    with _told("config", found):
        config = read_config(path)
    for part, ask in _parts(config, plan).items() if config else ():
        with _told(part, found):
            found += ask()
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


def _parts(config: Config, plan: Plan | None) -> dict[str, Callable[[], Iterable[Concern]]]:
    """Each part is opened and asked something, as a run would ask it."""
    parts: dict[str, Callable[[], Iterable[Concern]]] = {"journal": lambda: _ask_journal(config)}
    parts |= {f"source.{name}": partial(_ask_source, name, settings) for name, settings in config.sources.items()}
    parts["target"] = lambda: _ask_target(config, plan)
    if plan:
        parts["ways"] = lambda: ways(config, plan)
    return parts


def _ask_journal(config: Config) -> list[Concern]:
    with contextlib.closing(Journal.open(config.journal)) as journal:
        journal.plans()
    return []


def _ask_source(name: str, settings: SourceConfig) -> list[Concern]:
    with contextlib.closing(open_source(name, settings)) as source:
        inventory = source.discover()
    if inventory.machines or inventory.unreadable:
        return list(inventory.unreadable)
    what = f"source {name} answers, and has no machines"
    fix = f"Look at its address, filters and rights under `sources.{name}`: they may hide what you expect."
    return [Concern(id=f"source.{name}.empty", severity=Severity.WARNING, what=what, fix=fix)]


def _ask_target(config: Config, plan: Plan | None) -> list[Concern]:
    with contextlib.closing(open_target(config.target)) as target:
        return target.concerns(plan.entries if plan else ())


def ways(config: Config, plan: Plan) -> Iterator[Concern]:
    """Whether movers in a cluster have a way to the plan's source."""
    if plan.source not in config.sources:
        known = ", ".join(sorted(config.sources))
        what = f"the plan's source {plan.source} is not in the configuration, which has {known}"
        yield Concern(id="source.unknown", severity=Severity.CRITICAL, what=what, fix="Add it under `sources`.")
        return
    if config.target.kind != "kubevirt" or config.target.transfer == "upload":
        return
    source = config.sources[plan.source]
    by_ssh = (source.ssh.secret, "the hypervisor's key", "FailedMount") if source.ssh else None
    needs = {
        "aws": (source.aws.secret, "the keys of an AWS account", "CreateContainerConfigError"),
        "vmware": _of_vmware(source.vmware),
        "ova": None,  # files of this host
    }.get(source.kind, by_ssh)
    if needs is None:
        what = f"movers in the cluster have no way to source {plan.source}"
        fix = "Give a libvirt source `ssh`, or send small disks from here: target.transfer: upload."
        yield Concern(id="source.no-way", severity=Severity.CRITICAL, what=what, fix=fix)
        return
    yield from _unseen(plan, *needs)


def _of_vmware(access: VmwareAccess) -> tuple[str, str, str]:
    """The Secret for the disks: of the user's own reader where there is one, else of vCenter."""
    if access.reader and access.reader_secret:
        return access.reader_secret, "what the reader asks for", "FailedMount"
    return access.secret, "a login at vCenter", "CreateContainerConfigError"


def _unseen(plan: Plan, secret: str, content: str, said: str) -> Iterator[Concern]:
    """The Secret that movers need, in each namespace."""
    for namespace in dict.fromkeys(entry.namespace for entry in plan.entries):
        what = f"whether Secret {namespace}/{secret} holds {content} is not looked at"
        fix = f"The account may not read Secrets. Without it the first mover says {said}, and why."
        yield Concern(id="mover.secret-not-checked", severity=Severity.INFO, what=what, fix=fix)


def _trouble(part: str, error: Exception) -> Concern:
    """What keeps a part from being asked. Where a fault that has no words of ours happened is printed on request."""
    if isinstance(error, KubeferryError):
        what = f"{part}: {error.what}" + (f": {error.why}" if error.why else "")
        return Concern(id=f"{part}.unusable", severity=Severity.CRITICAL, what=what, fix=error.fix)
    if os.environ.get(DEBUG):
        traceback.print_exception(error, file=sys.stderr)
    what = f"{part}: {type(error).__name__}: {error}".splitlines()[0]
    fix = f"This is unexpected. Where it happened says `{DEBUG}=1 kubeferry doctor`: report it with that."
    return Concern(id=f"{part}.broken", severity=Severity.CRITICAL, what=what, fix=fix)
