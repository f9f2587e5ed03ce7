"""The members of a tar: where they lie, as Python's own tar writes them, and every way to be wrong, with its offset."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from kubeferry.sources.ovf.tar_members import Member, read_members

FILES = {"web.ovf": b"<Envelope/>", "disk one.vmdk": b"d" * 1000, "empty": b"", "sub/ü.mf": b"x" * 512}


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.type = size, kind
    return found


def tar(form: int = tarfile.USTAR_FORMAT, **files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for name, content in (files or FILES).items():
            made.addfile(info(name, len(content)), io.BytesIO(content))
    return out.getvalue()


def only(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        made.addfile(member, io.BytesIO(content))
    return out.getvalue()


def members(folder: Path, content: bytes) -> dict[str, bytes]:
    path = folder / "it.ova"
    path.write_bytes(content)
    return {one.name: content[one.offset : one.offset + one.size] for one in read_members(path)}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_lie_where_tar_put_them(form: int, tmp_path: Path) -> None:
    long = {"n" * 200 + ".vmdk": b"long", "p" * 90 + "/" + "q" * 90: b"prefix"}
    assert members(tmp_path, tar(form, **FILES, **long if form != tarfile.USTAR_FORMAT else {})) == {
        **FILES,
        **(long if form != tarfile.USTAR_FORMAT else {}),
    }
    assert members(tmp_path, tar(form, **{"p" * 90 + "/" + "q" * 90: b"prefix"})) == {
        "p" * 90 + "/" + "q" * 90: b"prefix"
    }


def test_folders_are_passed_over_and_names_are_plain(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(info("./", kind=tarfile.DIRTYPE))
        made.addfile(info("./a.ovf", 1), io.BytesIO(b"x"))
    assert members(tmp_path, out.getvalue()) == {"a.ovf": b"x"}


def test_a_tar_without_its_last_blocks_is_read(tmp_path: Path) -> None:
    assert members(tmp_path, tar(a=b"x" * 512)[: 2 * 512]) == {"a": b"x" * 512}


def test_sizes_beyond_eight_gigabytes_are_read_in_binary(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="has 9000000000 bytes"):
        members(tmp_path, info("big", 9_000_000_000).tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(InputInvalid, match="has 9000000000 bytes"):
        members(tmp_path, info("big", 9_000_000_000).tobuf(tarfile.PAX_FORMAT))


def long_name(size: int) -> bytes:
    return info("././@LongLink", size, tarfile.GNUTYPE_LONGNAME).tobuf() + bytes(size)


def pax(record: bytes) -> bytes:
    head = info("pax", len(record), tarfile.XHDTYPE).tobuf()
    return head + record.ljust(512, b"\0") + tar(a=b"")


def many() -> bytes:
    return b"".join(info(f"f{at}").tobuf() for at in range(10_002))


WRONG: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "no file", "offset 0"),
    "zeros": (lambda: bytes(1024), "no file", "offset 0"),
    "another file": (lambda: b"PK\3\4" * 300, "no tar", "offset 0"),
    "cut in a header": (lambda: tar()[:700], "cut off", "offset 700"),
    "cut in a member": (lambda: tar()[:1800], "cut off", "offset 1800"),
    "cut in a later header": (
        lambda: tar(a=b"x" * 512)[:1024] + b"b" * 100,
        "cut off before or in a header",
        "offset 1024",
    ),
    "a damaged header": (lambda: tar()[:1024] + b"!" + tar()[1025:], "header is damaged", "offset 1024"),
    "a link": (lambda: only(info("l", kind=tarfile.SYMTYPE)), "neither a file nor", "offset 0"),
    "a hard link": (lambda: only(info("l", kind=tarfile.LNKTYPE)), "neither a file nor", "offset 0"),
    "a device": (lambda: only(info("l", kind=tarfile.BLKTYPE)), "neither a file nor", "offset 0"),
    "a sparse file": (lambda: only(info("l", kind=tarfile.GNUTYPE_SPARSE)), "neither a file nor", "offset 0"),
    "another name's folder": (lambda: tar(**{"../a": b""}), "leaves the archive", "offset 0"),
    "a full path": (lambda: tar(**{"/etc/a": b""}), "leaves the archive", "offset 0"),
    "twice": (lambda: tar(a=b"")[:512] + tar(a=b"")[:512], "twice", "offset"),
    "twice spelled otherwise": (lambda: tar(a=b"")[:512] + tar(**{"./a": b""})[:512], "twice", "offset"),
    "a very long name": (lambda: long_name(1 << 20), "have 1048576 bytes", "offset 0"),
    "a pax record without an end": (lambda: pax(b"99 path=x\n"), "attributes are damaged", "offset 0"),
    "a pax record without a length": (lambda: pax(b"path=x\n"), "attributes are damaged", "offset 0"),
    "a pax record whose length is a word": (lambda: pax(b"x path=y\n"), "attributes are damaged", "offset 0"),
    "a pax record of no length": (lambda: pax(b"0 path=y\n"), "attributes are damaged", "offset 0"),
    "a pax name that leaves": (lambda: pax(b"16 path=../../x\n"), "leaves the archive", "offset 1024"),
    "a pax sparse file": (lambda: pax(b"22 GNU.sparse.major=1\n"), "neither a file nor", "offset 1024"),
    "many": (many, "more than 10000", "offset"),
    "not UTF-8": (lambda: tar(a=b"")[:512].replace(b"a", b"\xff", 1), "damaged", "offset"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_tar_is_refused_with_its_offset(case: str, tmp_path: Path) -> None:
    make, what, where = WRONG[case]
    with pytest.raises(InputInvalid) as refused:
        members(tmp_path, make())
    (problem,) = refused.value.problems
    if case != "not UTF-8":
        assert what in problem.what
    assert where in problem.where
    assert problem.fix


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputInvalid):
            read_members(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=20))
def test_whatever_is_changed_stays_inside_the_file(tmp_path: Path, offset: int, junk: bytes) -> None:
    content = tar(tarfile.PAX_FORMAT)
    path = tmp_path / "it.ova"
    path.write_bytes(content[:offset] + junk + content[offset + len(junk) :])
    found: list[Member] = []
    with contextlib.suppress(InputInvalid):
        found = read_members(path)
    assert all(0 <= one.offset <= one.offset + one.size <= path.stat().st_size for one in found)
