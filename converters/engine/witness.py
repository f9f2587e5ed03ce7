"""Whether a source stays what it is while it is copied: looked at wherever the fence is, and before the end counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from converters.endpoints import Endpoint, Versioned
from converters.engine.transfer import Watch
from converters.uris import chain_of, files_of
from kubeferry import faults
from kubeferry.errors import SourceUnavailable
from kubeferry.images import writers
from kubeferry.values import DiskRef


def known_by(source: DiskRef, opened: Endpoint) -> list[object]:
    """What the bytes of a source are known by, all files of its chain included. Of what a server exports nothing may
    be known but its size. Raises SourceRefused, SourceUnavailable."""
    return [opened.size, *_files(source), *(opened.version() if isinstance(opened, Versioned) else [])]


def _files(source: DiskRef) -> Iterator[list[int]]:
    for path in (path for link in chain_of(source) for path in files_of(link.uri)):
        try:
            yield list(writers.state(path))
        except OSError as error:
            raise faults.of_os(faults.Side.SOURCE, f"{path} cannot be looked at", error) from error


class Witness(Watch):
    """Looks on for somebody else, and at the source."""

    def __init__(self, watch: Watch, look: Callable[[], list[object]]) -> None:
        self._watch = watch
        self._look = look
        self.seen = look()

    def progress(self, phase: str, done: int, total: int | None) -> None:
        self._watch.progress(phase, done, total)

    def still_ours(self) -> None:
        """Raises SourceUnavailable, too, where the source was changed since this was made."""
        self._watch.still_ours()
        if self._look() != self.seen:
            raise SourceUnavailable(
                "the source was changed while it was copied",
                why="what was read of it before and after are parts of two disks",
                fix="Stop what writes to it, then run the same again: all of it is read, what differs is written.",
            )
