"""Known answers, from the algorithms' own publications and from b3sum/sha256sum."""

from __future__ import annotations

import hashlib

import pytest

from converters.engine import digest

KNOWN = [
    ("blake3", b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
    ("blake3", b"abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ("sha256", b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
]


@pytest.mark.parametrize(("algorithm", "data", "expected"), KNOWN)
def test_known_answers(algorithm: str, data: bytes, expected: str) -> None:
    assert digest.digest(algorithm, data).hex() == expected
    assert digest.digest(algorithm, memoryview(bytearray(data))).hex() == expected


def test_a_block_of_zeros_has_the_digest_of_zeros() -> None:
    assert digest.zero_digest("sha256", 1 << 20).hex() == hashlib.sha256(bytes(1 << 20)).hexdigest()
    assert digest.zero_digest("sha256", 1 << 20) is digest.zero_digest("sha256", 1 << 20)


def test_the_root_is_what_the_documentation_says() -> None:
    blocks = [hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()]
    header = b"kubeferry root 1" + (2).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert digest.root("sha256", 2, 1, blocks) == hashlib.sha256(header + b"".join(blocks)).digest()
    assert digest.root("sha256", 2, 1, [b"".join(blocks)]) == digest.root("sha256", 2, 1, blocks)
    assert digest.root("sha256", 3, 1, blocks) != digest.root("sha256", 2, 1, blocks)


def test_an_unknown_algorithm_is_no_algorithm() -> None:
    with pytest.raises(KeyError):
        digest.digest("md5", b"")
