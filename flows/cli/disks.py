"""The verbs for single disks: copy, verify, repair. They need no plan, no journal and no Prefect."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from converters.engine.copying import Tally
from converters.engine.disks import (
    Outcome,
    check_fingerprint,
    check_format,
    copy_disk,
    disk_size,
    parse_ref,
    prepare_target,
    repair_disk,
    verify_disk,
    with_chain,
)
from converters.engine.transfer import Options, Watch
from converters.uris import path_of
from flows.cli.options import FILE, Rate, json_option
from flows.cli.output import print_event, print_json
from flows.progress import describe, transfer_facts
from kubeferry.errors import IntegrityFailed
from kubeferry.jobs import MoverProgress
from kubeferry.life.pace import Rates
from kubeferry.values import DiskRef
from kubeferry.words import counted

logger = logging.getLogger(__name__)

LISTED = 10_000  # offsets, of a disk that may be wholly another one

workers_option = click.option("--workers", type=click.IntRange(1, 32), default=8, show_default=True)
format_option = click.option(
    "--format", "format_", help="Format of the source: raw (the default), qcow2 or vmdk. Never probed."
)
fingerprint_option = click.option(
    "--fingerprint", type=FILE, help="The digests of all blocks; by default TARGET.kff, beside it."
)

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="What the target holds may be lost, also where it is not ours."
)
holes_option = click.option(
    "--read-holes", is_flag=True, help="Read also what is said to be zeros: for file systems whose word is in doubt."
)
chain_option = click.option(
    "--chain",
    multiple=True,
    metavar="FORMAT:PATH",
    help="An image below a qcow2 SOURCE, the next one first; repeat it.",
)
insist_option = click.option(
    "--insist", is_flag=True, help="Take the source as raw also where it begins like an image of another format."
)


@click.command()
@click.argument("source")
@click.argument("target")
@fingerprint_option
@format_option
@chain_option
@insist_option
@workers_option
@overwrite_option
@holes_option
@click.option("--bandwidth", type=Rate(), help="At most so many MiB per second.")
@click.option("--algorithm", type=click.Choice(["blake3", "sha256"]), default="blake3", show_default=True)
@json_option
def copy(
    source: str,
    target: str,
    fingerprint: Path | None,
    format_: str | None,
    chain: tuple[str, ...],
    insist: bool,
    workers: int,
    overwrite: bool,
    read_holes: bool,
    bandwidth: int | None,
    algorithm: str,
    as_json: bool,
) -> None:
    """Copy one disk, with a digest of every block; goes on where it was stopped.

    SOURCE and TARGET are paths or URIs: file:///disk.img, block:///dev/sdb, nbd+unix:///export?socket=/run/x. A target
    that holds data is written only where it differs; one that is not ours and not empty is refused.
    """
    read, write = with_chain(parse_ref(source, format=format_), chain), parse_ref(target)
    prints = fingerprint or _beside(write, target)
    check_fingerprint(read, write, prints)
    if not insist:
        check_format(read)
    logger.info("copies %s to %s, their digests to %s", read.uri, write.uri, prints)
    zero = prepare_target(write, disk_size(read), prints, overwrite=overwrite)
    options = Options(
        workers,
        bandwidth,
        algorithm,
        may_lose=overwrite,
        exact=True,
        read_holes=read_holes,
        recheck=True,
    )
    with _watching(as_json) as watch:
        done = copy_disk(read, write, prints, target_reads_zero=zero, options=options, watch=watch)
    if done.tally.anew:
        click.secho(
            "source or target changed since the copy was stopped: all of it was read again", fg="yellow", err=True
        )
    _tell(done, prints, as_json, _copied(done.tally, target))


@click.command()
@click.argument("target")
@fingerprint_option
@workers_option
@holes_option
@json_option
def verify(target: str, fingerprint: Path | None, workers: int, read_holes: bool, as_json: bool) -> None:
    """Read a disk past the page cache and compare it with its fingerprint."""
    ref = parse_ref(target)
    prints = fingerprint or _beside(ref, target)
    logger.info("compares %s with %s", ref.uri, prints)
    with _watching(as_json) as watch:
        done = verify_disk(ref, prints, options=Options(workers, exact=True, read_holes=read_holes), watch=watch)
    _tell(done, prints, as_json, "every block is as the fingerprint says" if not done.differing else "")
    if done.differing:
        differ = counted(len(done.differing), "block differs", "blocks differ")
        raise IntegrityFailed(
            f"{differ}, the first at offset {done.differing.first}",
            fix=f"`kubeferry repair SOURCE {target}` fetches only what differs.",
        )


@click.command()
@click.argument("source")
@click.argument("target")
@fingerprint_option
@format_option
@chain_option
@workers_option
@overwrite_option
@holes_option
@json_option
def repair(
    source: str,
    target: str,
    fingerprint: Path | None,
    format_: str | None,
    chain: tuple[str, ...],
    workers: int,
    overwrite: bool,
    read_holes: bool,
    as_json: bool,
) -> None:
    """Fetch only the blocks that differ from the fingerprint."""
    read, write = with_chain(parse_ref(source, format=format_), chain), parse_ref(target)
    prints = fingerprint or _beside(write, target)
    check_fingerprint(read, write, prints)
    logger.info("fetches from %s what differs in %s from %s", read.uri, write.uri, prints)
    options = Options(workers, may_lose=overwrite, exact=True, read_holes=read_holes)
    with _watching(as_json) as watch:
        done = repair_disk(read, write, prints, options=options, watch=watch)
    again = f"{counted(len(done.differing), 'block was', 'blocks were')} fetched again and read back"
    _tell(done, prints, as_json, again)


def _copied(tally: Tally, target: str) -> str:
    """What was done, and how much of the target was seen: writing is no proof."""
    done = "read {:.0f} MiB, wrote {:.0f} MiB, had {:.0f} MiB already"
    text = done.format(*(number / 2**20 for number in (tally.read, tally.written, tally.resumed)))
    if tally.blind:
        text += f"\n{tally.blind / 2**20:.0f} MiB of the target cannot be read: written without comparing, not verified"
    return f"{text}\nverified {tally.held / 2**20:.0f} MiB by reading them back; `kubeferry verify {target}` reads all"


def _beside(ref: DiskRef, given: str) -> Path:
    if not ref.uri.startswith("file:"):
        raise click.UsageError(f"{given} is not a file: say where the digests go with --fingerprint")
    path = path_of(ref.uri)
    if not path.name:
        raise click.UsageError(f"{given} is a folder: give the path of a disk")
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
            "readBackBytes": done.tally.held,
            "unreadableBytes": done.tally.blind,
            "differing": list(itertools.islice(done.differing, LISTED)),
            "differingBlocks": len(done.differing),
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
