"""UEFI variables as EC2 hands them over (GetInstanceUefiData): base64 of a packed list. Pure.

Facts of Amazon's python-uefivars, which describes and writes that form: `AMZNUEFI`, a CRC-32C of what follows, version
0, and zlib with a preset dictionary. In it, little-endian: how many, and for each its name in UTF-8, its data, GUID and
attributes; where these ask for a time (0x20), that and the digest of its signer. The dictionary is Amazon's, and given.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from uuid import UUID

from kubeferry.errors import InputInvalid, Problem
from kubeferry.images.variables import MOST_BYTES, Variable

FORM = "uefi-data"
"""What a machine's `nvram_format` says of them."""
_HEAD = struct.Struct("<8sII")
_MAGIC, _VERSION = b"AMZNUEFI", 0
_TIMED = 0x20
_MOST_TEXT = 2 * MOST_BYTES
_POLYNOMIAL = 0x82F63B78
_FIX = "Look at it with `aws ec2 get-instance-uefi-data`; or leave it behind with keepVariables: false, and plan again."


def variables_of(told: str, dictionary: bytes) -> tuple[Variable, ...]:
    """The variables of an answer, in its order. Raises InputInvalid for what is damaged, of another version, or not to
    be carried: a variable that an owner of its own has signed, of whom OVMF keeps the certificate elsewhere."""
    if len(told) > _MOST_TEXT:
        raise _invalid(f"has {len(told)} characters")
    try:
        found = base64.b64decode(told, validate=True)
    except binascii.Error as error:
        raise _invalid("is no base64") from error
    if len(found) < _HEAD.size:
        raise _invalid(f"has {len(found)} bytes, fewer than a header")
    magic, total, version = _HEAD.unpack_from(found)
    if magic != _MAGIC:
        raise _invalid("does not begin as EC2's does")
    if total != crc32c(found[12:]):
        raise _invalid("is damaged: its checksum is another one")
    if version != _VERSION:
        raise _invalid(f"is of version {version}, and {_VERSION} is known here")
    return _read(_unpacked(found[_HEAD.size :], dictionary))


def crc32c(content: bytes) -> int:
    """The checksum of Castagnoli's polynomial."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _unpacked(packed: bytes, dictionary: bytes) -> bytes:
    unpacking = zlib.decompressobj(zdict=dictionary)
    try:
        content = unpacking.decompress(packed, MOST_BYTES + 1)
    except zlib.error as error:
        raise _invalid("cannot be unpacked") from error
    if not unpacking.eof or len(content) > MOST_BYTES:
        raise _invalid("is cut off, or holds more than any machine's")
    return content


def _read(content: bytes) -> tuple[Variable, ...]:
    reader = _Reader(content)
    found = tuple(_variable(reader) for _ in range(reader.count()))
    if reader.at != len(content):
        raise _invalid("goes on behind its last variable")
    return found


def _variable(reader: _Reader) -> Variable:
    try:
        name = reader.piece(reader.count()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid("holds a variable whose name is no text") from error
    data, vendor = reader.piece(reader.count()), UUID(bytes_le=reader.piece(16))
    (attributes,) = struct.unpack("<I", reader.piece(4))
    if not attributes & _TIMED:
        return Variable(name, vendor, attributes, data)
    time, signer = reader.piece(16), reader.piece(reader.count())
    if any(signer):
        raise _invalid(f"holds {name!r}, signed by an owner of its own, whose certificate is not carried")
    return Variable(name, vendor, attributes, data, time=time)


class _Reader:
    """What is read one behind the other, and never behind the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def piece(self, length: int) -> bytes:
        if length > len(self._content) - self.at:
            raise _invalid("ends in the middle of a variable")
        self.at += length
        return self._content[self.at - length : self.at]

    def count(self) -> int:
        (found,) = struct.unpack("<Q", self.piece(8))
        return int(found)


def _invalid(what: str) -> InputInvalid:
    return InputInvalid("its UEFI variables cannot be read", [Problem("UEFI variables", what, _FIX)])
