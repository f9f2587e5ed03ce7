"""The members of a tar, by their headers alone: where each lies, without reading or extracting one.

Read by us because the archive comes from elsewhere: sizes are checked against the file before they are used, names that
leave the folder, links, sparse members and names that are there twice are refused, each with its offset.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kubeferry.errors import InputInvalid, Problem

BLOCK_BYTES = 512
LIMIT_MEMBERS = 10_000
LIMIT_EXTENSION_BYTES = 64 << 10
FIX = "Get the file again from where the machine was exported."
_REGULAR, _FOLDER, _LONG_NAME, _PAX, _PAX_GLOBAL = {b"0", b"\0"}, b"5", b"L", b"x", b"g"


@dataclass(frozen=True, slots=True)
class Member:
    """`size` bytes from `offset` on in `path`."""

    name: str
    path: Path
    offset: int
    size: int


def read_members(path: Path) -> list[Member]:
    """The regular files of a tar, in order. Raises InputInvalid, with the offset, for anything that is wrong."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _wrong(path, None, error.strerror or str(error), "Check its path and permissions.") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _wrong(path, None, "it is not a file", "Give the path of an OVA.")
        return _Walk(path, fd, found.st_size).all()
    except OSError as error:
        raise _wrong(path, None, error.strerror or str(error), "Check the storage below it.") from error
    finally:
        os.close(fd)


def _wrong(path: Path, offset: int | None, what: str, fix: str = FIX) -> InputInvalid:
    where = str(path) if offset is None else f"{path}: offset {offset}"
    return InputInvalid(f"{path} cannot be read as an OVA", [Problem(where, what, fix)])


class _Walk:
    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.path = path
        self.fd = fd
        self.size = size
        self.at = 0
        self.pax: dict[str, str] = {}

    def all(self) -> list[Member]:
        found: dict[str, Member] = {}
        count = 0
        while (head := self._header()) is not None:
            count += 1
            if count > LIMIT_MEMBERS:
                raise _wrong(self.path, self.at, f"it has more than {LIMIT_MEMBERS} members")
            member = self._member(head)
            if member is None:
                continue
            if member.name in found:
                raise _wrong(self.path, self.at, f"{member.name!r} is there twice")
            found[member.name] = member
        if not found:
            raise _wrong(self.path, 0, "no file is in it")
        return list(found.values())

    def _header(self) -> bytes | None:
        """The next header; None at the end: zeros, or the end of the file between two members."""
        if self.at == self.size:
            return None
        head = os.pread(self.fd, BLOCK_BYTES, self.at)
        if len(head) < BLOCK_BYTES:
            raise _wrong(self.path, min(self.at, self.size), "it is cut off before or in a header")
        if not any(head):
            return None
        told = _number(head[148:156])
        if told != sum(head[:148]) + sum(head[156:]) + 8 * 32:
            what = "it is no tar" if self.at == 0 else "a header is damaged"
            raise _wrong(self.path, self.at, what)
        return head

    def _member(self, head: bytes) -> Member | None:
        """A regular file; None for what only speaks of the next member, and for folders."""
        kind, start = head[156:157], self.at + BLOCK_BYTES
        extension = kind in {_LONG_NAME, _PAX, _PAX_GLOBAL}
        size = self._size(head, pax=not extension)
        end = start + size + -size % BLOCK_BYTES
        if start + size > self.size:
            raise _wrong(self.path, self.size, f"it is cut off: a member from offset {start} on has {size} bytes")
        if extension:
            self._extension(kind, start, size)
            self.at = end
            return None
        name = self._name(head)
        if kind not in {*_REGULAR, _FOLDER} or any(key.startswith("GNU.sparse") for key in self.pax):
            raise _wrong(self.path, self.at, f"{name[:80]!r} is neither a file nor a folder")
        self.at, self.pax = end, {}
        return Member(name, self.path, start, size) if kind in _REGULAR else None

    def _size(self, head: bytes, *, pax: bool) -> int:
        told = self.pax.get("size") if pax else None
        size = int(told) if told and told.isascii() and told.isdecimal() and len(told) < 19 else _number(head[124:136])
        if size is None or size < 0:
            raise _wrong(self.path, self.at, "a member has no size")
        return size

    def _extension(self, kind: bytes, start: int, size: int) -> None:
        if size > LIMIT_EXTENSION_BYTES:
            raise _wrong(self.path, self.at, f"a name or its attributes have {size} bytes")
        content = os.pread(self.fd, size, start)
        if kind == _LONG_NAME:
            self.pax["path"] = content.rstrip(b"\0").decode(errors="surrogateescape")
        elif kind == _PAX:
            self.pax |= self._attributes(content)

    def _attributes(self, content: bytes) -> dict[str, str]:
        """`LENGTH KEY=VALUE\\n`, one behind the other."""
        found = {}
        while content:
            told, _, _ = content.partition(b" ")
            length = int(told) if told.isdigit() and len(told) < 6 else 0
            record = content[len(told) + 1 : length - 1]
            key, equal, value = record.partition(b"=")
            if not equal or not 0 < length <= len(content):
                raise _wrong(self.path, self.at, "a member's attributes are damaged")
            found[key.decode(errors="replace")] = value.decode(errors="surrogateescape")
            content = content[length:]
        return found

    def _name(self, head: bytes) -> str:
        prefix = head[345:500].partition(b"\0")[0] if head[257:263] == b"ustar\0" else b""
        own = head[:100].partition(b"\0")[0]
        told = self.pax.get("path") or (prefix + b"/" * bool(prefix) + own).decode(errors="surrogateescape")
        if told.startswith("/") or ".." in PurePosixPath(told).parts or "\0" in told:
            raise _wrong(self.path, self.at, f"the name {told[:80]!r} leaves the archive")
        name = str(PurePosixPath(told))
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise _wrong(self.path, self.at, "a member's name is not UTF-8") from error
        return name


def _number(field: bytes) -> int | None:
    """A number in octal digits, or, where its first bit is set, in binary."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits else None
    except ValueError:
        return None
