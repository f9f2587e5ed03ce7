"""`kubeferry doctor`: what would stop a migration, found before one is tried."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kubeferry.config import read_config
from kubeferry.documents import Config, SourceConfig
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal
from kubeferry.model import Concern, Severity
from kubeferry.process import PACKAGES
from kubeferry.sources import open_source
from kubeferry.target import open_target

NEEDED = ("qemu-img", "qemu-nbd", "setpriv")


def examine(path: Path) -> list[Concern]:
    """Every problem at once: configuration, tools, journal, sources, target. Makes an absent journal, nothing else."""
    try:
        config = read_config(path)
    except KubeferryError as error:
        return [_concern("config", error)]
    return [*_tools(), *_parts(config)]


def _tools() -> Iterator[Concern]:
    for program in NEEDED:
        if shutil.which(program) is None:
            fix = f"apt-get install {PACKAGES[program]}"
            yield Concern(id="tool.missing", severity=Severity.CRITICAL, what=f"{program} is not installed", fix=fix)


def _parts(config: Config) -> Iterator[Concern]:
    """Each part is opened and asked something, as a run would ask it."""
    checks: dict[str, Callable[[], list[Concern]]] = {"journal": lambda: _ask_journal(config)}
    checks |= {f"source.{name}": partial(_ask_source, name, settings) for name, settings in config.sources.items()}
    checks["target"] = lambda: _ask_target(config)
    for name, check in checks.items():
        try:
            yield from check()
        except KubeferryError as error:
            yield _concern(name, error)


def _ask_journal(config: Config) -> list[Concern]:
    with contextlib.closing(Journal.open(config.journal)) as journal:
        journal.plans()
    return []


def _ask_source(name: str, settings: SourceConfig) -> list[Concern]:
    with contextlib.closing(open_source(name, settings)) as source:
        return list(source.discover().unreadable)


def _ask_target(config: Config) -> list[Concern]:
    with contextlib.closing(open_target(config.target)) as target:
        return target.concerns(())


def _concern(part: str, error: KubeferryError) -> Concern:
    what = f"{part}: {error.what}" + (f": {error.why}" if error.why else "")
    return Concern(id=f"{part}.unusable", severity=Severity.CRITICAL, what=what, fix=error.fix)
