"""The file that stands for a machine's flash, in the forms that libvirt gives it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from kubeferry.errors import SourceRefused
from kubeferry.images.variables import Variable, store_of
from kubeferry.model import Firmware
from kubeferry.outside.process import Completed, run
from kubeferry.sources.libvirt import flash
from kubeferry.sources.libvirt.hosts import Here
from tests.needs import here

STORE = store_of((Variable("Mark", UUID(int=7), 7, b"set here"),), "4m")
HOST = Here("lab", None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "web VARS.fd"


def test_a_raw_file_is_the_flash_whether_its_format_is_told_or_not(path: Path) -> None:
    path.write_bytes(STORE)
    for told in (None, "raw"):
        assert flash.variables(Firmware(kind="uefi", nvram=str(path), nvram_format=told), "web", HOST) == STORE


def test_a_qcow2_file_is_read_as_what_it_stands_for(path: Path) -> None:
    here("qemu-img")
    raw = path.with_suffix(".raw")
    raw.write_bytes(STORE)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)])
    firmware = Firmware(kind="uefi", nvram=str(path), nvram_format="qcow2")
    assert flash.variables(firmware, "web", HOST) == STORE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SourceRefused, match="cannot be read") as told:
        flash.variables(firmware, "web", HOST)
    assert "keepVariables" in told.value.fix


def test_what_cannot_be_carried_is_told_before_the_stop(path: Path) -> None:
    firmware = Firmware(kind="uefi", nvram=str(path))
    path.write_bytes(STORE)
    assert flash.concerns(firmware, "web", HOST) == []
    path.write_bytes(STORE[:-1])
    (told,) = flash.concerns(firmware, "web", HOST)
    assert (told.id, told.severity) == ("source.variables", "warning")
    assert "web: its UEFI variables cannot be carried" in told.what


def test_a_file_in_a_folder_that_nobody_may_enter_is_not_said_to_be_missing(path: Path) -> None:
    class Shut(Here):
        def run(self, argv: Sequence[str]) -> Completed:
            del argv
            return Completed(argv=("test",), code=1, out="", err="Permission denied")

    with pytest.raises(SourceRefused, match="cannot be read"):
        flash.variables(Firmware(kind="uefi", nvram=str(path)), "web", Shut("lab", None))


def test_a_machine_that_never_ran_or_names_no_file_has_none(path: Path) -> None:
    assert flash.variables(Firmware(kind="uefi", nvram=str(path)), "web", HOST) is None
    assert flash.variables(Firmware(kind="uefi"), "web", HOST) is None
