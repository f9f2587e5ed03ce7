"""The file that stands for a machine's flash, in the forms that libvirt gives it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from kubeferry.errors import SourceRefused
from kubeferry.images.variables import Variable, store_of
from kubeferry.model import Firmware
from kubeferry.outside.process import run
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


def test_a_machine_that_never_ran_or_names_no_file_has_none(path: Path) -> None:
    assert flash.variables(Firmware(kind="uefi", nvram=str(path)), "web", HOST) is None
    assert flash.variables(Firmware(kind="uefi"), "web", HOST) is None
