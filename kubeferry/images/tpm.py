"""What a TPM 2.0 of swtpm keeps over a stop, as a file has it. Pure; what it holds is never shown.

Facts of swtpm 0.1 to 0.10 (`swtpm_nvstore.c`, `swtpm_nvstore_linear.h`): the permanent state is a blob behind a header
of ten bytes, big-endian: version, least version that reads it, the header's size, flags, the size of all of it. In a
folder it is a file of its own; in a single file (`swtpmlin`, little-endian) it is the first of the parts that a table
names. Flag 1 says that it is encrypted with a key of its owner's.
"""

from __future__ import annotations

import struct

from kubeferry.errors import InputInvalid, Problem

FILE = "tpm2-00.permall"
"""The permanent state's file in a folder of swtpm's."""
MOST_BYTES = 768 * 1024
"""More than any state that is read here: a Secret in a cluster holds no more than a mebibyte."""

_HEADER = struct.Struct(">BBHHI")
_READABLE = 2
_ENCRYPTED = 0x01
_LINEAR = struct.Struct("<8sBBHII")
_LINEAR_MAGIC, _LINEAR_VERSION = b"swtpmlin"[::-1], 1
_FIX = "Start the machine once and shut it down; or leave it behind with keepTpm: false, and recovery keys at hand."
ENCRYPTED_FIX = (
    "The target's TPM has no such key. Have recovery keys at hand, and leave the state behind with keepTpm: false."
)


def permanent_state(found: bytes) -> bytes:
    """The permanent state alone, as a folder of swtpm's has it in `FILE`. Raises InputInvalid for what is no such
    state, is damaged, or is encrypted."""
    state = _first_part(found) if found[:8] == _LINEAR_MAGIC else found
    if len(state) < _HEADER.size:
        raise _invalid(f"has {len(state)} bytes, fewer than a header")
    _version, least, header, flags, size = _HEADER.unpack_from(state)
    if header != _HEADER.size or size != len(state):
        raise _invalid("is no state of swtpm's, or is cut off")
    if least > _READABLE:
        raise _invalid(f"is of a form {least} that is not known here")
    if flags & _ENCRYPTED:
        raise _invalid("is encrypted with a key that its hypervisor keeps", ENCRYPTED_FIX)
    return state


def _first_part(found: bytes) -> bytes:
    if len(found) < _LINEAR.size:
        raise _invalid("is cut off")
    _magic, version, _, _header, offset, length = _LINEAR.unpack_from(found)
    if version != _LINEAR_VERSION or not offset or offset + length > len(found):
        raise _invalid("names no permanent state in its table, or one that lies outside of it")
    return found[offset : offset + length]


def _invalid(what: str, fix: str = _FIX) -> InputInvalid:
    return InputInvalid("the state of its TPM cannot be read", [Problem("TPM state", what, fix)])
