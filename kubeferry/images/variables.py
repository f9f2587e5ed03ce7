"""UEFI variables as OVMF keeps them in flash: read from one layout, written for another. Pure.

Facts of EDK II: a firmware volume (`EFI_FIRMWARE_VOLUME_HEADER`) holds a store of authenticated variables
(`VARIABLE_STORE_HEADER`, `AUTHENTICATED_VARIABLE_HEADER`), an event log, and the working block and spare room of fault
tolerant writes. OVMF is built with flash of two sizes, called 2m and 4m here as by QEMU's firmware descriptions; code
of one does not run with variables of the other. What a firmware leaves behind in a store, deleted variables and the
ends of interrupted writes, is not carried.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from kubeferry.errors import InputInvalid, Problem

Layout = Literal["2m", "4m"]

MOST_BYTES = 1 << 20
"""More than any store that is read here: who reads a file that says it is one stops there."""
VOLUME = UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le
STORE = UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
WORKING = UUID("9e58292b-7c68-497d-a0ce-6500fd9f1b95").bytes_le
WORKING_REST = bytes.fromhex("2caf2c64feffffffe00f000000000000")

_VOLUME = struct.Struct("<16s16sQ4sIHHHBB")
_STORE = struct.Struct("<16sIBBHI")
_VARIABLE = struct.Struct("<HBBIQ16sIII16s")
_BLOCK = 0x1000
_FORMATTED, _HEALTHY = 0x5A, 0xFE
_START, _ADDED, _IN_DELETION = 0x55AA, 0x3F, 0x3E
_UNWRITTEN, _NO_SIZE = 0xFF, 0xFFFFFFFF
_ERASED = b"\xff"
_HEADER = _VOLUME.size + 16  # and a map of one run of blocks, with its end
_FIX = "Start the machine once and shut it down, or remove the file of its variables at the source."


@dataclass(frozen=True, slots=True)
class _Flash:
    """Where the parts lie: the volume's size, what its store may take, the working block."""

    volume: int
    variables: int
    working: int


_FLASHES: dict[Layout, _Flash] = {
    "2m": _Flash(volume=0x20000, variables=0xE000, working=0xF000),
    "4m": _Flash(volume=0x84000, variables=0x40000, working=0x41000),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as it stands: `vendor` is the GUID that gives its name a meaning; `count`, `time` and `key` belong
    to authenticated ones."""

    name: str
    vendor: UUID
    attributes: int
    data: bytes
    count: int = 0
    time: bytes = bytes(16)
    key: int = 0


def size_of(layout: Layout) -> int:
    """The bytes of a store of this layout."""
    return _FLASHES[layout].volume


def layout_of(store: bytes) -> Layout:
    """The layout of a store. Raises InputInvalid for what is none that is known here."""
    if len(store) < _HEADER:
        raise _invalid(f"has {len(store)} bytes, fewer than a header")
    _zeros, volume, length, mark, *_rest = _VOLUME.unpack_from(store)
    if mark != b"_FVH" or volume != VOLUME:
        raise _invalid("is no store of OVMF's")
    for layout, flash in _FLASHES.items():
        if length == flash.volume == len(store):
            return layout
    known = ", ".join(str(flash.volume) for flash in _FLASHES.values())
    raise _invalid(f"is a store of {length} bytes in {len(store)}; known are {known}")


def variables_of(store: bytes) -> tuple[Variable, ...]:
    """The variables that the firmware would find, in their order. Raises InputInvalid for a store that is damaged."""
    flash = _FLASHES[layout_of(store)]
    begin = _VOLUME.unpack_from(store)[5]
    if begin + _STORE.size > flash.variables:
        raise _invalid("has a header that leaves no room")
    kind, size, form, health, *_ = _STORE.unpack_from(store, begin)
    if kind != STORE or form != _FORMATTED or health != _HEALTHY or begin + size > flash.variables:
        raise _invalid("holds no authenticated variables, or its store is not healthy")
    found: dict[tuple[str, UUID], tuple[int, Variable]] = {}
    for state, variable in _walk(store[begin + _STORE.size : begin + size]):
        name = (variable.name, variable.vendor)
        # One that was being replaced counts only where its successor was not finished; of several the first.
        if state in {_ADDED, _IN_DELETION} and (name not in found or (state == _ADDED and found[name][0] != _ADDED)):
            found[name] = (state, variable)
    return tuple(variable for _, variable in found.values())


def store_of(variables: tuple[Variable, ...], layout: Layout) -> bytes:
    """A store of this layout that holds exactly these. Raises InputInvalid where they do not fit."""
    flash = _FLASHES[layout]
    size = flash.variables - _HEADER
    content = _STORE.pack(STORE, size, _FORMATTED, _HEALTHY, 0, 0) + b"".join(map(_packed, variables))
    if len(content) > size:
        raise _invalid(f"holds {len(content)} bytes of variables, and flash of the size {layout} takes {size}")
    volume = _header(flash) + content
    volume += _ERASED * (flash.working - len(volume)) + WORKING + WORKING_REST
    return volume + _ERASED * (flash.volume - len(volume))


def converted(store: bytes, layout: Layout) -> bytes:
    """The same variables in a store of this layout; one that has it already stays as it is, byte for byte."""
    found = variables_of(store)
    return store if layout_of(store) == layout else store_of(found, layout)


def _walk(content: bytes) -> Iterator[tuple[int, Variable]]:
    at = 0
    while at + _VARIABLE.size <= len(content):
        start, state, _, attributes, count, time, key, names, size, vendor = _VARIABLE.unpack_from(content, at)
        if start != _START:
            return  # the rest is erased
        begin = at + _VARIABLE.size
        if state == _UNWRITTEN or _NO_SIZE in (attributes, names, size):
            names = size = 0  # the power went while its header was written: firmware goes on right behind that
        end = begin + names + size
        if end > len(content):
            raise _invalid(f"holds a variable at {at} that ends outside of it")
        try:
            name = content[begin : begin + names].decode("utf-16-le").rstrip("\0")
        except UnicodeDecodeError as error:
            raise _invalid(f"holds a variable at {at} whose name is no text") from error
        data = content[begin + names : end]
        yield state, Variable(name, UUID(bytes_le=vendor), attributes, data, count, time, key)
        at = -(-end // 4) * 4


def _packed(one: Variable) -> bytes:
    name = f"{one.name}\0".encode("utf-16-le")
    sizes = (len(name), len(one.data))
    head = _VARIABLE.pack(_START, _ADDED, 0, one.attributes, one.count, one.time, one.key, *sizes, one.vendor.bytes_le)
    whole = head + name + one.data
    return whole + _ERASED * (-len(whole) % 4)


def _header(flash: _Flash) -> bytes:
    """The volume's header with its sum: all its 16-bit words add up to nothing."""
    attributes = 0x4FEFF
    blocks = struct.pack("<IIII", flash.volume // _BLOCK, _BLOCK, 0, 0)

    def packed(total: int) -> bytes:
        return _VOLUME.pack(bytes(16), VOLUME, flash.volume, b"_FVH", attributes, _HEADER, total, 0, 0, 2) + blocks

    words = struct.unpack(f"<{_HEADER // 2}H", packed(0))
    return packed(-sum(words) & 0xFFFF)


def _invalid(what: str) -> InputInvalid:
    return InputInvalid("its UEFI variables cannot be read", [Problem("UEFI variables", what, _FIX)])
