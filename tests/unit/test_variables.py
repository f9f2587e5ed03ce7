"""UEFI variables against the stores that OVMF's own build makes, and against what firmware leaves in one."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from kubeferry.errors import InputInvalid
from kubeferry.images.variables import (
    Layout,
    Variable,
    converted,
    layout_of,
    size_of,
    store_of,
    variables_of,
)

OVMF = Path("/usr/share/OVMF")
GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
STORES: dict[Layout, str] = {"2m": "OVMF_VARS", "4m": "OVMF_VARS_4M"}
MARK = Variable("Mark", UUID("12345678-1234-1234-1234-123456789abc"), 7, b"set at the source")

pytestmark = pytest.mark.skipif(not OVMF.is_dir(), reason="apt-get install ovmf")


@pytest.mark.parametrize(("layout", "name"), STORES.items())
def test_an_empty_store_is_the_one_of_ovmfs_build(layout: Layout, name: str) -> None:
    built = (OVMF / f"{name}.fd").read_bytes()
    assert layout_of(built) == layout
    assert variables_of(built) == ()
    assert store_of((), layout) == built


@pytest.mark.parametrize(("layout", "name"), STORES.items())
def test_enrolled_keys_are_read_and_written_as_the_build_enrolled_them(layout: Layout, name: str) -> None:
    built = (OVMF / f"{name}.ms.fd").read_bytes()
    found = variables_of(built)
    assert {"PK", "KEK", "db", "dbx"} <= {one.name for one in found}
    again = store_of(found, layout)
    assert variables_of(again) == found
    assert len(again) == size_of(layout) == len(built)


def test_variables_of_the_small_flash_arrive_in_the_large_one() -> None:
    small = (OVMF / "OVMF_VARS.ms.fd").read_bytes()
    large = converted(small, "4m")
    assert layout_of(large) == "4m"
    assert variables_of(large) == variables_of(small)


def test_a_store_of_the_right_layout_stays_as_it_is() -> None:
    built = (OVMF / "OVMF_VARS_4M.ms.fd").read_bytes()
    assert converted(built, "4m") is built


def test_of_a_variable_that_was_being_replaced_the_finished_one_counts() -> None:
    old, new = (Variable("Mark", MARK.vendor, 7, data) for data in (b"old!", b"new!"))
    store = bytearray(store_of((old, new), "4m"))
    first = 0x48 + 28 + 2
    store[first] = 0x3E
    assert variables_of(bytes(store)) == (new,)
    store[first + (60 + 10 + 4 + 2)] = 0x7F  # its successor was not finished
    assert variables_of(bytes(store)) == (old,)
    store[first + (60 + 10 + 4 + 2)] = 0x3F
    store[first] = 0x3F  # firmware takes the first of two
    assert variables_of(bytes(store)) == (old,)
    store[first + (60 + 10 + 4 + 2)] = 0x7F
    store[first] = 0x3C  # deleted
    assert variables_of(bytes(store)) == ()


@pytest.mark.parametrize("written", [2, 8, 40])
def test_behind_a_header_that_was_not_finished_firmware_goes_on(written: int) -> None:
    """As EDK II's NameSizeOfVariable and DataSizeOfVariable have it: what is erased still has no size."""
    whole, begin, header = store_of((MARK,), "4m"), 0x48 + 28, 60
    torn = (b"\xaa\x55\xff\x00" + bytes(header))[:written].ljust(header, b"\xff")
    store = whole[:begin] + torn + whole[begin : 0x40000 - header] + whole[0x40000:]
    assert variables_of(store) == (MARK,)
    assert variables_of(converted(store, "2m")) == (MARK,)


@pytest.mark.parametrize(
    ("at", "byte", "said"),
    [
        (0x28, 0x00, "no store of OVMF's"),
        (0x48 + 20, 0x00, "not healthy"),
        (0x48 + 28 + 40, 0xFF, "ends outside"),
        (0x20, 0x01, "is a store of"),
    ],
)
def test_a_damaged_store_is_refused(at: int, byte: int, said: str) -> None:
    store = bytearray(store_of((MARK,), "4m"))
    store[at : at + 3] = bytes([byte]) * 3
    with pytest.raises(InputInvalid, match=said):
        variables_of(bytes(store))
    with pytest.raises(InputInvalid):
        layout_of(b"")


def test_more_than_the_flash_takes_is_refused() -> None:
    much = Variable("Much", GLOBAL, 7, bytes(0xE000))
    with pytest.raises(InputInvalid, match="takes"):
        store_of((much,), "2m")
    assert variables_of(store_of((much,), "4m")) == (much,)
