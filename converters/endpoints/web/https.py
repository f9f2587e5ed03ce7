"""Endpoint on a file that a server gives by HTTPS: any range of it, on several connections. Only for reading.

    https://HOST:PORT/PATH?QUERY#sha256=DIGEST&login=PREFIX

Every answer must be just the range that was asked for, of a file of just the size that it had at first: a server that
ignores ranges, a file that was changed or cut, are refused, since what they give are other bytes than those asked for.
"""

from __future__ import annotations

import functools
import http.client
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from converters.endpoints.read_only import ReadOnly
from converters.endpoints.web.client import Broken, Client, Place, place_of, repeated
from converters.extents import Extent
from converters.uris import invalid
from kubeferry.faults import Side, refused
from kubeferry.ranges import Range, ranges_of
from kubeferry.values import DiskRef

CONNECTIONS = 2  # of one worker: one answer is read while the next is on its way
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Https:
    """Open an `https:` URI; `ref.changed` is a set of byte ranges, and all else is the same as in the round before.

    Raises SourceRefused where the server does not give ranges, is not the pinned one, or does not accept the login.
    """
    del direct, work
    if side is not Side.SOURCE:
        fix = "Give a file, a device or an NBD export as the target."
        raise refused(side, "what a web server gives cannot be written", fix=fix)
    try:
        changed = None if ref.changed is None else ranges_of(ref.changed)
    except ValueError as error:
        raise invalid("changed", str(error), "Write it as HTTP does: bytes=0-65535,131072-196607.") from error
    return Https(place_of(ref.uri, "https", os.environ), changed)


class Https(ReadOnly):
    """One worker's view of the file."""

    parallel = True
    knows_holes = False

    def __init__(self, place: Place, changed: list[Range] | None = None, known: tuple[int, str] | None = None) -> None:
        self.name = place.name
        self._place = place
        self._changed = changed
        self._free = [Client(place) for _ in range(CONNECTIONS)]
        self._all = tuple(self._free)
        try:
            self.size, self._version = known or self._measure()
        except BaseException:
            self.close()
            raise

    def _measure(self) -> tuple[int, str]:
        """Size and version of the file, by its first byte: a server that knows no ranges shows here."""
        return repeated(self.name, functools.partial(self._first, self._free[0]))

    def _first(self, client: Client, _attempt: int) -> tuple[int, str]:
        client.send({"Range": "bytes=0-0"})
        answer = client.answer()
        if answer.status == 416:
            return self._empty(answer), _version(answer)
        _, _, size = self._told(client, answer)
        self._filled(client, answer, memoryview(bytearray(1)))
        return size, _version(answer)

    def _empty(self, answer: http.client.HTTPResponse) -> int:
        if answer.getheader("Content-Range") not in {"bytes */0", None}:
            raise refused(Side.SOURCE, f"{self.name} does not give its first byte", fix="Look at the server's log.")
        return 0

    def _told(self, client: Client, answer: http.client.HTTPResponse) -> tuple[int, int, int]:
        """First byte, last byte and size that an answer says it holds. Raises SourceRefused for anything else."""
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.getheader("Content-Range", ""))
            if found is None:
                why = f"its Content-Range is {answer.getheader('Content-Range', '')[:60]!r}"
                raise self._wrong("does not say which bytes it gives", why)
            return int(found[1]), int(found[2]), int(found[3])
        client.close()  # the body is not wanted, however long it is
        if answer.status == 200:
            raise self._wrong("does not give ranges", "it answers with the whole file")
        if answer.status == 416:
            raise self._wrong("is shorter now", "a range that was inside of it is not any more")
        raise client.wrong(answer.status)

    def _wrong(self, what: str, why: str) -> Exception:
        fix = "Discover the source again; if it stays so, use another way to read the disk."
        return refused(Side.SOURCE, f"{self.name} {what}", why=why, fix=fix)

    # --- the seam ---

    def extents(self) -> Iterator[Extent]:
        if self._changed is None:
            yield from [Extent(0, self.size)] if self.size else []
            return
        position = 0
        for start, stop in self._changed:
            end = min(stop, self.size)
            if start > position:
                yield Extent(position, min(start, self.size) - position, same=True)
            if end > start:
                yield Extent(start, end - start)
            position = max(position, end)
        if position < self.size:
            yield Extent(position, self.size - position, same=True)

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        if not self._free:
            return functools.partial(self.read_into, offset, view)
        client = self._free.pop()
        try:
            self._ask(client, offset, view)
        except Broken:
            client.close()  # it is asked for again below
        except BaseException:
            self._free.append(client)
            raise
        return functools.partial(self._finish, client, offset, view)

    def _finish(self, client: Client, offset: int, view: memoryview) -> None:
        try:
            repeated(self.name, functools.partial(self._receive, client, offset, view))
        finally:
            self._free.append(client)

    def read_into(self, offset: int, view: memoryview) -> None:
        if not self._free:  # every connection has an answer on its way
            self._free.append(Client(self._place))
        if len(view):
            self.start_read(offset, view)()

    def _ask(self, client: Client, offset: int, view: memoryview) -> None:
        client.send({"Range": f"bytes={offset}-{offset + len(view) - 1}"})

    def _receive(self, client: Client, offset: int, view: memoryview, attempt: int) -> None:
        if attempt:
            self._ask(client, offset, view)
        answer = client.answer()
        first, last, size = self._told(client, answer)
        if size != self.size or _version(answer) != self._version:
            raise self._wrong("was changed while it was read", f"it had {self.size} bytes, and has {size}")
        if (first, last) != (offset, offset + len(view) - 1):
            raise self._wrong("gives another range than was asked for", f"bytes {first} to {last} instead of {offset}")
        self._filled(client, answer, view)

    def _filled(self, client: Client, answer: http.client.HTTPResponse, view: memoryview) -> None:
        position = 0
        try:
            while position < len(view):
                got = answer.readinto(view[position:])
                if not got:
                    client.lost(ConnectionError(f"{len(view) - position} bytes of an answer are missing"))
                position += got
            more = bool(answer.length) or answer.read(1) != b""  # never all of it: it may be without end
        except (OSError, http.client.HTTPException) as error:
            client.lost(error)
        if more:
            client.close()
            raise self._wrong("gives more bytes than were asked for", f"{len(view)} were, and more follow")

    def end(self) -> None:
        """Every range was checked when it came."""

    def version(self) -> list[object]:
        return [self._version]

    def clone(self) -> Self:
        return type(self)(self._place, self._changed, (self.size, self._version))

    def close(self) -> None:
        for client in (*self._all, *self._free):
            client.close()


def _version(answer: http.client.HTTPResponse) -> str:
    return answer.getheader("ETag") or answer.getheader("Last-Modified") or ""
