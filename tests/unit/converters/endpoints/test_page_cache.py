"""What the host remembers of a file: seen without fetching anything, and forgotten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converters.endpoints import page_cache

MIB = 1 << 20


@pytest.mark.parametrize("offset", [0, 4095, 4096, MIB + 5, 2 * MIB - 1])
def test_a_page_is_seen_where_it_is_and_not_fetched_by_looking(on_storage: Path, offset: int) -> None:
    path = on_storage / "file"
    path.write_bytes(os.urandom(2 * MIB))
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
        assert page_cache.has(fd, offset)
        page_cache.drop_page(fd, offset)
        if page_cache.has(fd, offset):
            pytest.skip("this file system has nothing but the page cache")
        assert not page_cache.has(fd, offset), "looking has fetched it"
        os.pread(fd, 1, offset)
        assert page_cache.has(fd, offset)
    finally:
        os.close(fd)


def test_what_has_no_pages_has_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for place, offset in ((tmp_path / "empty", 0), (Path("/dev/null"), 4096)):
        fd = os.open(place, os.O_RDONLY)
        try:
            assert not page_cache.has(fd, offset)
        finally:
            os.close(fd)
