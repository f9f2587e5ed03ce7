"""Each source that we have, on its stand; a libvirtd and a vCenter simulator for those stands that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.kinds import SOURCES
from lab import daemons
from lab.vcenter.place import Place, vcenter
from tests.contract.stands import SIZES, STANDS, Stand, a_stand
from tests.needs import here


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with daemons.running(tmp_path_factory.mktemp("daemons")):
        yield


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with vcenter(tmp_path_factory.mktemp("vcenter")) as lab:
        yield lab


@pytest.fixture
def sizes() -> dict[str, int]:
    """Of the disks of each machine on a stand."""
    return SIZES


@pytest.fixture(params=[a_stand(kind) for kind in sorted({*SOURCES, *STANDS})])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    make, programs = STANDS[request.param]
    here(*programs)
    yield from make(request, tmp_path)
