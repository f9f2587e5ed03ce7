"""The lab's vCenter, with a machine that runs and has two disks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.model import Machine
from kubeferry.sources import Source, open_source
from lab.vcenter.faults import Rules
from lab.vcenter.place import Place, vcenter
from tests.needs import here
from tests.tools.vcenter.moving import CHANCE, MIB, PIECE, SIZES, Moving


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    here("vcenter")
    with vcenter(tmp_path_factory.mktemp("vcenter")) as place:
        yield place


@pytest.fixture
def web(lab: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A running machine with two disks, some data on each."""
    for name, value in lab.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("converters.endpoints.web.client.FIRST_PAUSE_SECONDS", 0.01)
    contents = []
    for number, size in enumerate(SIZES):
        contents.append(tmp_path / f"content{number}")
        content = bytearray(size)
        for offset in (0, MIB, size - PIECE):
            content[offset : offset + PIECE] = CHANCE.randbytes(PIECE)
        contents[-1].write_bytes(content)
    lab.machine("web", contents, on=True)
    lab.relay.rules = Rules()
    yield "web"
    lab.relay.rules = Rules()
    lab.remove("web")


@pytest.fixture
def source(lab: Place, web: str) -> Iterator[Source]:
    opened = open_source("lab", lab.config(taskSeconds=5))
    yield opened
    opened.close()


@pytest.fixture
def machine(source: Source, web: str) -> Machine:
    return next(one for one in source.discover().machines if one.name == web)


@pytest.fixture
def moving(source: Source, machine: Machine, lab: Place, tmp_path: Path) -> Moving:
    folder = tmp_path / "target"
    folder.mkdir()
    return Moving(source, machine, lab, folder)
