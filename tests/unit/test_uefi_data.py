"""UEFI variables as EC2 hands them over: read from what Amazon's own package writes, refused where it is damaged."""

from __future__ import annotations

import base64
import struct
import zlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pyuefivars.aws_v0 import UEFIVarStoreV0

from kubeferry.errors import InputInvalid
from kubeferry.images.uefi_data import crc32c, variables_of
from kubeferry.images.variables import Variable, store_of
from kubeferry.images.variables import variables_of as stored
from lab.ec2.uefi import answer

VENDOR = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
TIME = bytes.fromhex("e4070101000000000000000000000000")
BOOT = Variable("BootOrder", VENDOR, 7, b"\0\0\1\0")
KEY = Variable("PK", VENDOR, 0x27, b"a certificate", time=TIME)


def read(told: str) -> tuple[Variable, ...]:
    return variables_of(told, UEFIVarStoreV0.dict)


def sealed(content: bytes, *, version: int = 0, magic: bytes = b"AMZNUEFI") -> str:
    """A store with this inside, whatever that is."""
    packing = zlib.compressobj(9, zdict=UEFIVarStoreV0.dict)
    rest = struct.pack("<I", version) + packing.compress(content) + packing.flush()
    return base64.b64encode(magic + struct.pack("<I", crc32c(rest)) + rest).decode()


def test_what_amazons_package_writes_is_read_and_lands_in_flash() -> None:
    assert read(answer(BOOT, KEY)) == (BOOT, KEY)
    assert stored(store_of(read(answer(BOOT, KEY)), "4m")) == (BOOT, KEY)
    assert read(answer()) == ()


NAMES = some.text(some.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(some.lists(some.tuples(NAMES, some.binary(max_size=64), some.sampled_from((3, 7, 0x27))), max_size=8))
def test_whatever_it_writes_is_read_the_same(made: list[tuple[str, bytes, int]]) -> None:
    variables = tuple(
        Variable(name, VENDOR, bits, data, time=TIME if bits & 0x20 else bytes(16)) for name, data, bits in made
    )
    assert read(answer(*variables)) == variables


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283


ONE = struct.pack("<Q", 1)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("", "fewer than a header"),
        ("not base64!", "no base64"),
        ("A" * (2 << 20) + "AAAA", "characters"),
        (sealed(bytes(8), magic=b"something"[:8]), "does not begin"),
        (sealed(bytes(8), version=1), "version 1"),
        (sealed(ONE), "middle of a variable"),
        (sealed(ONE + struct.pack("<Q", 1 << 60)), "middle of a variable"),
        (sealed(struct.pack("<QQ", 1, 1) + b"\xff" + bytes(40)), "no text"),
        (sealed(bytes(9)), "behind its last variable"),
        (sealed(bytes(2 << 20)), "more than any"),
        (answer(BOOT, KEY, signer=b"\1" * 32), "signed by an owner"),
    ],
)
def test_what_cannot_be_read_says_why(told: str, why: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        read(told)
    (problem,) = refused.value.problems
    assert why in problem.what
    assert "keepVariables" in problem.fix


def test_every_damaged_byte_is_seen() -> None:
    whole = base64.b64decode(answer(BOOT, KEY))
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        with pytest.raises(InputInvalid):
            read(base64.b64encode(damaged).decode())
