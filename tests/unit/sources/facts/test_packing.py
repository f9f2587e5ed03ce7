"""What a file is packed with, and how it is unpacked, by its first bytes and by its name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kubeferry.sources.facts.packing import KNOWN, is_archive, of_bytes, of_name, unpacking


@pytest.mark.parametrize(
    ("name", "packing", "archive", "command"),
    [
        ("app.ova.gz", "gzip", False, "gzip -dc FILE > UNPACKED"),
        ("APP.OVA.XZ", "xz", False, "xz -dc FILE > UNPACKED"),
        ("app.tar.gz", "gzip", True, "tar -xf"),
        ("app.tgz", "gzip", True, "tar -xf"),
        ("app.TXZ", "xz", True, "tar -xf"),
        ("app.tar", "tar", True, "tar -xf"),
        ("app.zip", "zip", True, "unzip"),
        ("app.7z", "7z", True, "7z x"),
        ("app.rar", "rar", True, "unrar x"),
        ("disk.vmdk.zst", "zstd", False, "zstd -dc FILE > UNPACKED"),
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


@pytest.mark.parametrize("program", ["gzip", "xz", "bzip2", "zstd"])
def test_what_is_advised_unpacks_a_file_whatever_its_name(tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here")
    (tmp_path / "plain").write_bytes(b"app" * 1000)
    packed = subprocess.run([program, "-c", "plain"], cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / "app1.ova").write_bytes(packed)
    (advice,) = (one.unpack for one in KNOWN if one.name == program)
    command = advice.replace("FILE", "app1.ova").replace("UNPACKED", "app.ova")
    subprocess.run(command, cwd=tmp_path, shell=True, check=True)  # noqa: S602
    assert (tmp_path / "app.ova").read_bytes() == b"app" * 1000
