"""Parts of files, inflated: whatever is in them, the bytes or an error for a person."""

from __future__ import annotations

import gzip
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.endpoints.packed.parts import Gunzip
from kubeferry.errors import SourceRefused


def inflated(packed: bytes, count: int) -> bytes:
    reader = Gunzip(io.BytesIO(packed), "disk.gz")
    return b"".join(iter(lambda: reader.read(count), b""))


@given(st.binary(max_size=300), st.integers(0, 9), st.integers(1, 100))
def test_the_bytes_come_out_however_they_are_asked_for(content: bytes, level: int, count: int) -> None:
    assert inflated(gzip.compress(content, level), count) == content


def test_a_damaged_stream_that_also_ends_too_early_is_refused() -> None:
    """What is wrong may show only after all that there is was taken in."""
    chance = random.Random(5)
    for _ in range(3000):
        packed = bytearray(gzip.compress(bytes(chance.choices(range(2), k=chance.randrange(1, 300)))))
        packed[chance.randrange(10, len(packed))] ^= 1 << chance.randrange(8)
        del packed[chance.randrange(10, len(packed)) :]
        with pytest.raises(SourceRefused, match="gzip stream"):
            inflated(bytes(packed), chance.choice([1, 2, 3, 7, 100]))
