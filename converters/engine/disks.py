"""Copy, verify and repair by reference: what the mover does for a job, and a person on the command line.

    outcome = copy_disk(parse_ref("a.qcow2", format="qcow2"), parse_ref("b.img"), Path("b.kff"))
    outcome = verify_disk(parse_ref("b.img"), Path("b.kff"))

A fingerprint's checkpoint lies beside it, as `checkpoint-NAME`, from the start of a copy to its end.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from converters.endpoints import Endpoint, Metered, Summed, open_source, open_stream, open_target
from converters.engine import checkpoint, copying, earlier, measuring, repair, sending, targets, verify
from converters.engine.copying import Tally
from converters.engine.fingerprint import Fingerprint, Header
from converters.engine.held import held
from converters.engine.marks import Marks, Offsets
from converters.engine.targets import check_fingerprint, prepare_target
from converters.engine.transfer import Options, Watch
from converters.engine.witness import Witness, known_by
from converters.uris import MODULES, SERVED, chain_of, files_of, path_of, scheme_of, split
from kubeferry import faults
from kubeferry.errors import InputInvalid, IntegrityFailed, Problem, SourceRefused, TargetRefused
from kubeferry.model import DiskRef
from kubeferry.uris import PACKED, Packed, Part
from kubeferry.words import counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done with a disk. `differing` are offsets in bytes; after a repair, of the blocks that were repaired.
    `wrong_root`: the disk differs, and nobody knows where. `calls` counts what was asked of a source that asks money
    for it. `stream_digest` is of the source's whole stream, as its server counts it, where that can be asked."""

    root: str
    algorithm: str
    size: int
    tally: Tally
    differing: Offsets = field(default_factory=Offsets)
    calls: dict[str, int] = field(default_factory=dict)
    wrong_root: bool = False
    stream_digest: str = ""


def copy_disk(
    source: DiskRef,
    target: DiskRef,
    fingerprint: Path,
    *,
    copy_id: str = "",
    target_reads_zero: bool = False,
    options: Options = Options(),  # noqa: B008 (frozen)
    watch: Watch = Watch(),  # noqa: B008 (does nothing, holds nothing)
) -> Outcome:
    """Copy a disk to a target that is there and large enough; go on from a checkpoint of the same copy.

    `copy_id` names the copy beside what source and target look like: one of another name is not gone on from. Unless
    what the target holds may be lost (`options.may_lose`), it must be ours or empty.
    Raises what `open_source` and `open_target` raise; TargetRefused when there is no room; SourceUnavailable,
    TargetUnavailable when one of them fails on the way; Interrupted on request; Fenced.
    """
    _apart(source, target)
    work = _work(fingerprint)
    with held(fingerprint), open_source(source, work=work) as reading, open_target(target) as writing:
        if not options.may_lose:
            targets.check(target, writing, fingerprint)
        if options.exact:
            targets.check_end(target, writing, reading.size)
        witness = Witness(watch, lambda: known_by(source, reading))
        label = checkpoint.label(source, witness.seen, target, copy_id)
        header = Header(reading.size, options.algorithm, label=label, target=checkpoint.target_of(target))
        root, tally = copying.copy(
            reading, writing, fingerprint, header, reads_zero=target_reads_zero, options=options, watch=witness
        )
        return _outcome(root, reading, tally, options)


def verify_disk(
    target: DiskRef,
    fingerprint: Path,
    *,
    options: Options = Options(),  # noqa: B008
    watch: Watch = Watch(),  # noqa: B008
) -> Outcome:
    """Read a disk back past the page cache and compare it with its fingerprint; the offsets that differ are returned.

    Raises InputInvalid without a usable fingerprint, IntegrityFailed when that is damaged, TargetRefused when the copy
    has not ended, the disk is too small or (`options.exact`) goes on with data behind its end. A clean result is
    remembered beside the fingerprint, block by block, where that may be written.
    """
    with _complete(fingerprint) as expected, open_target(target, direct=True) as reading:
        found = verify.compare(reading, expected, options=options, watch=watch)
        if options.exact:
            targets.check_end(target, reading, expected.header.size)
        earlier.remember(expected, clean=not found.differing)
        head = expected.header
        offsets = Offsets(found.differing, head.block)
        held = max(0, found.read - head.block * len(offsets))
        tally = Tally(read=found.read, same=found.kept, held=held)
        return Outcome(expected.root, head.algorithm, head.size, tally, offsets)


def send_disk(
    source: DiskRef,
    url: str,
    fingerprint: Path,
    *,
    options: Options = Options(),  # noqa: B008
    watch: Watch = Watch(),  # noqa: B008
) -> Outcome:
    """Send a disk to CDI's upload proxy, in one go, and write its fingerprint.

    Raises what `open_source` raises; HostileImage for a disk that the proxy would take for an image of another format,
    before anything is sent; TargetBusy where it takes nothing yet; TargetRefused, TargetUnavailable; Interrupted.
    """
    with open_source(source, work=_work(fingerprint)) as reading:
        header = Header(reading.size, options.algorithm)
        opening = functools.partial(open_stream, url)
        witness = Witness(watch, lambda: known_by(source, reading))
        root, tally = sending.send(reading, opening, fingerprint, header, options=options, watch=witness)
        return _outcome(root, reading, tally, options)


def measure_disk(
    target: DiskRef,
    root: str,
    work: Path,
    *,
    options: Options = Options(),  # noqa: B008
    watch: Watch = Watch(),  # noqa: B008
) -> Outcome:
    """Read a disk back past the page cache and compare its root with the one that is expected. Its size is the one that
    `target` says; what lies beyond is not looked at. `work` is a file that is made and removed.

    Raises InputInvalid without a size, TargetRefused when the disk is too small.
    """
    if target.size_bytes is None:
        fix = "Give the target its size."
        raise InputInvalid("the disk cannot be measured", [Problem("target.sizeBytes", "is not known", fix)])
    _work(work)
    with open_target(target, direct=True) as reading:
        header = Header(target.size_bytes, options.algorithm)
        found, read = measuring.measure(reading, work, header, options=options, watch=watch)
    return Outcome(root, options.algorithm, target.size_bytes, Tally(read=read), wrong_root=found != root)


def repair_disk(
    source: DiskRef,
    target: DiskRef,
    fingerprint: Path,
    *,
    options: Options = Options(),  # noqa: B008
    watch: Watch = Watch(),  # noqa: B008
) -> Outcome:
    """Find the blocks of the target that differ from its fingerprint, fetch them from the source, and read them back.

    Unless what the target holds may be lost (`options.may_lose`), it must be ours or empty. Raises like `verify_disk`;
    IntegrityFailed when the source no longer has what the fingerprint asks for, or when a
    repaired block does not read back as written.
    """
    _apart(source, target)
    work = _work(fingerprint)
    with held(fingerprint), open_source(source, work=work) as fetching, _complete(fingerprint) as expected:
        with open_target(target, direct=True) as reading:
            if not options.may_lose:
                targets.check(target, reading, fingerprint, damaged=True)
            found = verify.compare(reading, expected, options=options, watch=watch)
        if found.differing:
            earlier.disprove(fingerprint)  # until all of it was read back again
        with open_target(target) as writing:
            gone = repair.fetch(fetching, writing, expected, found.differing, options=options, watch=watch)
        with open_target(target, direct=True) as reading:
            left = verify.compare(reading, expected, options=options, watch=watch) if found.differing else found
        _proven(gone, left.differing, expected)
        head = expected.header
        size = head.block * len(found.differing)
        offsets = Offsets(found.differing, head.block)
        tally = Tally(read=found.read, written=size)
        return Outcome(expected.root, head.algorithm, head.size, tally, offsets, _calls(fetching))


def _proven(gone: Marks, left: Marks, expected: Fingerprint) -> None:
    block = expected.header.block
    if gone:
        raise IntegrityFailed(
            f"{counted(len(gone), 'block')} cannot be repaired, the first at offset {gone.first * block}",
            why="the source no longer holds what was copied",
            fix="Copy the disk again: only blocks that differ are written.",
        )
    if left:
        raise IntegrityFailed(
            f"{counted(len(left), 'block does not read', 'blocks do not read')} back as written, "
            f"the first at offset {left.first * block}",
            fix="Check the target's storage; it does not keep what it is given.",
        )


@contextmanager
def _complete(fingerprint: Path) -> Iterator[Fingerprint]:
    if checkpoint.beside(fingerprint).exists():
        raise TargetRefused(
            "the last copy of this disk has not ended",
            why=f"its checkpoint {checkpoint.beside(fingerprint)} is there",
            fix="Run the copy again: it goes on where it was.",
        )
    with Fingerprint.open(fingerprint) as found:
        if not found.sealed:
            fix = "Give the fingerprint of a copy that has ended."
            raise InputInvalid(
                f"{fingerprint} is not complete", [Problem(str(fingerprint), "digests are missing", fix)]
            )
        yield found


def _outcome(root: str, source: Endpoint, tally: Tally, options: Options) -> Outcome:
    """Of a source that was read to its end."""
    digest = source.stream_digest if isinstance(source, Summed) else ""
    return Outcome(root, options.algorithm, source.size, tally, calls=_calls(source), stream_digest=digest)


def _calls(source: Endpoint) -> dict[str, int]:
    return source.calls if isinstance(source, Metered) else {}


def _apart(source: DiskRef, target: DiskRef) -> None:
    """Raise InputInvalid where the target is a file or device that the source is read from, whatever its format and
    however deep in its chain."""
    written = files_of(target.uri)
    for link in chain_of(source):
        for path in files_of(link.uri):
            if any(_same_place(path, other) for other in written):
                raise InputInvalid(
                    "source and target are the same disk",
                    [Problem(str(path), "it would be copied onto itself", "Give another target.")],
                )


def _same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file, or to nodes of the same device. What is not there is told when it is
    opened."""
    try:
        first, second = one.stat(), other.stat()
    except OSError:
        return False
    both_devices = stat.S_ISBLK(first.st_mode) and stat.S_ISBLK(second.st_mode)
    return os.path.samestat(first, second) or (both_devices and first.st_rdev == second.st_rdev)


def _work(fingerprint: Path) -> Path:
    try:
        fingerprint.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        fix = "Give the digests a place in a folder."
        raise TargetRefused(f"{fingerprint} cannot be made", why="a part of its path is a file", fix=fix) from error
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{fingerprint} cannot be made", error) from error
    return fingerprint.parent.absolute()


# --- for people ---


def parse_ref(text: str, *, format: str | None = None) -> DiskRef:  # noqa: A002 (the word of DiskRef)
    """A DiskRef from a path or a URI; `?format=` in a `file:` or `block:` URI does what `format` does.

    Raises InputInvalid for a URI that cannot be opened here, or two formats that differ.
    """
    if not text:
        raise InputInvalid("a disk cannot be opened", [Problem("its path", "is empty", "Give a path or a URI.")])
    if "://" not in text and not text.startswith(tuple(f"{scheme}:" for scheme in MODULES)):
        return _local(Path(text).absolute().as_uri(), format or "raw")
    parts = split(text)
    asked = parse_qs(parts.query).get("format", [])
    if scheme_of(text) in SERVED:
        return DiskRef(uri=text, format=format or "raw")
    if len({*asked, *([format] if format else [])}) > 1:
        raise InputInvalid("a disk cannot be opened", [Problem(text, "two formats are given", "Give its format once.")])
    uri = parts._replace(query="").geturl() if asked else text
    path_of(uri)
    return _local(uri, format or (asked[0] if asked else "raw"))


def _local(uri: str, shape: str) -> DiskRef:
    """A file as it is; a VMDK by the URI of its own reader."""
    path = path_of(uri)
    if shape != "vmdk":
        return DiskRef(uri=uri, format=shape)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise faults.of_os(faults.Side.SOURCE, f"{path} cannot be opened", error) from error
    return DiskRef(uri=Packed("vmdk+file", (Part(path, 0, size),)).uri())


def with_chain(top: DiskRef, below: Sequence[str]) -> DiskRef:
    """A disk with the images that lie below it, the next one first, each as FORMAT:PATH. Raises InputInvalid."""
    backing: DiskRef | None = None
    for text in reversed(below):
        shape, colon, path = text.partition(":")
        if not colon or shape not in {"raw", "qcow2"} or not path:
            fix = "Write raw:PATH or qcow2:PATH, once for each image, the one next to the top first."
            raise InputInvalid("the chain cannot be read", [Problem("--chain", repr(text), fix)])
        backing = parse_ref(path, format=shape).model_copy(update={"backing": backing})
    return top.model_copy(update={"backing": backing}) if backing else top


def disk_size(source: DiskRef) -> int:
    """The size of a disk as its machine sees it, in bytes. Raises like `open_source`."""
    with open_source(source) as opened:
        return opened.size


def check_format(source: DiskRef) -> None:
    """Raise SourceRefused where a disk, or an image in its chain, is said to be raw and begins like something else:
    its bytes would be taken for the disk, or the guest's for an image. Other formats are checked when they are read."""
    for link in chain_of(source):
        if link.format != "raw" or scheme_of(link.uri) in {*PACKED, "vmdk-stream+https"}:  # unpacked by us, and known
            continue
        plain = link.model_copy(update={"backing": None})
        with open_source(plain) as opened:
            head = memoryview(bytearray(min(opened.size, sending.HEAD_BYTES)))
            opened.read_into(0, head)
        if name := sending.taken_for(bytes(head)):
            raise SourceRefused(
                f"{link.uri} begins like {name}, and is said to be raw",
                why="a copy of its bytes is no disk that a machine can start from",
                fix="Say its --format (or convert it with `qemu-img convert`); --insist, if its bytes are the disk.",
            )


__all__ = [
    "Outcome",
    "check_fingerprint",
    "check_format",
    "copy_disk",
    "disk_size",
    "measure_disk",
    "parse_ref",
    "prepare_target",
    "repair_disk",
    "send_disk",
    "verify_disk",
    "with_chain",
]
