"""What a file is packed with, and how it is unpacked, by its first bytes and by its name."""

from __future__ import annotations

import pytest

from kubeferry.sources.facts.packing import is_archive, of_bytes, of_name, unpacking


@pytest.mark.parametrize(
    ("name", "packing", "archive", "command"),
    [
        ("app.ova.gz", "gzip", False, "gzip -dk"),
        ("APP.OVA.XZ", "xz", False, "xz -dk"),
        ("app.tar.gz", "gzip", True, "tar -xf"),
        ("app.tgz", "gzip", True, "tar -xf"),
        ("app.TXZ", "xz", True, "tar -xf"),
        ("app.tar", "tar", True, "tar -xf"),
        ("app.zip", "zip", True, "unzip"),
        ("app.7z", "7z", True, "7z x"),
        ("app.rar", "rar", True, "unrar x"),
        ("disk.vmdk.zst", "zstd", False, "zstd -d"),
        ("app.ova", None, False, None),
    ],
)
def test_a_name_tells_the_packing_and_what_undoes_it(
    name: str, packing: str | None, archive: bool, command: str | None
) -> None:
    found = of_name(name)
    assert (found and found.name, is_archive(name), unpacking(name)) == (packing, archive, command)


def test_first_bytes_tell_the_packing_and_those_of_a_tar_do_not() -> None:
    assert [
        found and found.name for found in map(of_bytes, (b"\x1f\x8b\x08\0\0\0\0\0", b"PK\3\4abcd", b"app.ovf\0"))
    ] == [
        "gzip",
        "zip",
        None,
    ]
