"""The verbs for single disks: copy, verify, repair. They need no plan, no journal and no Prefect."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from converters.engine.disks import Outcome, copy_disk, disk_size, parse_ref, prepare_target, repair_disk, verify_disk
from converters.engine.sending import HEAD_BYTES, taken_for
from converters.engine.transfer import Options, Watch
from converters.uris import path_of
from flows.cli.options import FILE, json_option
from flows.cli.output import print_event, print_json
from flows.progress import Rates, describe, transfer_facts
from kubeferry.documents import MoverProgress
from kubeferry.errors import IntegrityFailed
from kubeferry.model import DiskRef
from kubeferry.words import counted

logger = logging.getLogger(__name__)
IMAGES = ("qcow2", "vmdk")

workers_option = click.option("--workers", type=click.IntRange(1, 32), default=2, show_default=True)
format_option = click.option(
    "--format", "format_", help="Format of the source: raw (the default), qcow2 or vmdk. Never probed."
)
fingerprint_option = click.option(
    "--fingerprint", type=FILE, help="The digests of all blocks; by default TARGET.kff, beside it."
)


@click.command()
@click.argument("source")
@click.argument("target")
@fingerprint_option
@format_option
@workers_option
@click.option("--bandwidth", type=click.FloatRange(min=0, min_open=True), help="At most so many MiB per second.")
@click.option("--algorithm", type=click.Choice(["blake3", "sha256"]), default="blake3", show_default=True)
@json_option
def copy(
    source: str,
    target: str,
    fingerprint: Path | None,
    format_: str | None,
    workers: int,
    bandwidth: float | None,
    algorithm: str,
    as_json: bool,
) -> None:
    """Copy one disk, with a digest of every block; goes on where it was stopped.

    SOURCE and TARGET are paths or URIs: file:///disk.img, block:///dev/sdb, nbd+unix:///export?socket=/run/x. A target
    that holds data is written only where it differs; one that is not ours and not empty is refused.
    """
    read, write = parse_ref(source, format=format_), parse_ref(target)
    prints = fingerprint or _beside(write, target)
    logger.info("copies %s to %s, their digests to %s", read.uri, write.uri, prints)
    if format_ is None and not as_json:
        _note_an_image(read, source)
    zero = prepare_target(write, disk_size(read), prints)
    options = Options(workers, int(bandwidth * 2**20) if bandwidth else None, algorithm)
    with _watching(as_json) as watch:
        done = copy_disk(read, write, prints, target_reads_zero=zero, options=options, watch=watch)
    sizes = (number / 2**20 for number in (done.tally.read, done.tally.written, done.tally.resumed))
    _tell(done, prints, as_json, "read {:.0f} MiB, wrote {:.0f} MiB, had {:.0f} MiB already".format(*sizes))


@click.command()
@click.argument("target")
@fingerprint_option
@workers_option
@json_option
def verify(target: str, fingerprint: Path | None, workers: int, as_json: bool) -> None:
    """Read a disk past the page cache and compare it with its fingerprint."""
    ref = parse_ref(target)
    prints = fingerprint or _beside(ref, target)
    logger.info("compares %s with %s", ref.uri, prints)
    with _watching(as_json) as watch:
        done = verify_disk(ref, prints, options=Options(workers), watch=watch)
    _tell(done, prints, as_json, "every block is as the fingerprint says" if not done.differing else "")
    if done.differing:
        differ = counted(len(done.differing), "block differs", "blocks differ")
        raise IntegrityFailed(
            f"{differ}, the first at offset {done.differing[0]}",
            fix=f"`kubeferry repair SOURCE {target}` fetches only what differs.",
        )


@click.command()
@click.argument("source")
@click.argument("target")
@fingerprint_option
@format_option
@workers_option
@json_option
def repair(
    source: str, target: str, fingerprint: Path | None, format_: str | None, workers: int, as_json: bool
) -> None:
    """Fetch only the blocks that differ from the fingerprint."""
    read, write = parse_ref(source, format=format_), parse_ref(target)
    prints = fingerprint or _beside(write, target)
    logger.info("fetches from %s what differs in %s from %s", read.uri, write.uri, prints)
    with _watching(as_json) as watch:
        done = repair_disk(read, write, prints, options=Options(workers), watch=watch)
    again = f"{counted(len(done.differing), 'block was', 'blocks were')} fetched again and read back"
    _tell(done, prints, as_json, again)


def _note_an_image(ref: DiskRef, given: str) -> None:
    """Whoever forgets --format is told; a guest may have written such a beginning, so nothing is done about it."""
    if not ref.uri.startswith("file:"):
        return
    with contextlib.suppress(OSError), path_of(ref.uri).open("rb") as disk:
        name = taken_for(disk.read(HEAD_BYTES))
        if name in IMAGES:
            text = (
                f"note: {given} begins like {name} and is copied as it lies there; for the disk inside: --format {name}"
            )
            click.echo(text, err=True)


def _beside(ref: DiskRef, given: str) -> Path:
    if not ref.uri.startswith("file:"):
        raise click.UsageError(f"{given} is not a file: say where the digests go with --fingerprint")
    path = path_of(ref.uri)
    return path.with_name(f"{path.name}.kff")  # its ending stays: disk.sda and disk.sdb are two disks


def _tell(done: Outcome, fingerprint: Path, as_json: bool, text: str) -> None:
    if as_json:
        facts = {
            "root": done.root,
            "algorithm": done.algorithm,
            "sizeBytes": done.size,
            "readBytes": done.tally.read,
            "writtenBytes": done.tally.written,
            "resumedBytes": done.tally.resumed,
            "differing": list(done.differing),
            "fingerprint": str(fingerprint),
        }
        print_json(facts)
        return
    if text:
        click.secho(text, fg="green")
    click.echo(f"{done.algorithm} root {done.root}\nfingerprint {fingerprint}")


class _Paced(Watch):
    """Progress with its rate, told every so often."""

    every_seconds = 0.5

    def __init__(self) -> None:
        self._last = (time.monotonic(), 0)

    def progress(self, phase: str, done: int, total: int | None) -> None:
        now, (then, before) = time.monotonic(), self._last
        if now - then < self.every_seconds:
            return
        self._last = (now, done)
        rate = max(0.0, (done - before) / (now - then))
        self.tell(MoverProgress(done_bytes=done, total_bytes=total, bytes_per_second=rate, phase=phase))

    def tell(self, progress: MoverProgress) -> None:
        """Say it."""
        raise NotImplementedError


class _Line(_Paced):
    """One line of progress, rewritten in place."""

    def __init__(self) -> None:
        super().__init__()
        self._rates = Rates()

    def tell(self, progress: MoverProgress) -> None:
        self._rates.add(progress.bytes_per_second)
        click.echo(f"\r\033[K{describe(progress, self._rates)}", nl=False, err=True)


class _Events(_Paced):
    """An event every second, for a program."""

    every_seconds = 1.0

    def tell(self, progress: MoverProgress) -> None:
        print_event("progress", **transfer_facts(progress))


@contextlib.contextmanager
def _watching(as_json: bool) -> Iterator[Watch]:
    """Who looks on: a program, a person at a terminal, or nobody."""
    if as_json or not sys.stderr.isatty():
        yield _Events() if as_json else Watch()
        return
    try:
        yield _Line()
    finally:
        click.echo("\r\033[K", nl=False, err=True)
