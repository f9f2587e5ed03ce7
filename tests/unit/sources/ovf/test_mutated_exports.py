"""Exports with bytes that are other ones: whatever they are, machines come of it or problems, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeferry.documents import Inventory, Policy, SourceConfig
from kubeferry.errors import InputInvalid
from kubeferry.model import Machine
from kubeferry.sources import open_source
from kubeferry.sources.ovf.files import read_machines
from lab import ova
from mappings.assessment import assess

GOLDEN = Path(__file__).parents[3] / "golden" / "ovf"
OVFS = [path.read_bytes() for path in sorted(GOLDEN.glob("*.ovf"))]
DISK = ova.PackedDisk("vmdisk1", "web.vmdk", 8192, b"disk".ljust(8192, b"\0"))
TEXT = ova.descriptor("web", [DISK], {DISK.href: len(ova.packed(DISK))}).encode()
FILES = {"web.ovf": TEXT, DISK.href: ova.packed(DISK)}
# What breaks readers: half characters, marks of other encodings, words of the format in places of others.
PIECES = [b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"<", b"&", b"]]>", b"<!--", b"<![CDATA[", b'"', b"${",
          b"}", b"9" * 40, b"-1", b"\xd9\xa3", b"ovf:/disk/", b"../", b"%00", b"xmlns:", b"encoding='utf-16'", b"\r\n",
          b"http://schemas.dmtf.org/ovf/envelope/1/"]  # fmt: skip
changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.one_of(st.sampled_from(PIECES), st.binary(max_size=6))),
    min_size=1,
    max_size=6,
)
Changes = list[tuple[float, int, bytes]]
quick = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def changed(content: bytes, how: Changes) -> bytes:
    """At a place (a share of the whole) some bytes are taken out, and others put in."""
    for place, taken, put in how:
        at = int(place * len(content))
        content = content[:at] + put + content[at + taken :]
    return content


def read_or_told(path: Path, *, complete: bool) -> None:
    try:
        machines = read_machines(path, "lab", complete=complete)
    except InputInvalid as error:
        assert error.problems  # noqa: PT017 (either is right)
        assert all(problem.where and problem.what and problem.fix for problem in error.problems)  # noqa: PT017
        return
    for machine in machines:
        assert Machine.model_validate_json(machine.model_dump_json()) == machine
    known = {machine.name: machine for machine in machines}
    inventory = Inventory(
        source="lab", source_kind="ova", observed_at="2026-01-01T00:00:00Z", machines=tuple(known.values())
    )
    assert len(assess(inventory, Policy(namespace="migrated"))) == len(known)


@quick
@given(st.sampled_from(OVFS), changes)
def test_a_descriptor_whose_bytes_are_others_is_read_or_told(tmp_path: Path, content: bytes, how: Changes) -> None:
    (tmp_path / "web.ovf").write_bytes(changed(content, how))
    read_or_told(tmp_path / "web.ovf", complete=False)


@quick
@given(changes, st.sampled_from(["utf-16", "utf-16-le", "utf-8-sig", "iso-8859-1"]))
def test_one_in_another_encoding_is_read_or_told(tmp_path: Path, how: Changes, encoding: str) -> None:
    (tmp_path / "web.ovf").write_bytes(changed(TEXT.decode().encode(encoding), how))
    read_or_told(tmp_path / "web.ovf", complete=False)


@quick
@given(st.sampled_from([DISK.href, "web.mf"]), changes)
def test_disks_and_manifests_whose_bytes_are_others_are_read_or_told(tmp_path: Path, name: str, how: Changes) -> None:
    files = {**FILES, "web.mf": ova.manifest(FILES).encode()}
    for one, content in files.items():
        (tmp_path / one).write_bytes(changed(content, how) if one == name else content)
    read_or_told(tmp_path / "web.ovf", complete=True)


@quick
@given(changes)
def test_an_archive_whose_bytes_are_others_is_read_or_told(tmp_path: Path, how: Changes) -> None:
    path = ova.archive(tmp_path / "web.ova", {**FILES, "web.mf": ova.manifest(FILES).encode()})
    path.write_bytes(changed(path.read_bytes(), how))
    read_or_told(path, complete=True)
    found = open_source("exports", SourceConfig(kind="ova", uri=tmp_path.as_uri())).discover()
    assert found.machines or found.unreadable


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\xff\xfe", b"\xfe\xff\0", b"\xef\xbb\xbf", b"<", b"\x1f\x8b\x08", b"PK"]
)
def test_little_or_nothing_is_told(content: bytes, tmp_path: Path) -> None:
    for name in ("web.ovf", "web.ova"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputInvalid):
            read_machines(tmp_path / name, "lab")
