"""The log of a run: a file beside the configuration, or standard error for who asks with `--verbose`. Never secrets.

`.kubeferry/logs/TIME-VERB-PID.log` holds what was done with its time (UTC, ISO 8601), the programs that were started,
and the whole of an error. The newest ones are kept. What it holds was written by our own packages; a value of the
environment whose name says that it is a secret, and one in a URL, are struck out.

With `--log-format json`, or KUBEFERRY_LOG_FORMAT=json, each record is one line of JSON instead, with what it is about:
plan, wave, app and machine, as far as its thread is at work on one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from flows.cli.output import session
from flows.struck import without_secrets
from kubeferry import __version__
from kubeferry.config import find_config
from kubeferry.outside.subject import subject
from kubeferry.words import plain_lines

KEPT = 50
OURS = ("kubeferry", "flows", "converters")
logger = logging.getLogger(__name__)

_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[a-z]+-\d+\.log")

P = ParamSpec("P")
R = TypeVar("R")


class Kept(logging.FileHandler):
    """A log file that a run outlives: where its disk is full or gone, what is logged is lost (`lost` says why), and
    nothing else."""

    lost: OSError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError as error:  # it was closed meanwhile, and cannot be opened again
            self.lost = self.lost or error

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        error = sys.exception()
        if isinstance(error, OSError):
            self.lost = self.lost or error
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            self.lost = self.lost or error


class Lines(logging.Formatter):
    """`TIME LEVEL MODULE text`, without secrets, and without what commands a terminal that shows it."""

    def formatTime(self, record: logging.LogRecord, _datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(without_secrets(super().format(record)))


class JsonLines(Lines):
    """`{"at", "level", "logger", "message", …}`, with `plan`, `wave`, `app` and `machine` of what the thread is at work
    on, and `error`, the whole of one."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            **subject(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps({name: plain_lines(without_secrets(value)) for name, value in told.items()})


def logged(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb with a log of its own; its `--dry-run` has none, since it leaves nothing behind."""

    @functools.wraps(verb)
    def with_log(*args: P.args, **options: P.kwargs) -> R:
        context = click.get_current_context()
        if context.params.get("dry_run"):
            return verb(*args, **options)
        folder = find_config(context.params.get("config")).absolute().parent / ".kubeferry" / "logs"
        with _kept(folder, str(context.info_name)) as path:
            session().log = path
            return verb(*args, **options)

    return with_log


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Everything that is logged goes to standard error, too."""
    with _attached(logging.StreamHandler(sys.stderr)):
        yield


@contextlib.contextmanager
def _kept(folder: Path, verb: str) -> Iterator[Path | None]:
    """A log in the folder; none where it cannot be written, which is no reason to do nothing."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    path = folder / f"{moment}-{verb}-{os.getpid()}.log"
    try:
        if not folder.parent.parent.is_dir():
            raise FileNotFoundError(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _drop_old(folder)
        handler = Kept(path, encoding="utf-8")  # to append: Prefect's set-up closes it, and it goes on
    except OSError:
        yield None
        return
    try:
        with _attached(handler):
            yield from _framed(path, verb)
    finally:
        if handler.lost and not session().as_json:
            click.echo(f"the log {path} is not whole: {handler.lost.strerror or handler.lost}", err=True)


def _framed(path: Path, verb: str) -> Iterator[Path]:
    """The log says what begins and how it ended."""
    logger.info("kubeferry %s, %s, process %s", __version__, verb, os.getpid())
    try:
        yield path
    except BaseException as error:
        logger.log(logging.ERROR, "ended by %s", _told(error), exc_info=_defect(error))
        raise
    logger.info("ended")


def _told(error: BaseException) -> str:
    code = f" {error.exit_code}" if isinstance(error, click.exceptions.Exit) else ""
    return f"{type(error).__name__}{code}: {error}".removesuffix(": ")


def _defect(error: BaseException) -> BaseException | None:
    """An exit code is no error; of all others the log has the whole way."""
    return None if isinstance(error, click.exceptions.Exit | click.UsageError) else error


def _drop_old(folder: Path) -> None:
    """By when they were written last: that of a run that goes on for days is not the oldest."""
    ours = [path for path in folder.glob("*.log") if _NAME.fullmatch(path.name)]
    for old in sorted(ours, key=_written_at)[: -(KEPT - 1)]:
        old.unlink(missing_ok=True)


def _written_at(path: Path) -> tuple[float, str]:
    with contextlib.suppress(OSError):  # another run's end has dropped it meanwhile
        return path.stat().st_mtime, path.name
    return 0.0, path.name


@contextlib.contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    form = JsonLines if session().log_format == "json" else Lines
    handler.setFormatter(form("%(asctime)s %(levelname)s %(name)s %(message)s"))
    before = [(ours, ours.level, ours.propagate) for ours in map(logging.getLogger, OURS)]
    for ours, _, _ in before:
        ours.addHandler(handler)
        ours.setLevel(logging.DEBUG)
        ours.propagate = False  # Prefect's own set-up prints whatever gets to the root
    try:
        yield
    finally:
        for ours, level, propagates in before:
            ours.removeHandler(handler)
            ours.setLevel(level)
            ours.propagate = propagates
        handler.close()
