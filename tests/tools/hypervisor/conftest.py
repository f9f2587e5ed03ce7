"""The real libvirtd of this machine, and machines on it that have no system."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.documents import SourceConfig
from kubeferry.sources import Source, open_source
from lab import daemons
from lab.bare import Bare
from lab.daemons import URI, virsh
from tests.tools.hypervisor import luns
from tests.tools.hypervisor.rounds import MIB, Copy


@pytest.fixture(scope="module", autouse=True)
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with daemons.running(tmp_path_factory.mktemp("daemons")):
        yield


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    machines = Bare(tmp_path, f"kft-{os.getpid()}-")
    yield machines
    machines.remove()


@pytest.fixture
def source() -> Iterator[Source]:
    opened = open_source("lab", SourceConfig(kind="libvirt", uri=URI))
    yield opened
    opened.close()


@pytest.fixture
def copy(bare: Bare, source: Source, tmp_path: Path) -> Copy:
    """A machine without a system that runs: a qcow2 disk and a raw one."""
    folder = tmp_path / "target"
    folder.mkdir()
    system = bare.image("vda.qcow2", form="qcow2", size=8 * MIB)
    name = bare.define("bare", (system, "qcow2"), (bare.image("vdb.raw", size=4 * MIB), "raw"))
    virsh("start", name)
    return Copy(source, name, folder)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[luns.Storage]:
    """An iSCSI target with one LUN that asks for a password."""
    with luns.storage(tmp_path) as found:
        yield found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that QEMU's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="kubeferry-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
