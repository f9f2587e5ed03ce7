"""The state of a TPM as swtpm's files have it: in a folder, and in one file; damaged, encrypted, of another kind."""

from __future__ import annotations

import struct

import pytest

from kubeferry.errors import InputInvalid
from kubeferry.images.tpm import permanent_state

HEADER = 10


def blob(content: bytes = b"seeds" * 100, *, flags: int = 0, least: int = 1, more: int = 0) -> bytes:
    return struct.pack(">BBHHI", 2, least, HEADER, flags, HEADER + len(content) + more) + content


def linear(state: bytes, *, offset: int = 256, length: int | None = None, version: int = 1) -> bytes:
    """A single file of swtpm's, with its table: this state, and behind it another part."""
    head = struct.pack("<QBBH", 0x737774706D6C696E, version, 0, 192)
    table = struct.pack("<III", offset, len(state) if length is None else length, 1024) + bytes(12 * 14)
    return (head + table).ljust(256, b"\0") + state.ljust(1024, b"\0") + b"volatile"


def test_the_file_of_a_folder_is_the_state() -> None:
    assert permanent_state(blob()) == blob()


def test_the_first_part_of_a_single_file_is_the_state() -> None:
    assert permanent_state(linear(blob())) == blob()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (b"", "fewer than a header"),
        (b"\x02\x01\0", "fewer than a header"),
        (b"something else, and long enough", "no state of swtpm"),
        (blob(more=1), "cut off"),
        (blob() + b"\0", "cut off"),
        (blob(least=3), "not known here"),
        (blob(flags=1), "encrypted"),
        (linear(blob(flags=9)), "encrypted"),
        (linear(blob(), offset=0), "no permanent state"),
        (linear(blob(), offset=4000), "outside of it"),
        (linear(blob(), version=2), "no permanent state"),
        (linear(blob())[:16], "cut off"),
    ],
)
def test_what_is_none_says_why(found: bytes, why: str) -> None:
    with pytest.raises(InputInvalid) as told:
        permanent_state(found)
    assert why in told.value.problems[0].what
    assert "keepTpm" in told.value.problems[0].fix


def test_what_it_holds_is_in_no_message() -> None:
    with pytest.raises(InputInvalid) as told:
        permanent_state(blob(b"a secret", flags=1))
    assert "secret" not in str(told.value)
