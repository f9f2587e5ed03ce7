"""A folder with a memory source, a memory target and a configuration, and the command line run in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flows import following
from flows.cli import run
from flows.serving import server
from flows.told import Audience
from kubeferry.model import Machine, Power
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget
from lab import machines
from tests.clocks import Clock, waiting_takes_no_time

if TYPE_CHECKING:
    from tests.unit.flows.nights import Night

CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources:
  lab: {{kind: memory, uri: 'memory://{folder}/source'}}
target: {{kind: memory, path: target}}
journal: {{url: 'sqlite:///journal.db'}}
"""


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, which is the current one: a machine `web` at the source, and kubeferry.yaml."""
    (tmp_path / "source").mkdir()
    disk = tmp_path / "source" / "web.img"
    disk.write_bytes(b"\x55" * 2**20)
    MemorySource("lab", tmp_path / "source").write_machines(a_machine("web", disk))
    (tmp_path / "kubeferry.yaml").write_text(CONFIG.format(folder=tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("KUBEFERRY_CONFIG", "KUBEFERRY_DEBUG", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    stopping.reset()
    yield tmp_path
    stopping.reset()


def running_machines(source: MemorySource, folder: Path, names: Iterable[str]) -> None:
    """Let the source have these machines, which run, each with a disk of a few bytes of its own, and no others."""
    machines = []
    for name in names:
        path = folder / "source" / f"{name}.img"
        path.write_bytes(name.encode() * 4096)
        machines.append(a_machine(name, path).model_copy(update={"power": Power.RUNNING}))
    source.write_machines(*machines)


@pytest.fixture
def kubeferry(estate: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run one command line: its exit code and what it printed to both streams."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(arguments))
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def printed_json(kubeferry: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Run one command line that prints JSON: its result, which is the last line."""

    def command(*arguments: str) -> Any:
        code, out, _err = kubeferry(*arguments)
        assert code == 0
        return json.loads(out.splitlines()[-1])

    return command


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that nobody watches."""

    class Nobody:
        server, url = None, ""

        def wait(self, _seconds: float) -> str:
            return ""

        def ended(self) -> bool:
            return True

    class Unwatched(Audience):
        def __init__(self, *_arguments: object) -> None:
            """Nothing is shown."""

        def __enter__(self) -> Unwatched:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing is ended."""

    monkeypatch.setattr(server, "prefect_api", lambda *_: contextlib.nullcontext(Nobody()))
    monkeypatch.setattr(following, "Following", Unwatched)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the tests: whoever waits has waited at once."""
    return waiting_takes_no_time(monkeypatch)


@pytest.fixture
def stays_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose machines run on, as a cluster's do."""
    monkeypatch.setattr(MemoryTarget, "capabilities", replace(MemoryTarget.capabilities, keeps_running=True))


@pytest.fixture
def web(kubeferry: Callable[..., tuple[int, str, str]], estate: Path, no_server: None) -> Night:
    """One machine, `web`."""
    from tests.unit.flows.nights import Night

    return Night(kubeferry, estate)


@pytest.fixture
def shop(kubeferry: Callable[..., tuple[int, str, str]], estate: Path, no_server: None) -> Night:
    """An app of two that moves as one: `db`, then `web`."""
    from tests.unit.flows.nights import POLICY, TOGETHER, Night

    return Night(kubeferry, estate, ("db", "web"), POLICY + TOGETHER)


def a_machine(name: str, disk: Path) -> Machine:
    return machines.a_machine(name, machines.a_disk(disk))
