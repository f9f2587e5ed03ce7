"""A small estate of memory-source machines with real disks, one Prefect server, and the command line on them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import run
from flows.serving.server import local_server
from kubeferry.documents import Config, Plan, load
from kubeferry.journal import Journal
from kubeferry.life.machine_state import MachineState
from kubeferry.model import Machine, Nic, Power
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from lab.machines import a_disk, a_machine
from tests.tools.conftest import PASSWORD, _new_server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MIB = 2**20


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use the server run in one worker, one behind the other: Prefect reads the server's address once in a
    process, so there is no second one for those that come after others."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()) and item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.xdist_group("prefect"))


@pytest.fixture(scope="package")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of one Prefect server for all runs, which this process and its children use; and what Prefect has in this
    process for flows: two loops in threads, which begin all its other threads. Where a day is among the tests, its data
    is in a PostgreSQL, as an operator's is; else in a file, which takes less.

    It ends with the tests of this folder. Prefect itself would keep its threads to the end of the process, and their
    connections have a pulse that draws from the global `random`, under all the tests that follow.
    """
    with contextlib.ExitStack() as held:
        days = any(item.path.name == "test_days.py" for item in request.session.items)
        with _on_postgres(held) if days else contextlib.nullcontext():
            url = held.enter_context(local_server(tmp_path_factory.mktemp("prefect")))
        from prefect._internal.concurrency import threads  # not before the server: its address is read then
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()  # a test without a server may have run in this process before
        loops = (threads.get_run_sync_loop(), threads.get_global_loop())
        yield url
        for loop in loops:
            loop.shutdown()
            loop.thread.join()


@contextlib.contextmanager
def _on_postgres(held: contextlib.ExitStack) -> Iterator[None]:
    """A server that is begun meanwhile has its data in a real PostgreSQL, which lasts as long as `held`."""
    database = held.enter_context(_new_server())
    held.enter_context(database.running())
    database.execute("postgres", "CREATE DATABASE prefect")
    where = f"postgresql+asyncpg://postgres:{PASSWORD}@127.0.0.1:{database.port}/prefect"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PREFECT_API_DATABASE_CONNECTION_URL", where)
        yield


@dataclass
class Small:
    """An estate in a folder: source/, kubeferry.yaml, journal.db, and target/ where the target is a directory."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    machines: list[Machine] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "source").mkdir()
        self.configure()

    # --- what a test sets up -----------------------------------------------------------------------------------------

    @property
    def source(self) -> MemorySource:
        return MemorySource("lab", self.folder / "source")

    @property
    def target(self) -> Path:
        return self.folder / "target"

    def configure(self, *, target: str = "directory", path: str = "target", **limits: int) -> None:
        document = {
            "apiVersion": "kubeferry.io/v1alpha1",
            "kind": "Config",
            "sources": {"lab": {"kind": "memory", "uri": f"memory://{self.folder}/source"}},
            "target": {"kind": target, "path": path},
            "journal": {"url": "sqlite:///journal.db"},
            "limits": limits,
        }
        (self.folder / "kubeferry.yaml").write_text(yaml.safe_dump(document))

    def policy(self, **fields: Any) -> None:
        document = {"apiVersion": "kubeferry.io/v1alpha1", "kind": "Policy", **fields}
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(document))

    def add(self, name: str, disk: Path | None = None, **changes: Any) -> Machine:
        """One more machine that runs; with a small disk of its own unless one is given."""
        path = disk or self.disk(name)
        if disk is None:
            path.write_bytes(os.urandom(MIB) + bytes(MIB))
        size = {} if path.exists() else {"capacity_bytes": MIB}
        drive = a_disk(path, **size | changes.pop("drive", {}))
        card = Nic(id="nic0", network_kind="network", network="default", model="virtio", mac=self._mac())
        facts = {"power": Power.RUNNING, "machine_type": "pc-q35-7.2", "nics": (card,)} | changes
        self.machines.append(a_machine(name, drive, memory_bytes=256 * MIB, **facts))
        self.source.write_machines(*self.machines)
        return self.machines[-1]

    def disk(self, name: str) -> Path:
        return self.folder / "source" / f"{name}.img"

    def plan(self) -> Plan:
        """Discover and plan, as a user does."""
        policy = ("--policy", "policy.yaml") if (self.folder / "policy.yaml").exists() else ()
        for words in (("discover",), ("plan", "inventory.yaml", *policy)):
            code, _, err = self.command(*words)
            assert code == 0, err
        return load(self.folder / "plan.yaml", Plan)

    # --- what a test does and looks at -------------------------------------------------------------------------------

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """One command line in this process: its exit code and what it printed to both streams."""
        self.capsys.readouterr()
        with contextlib.chdir(self.folder):
            code = run(list(arguments))
        return code, *self.capsys.readouterr()

    def program(self, *arguments: str) -> list[str]:
        """The same as a program of its own, to be run in `folder`."""
        return [sys.executable, "-m", "flows", *arguments]

    def power(self, name: str) -> Power:
        return self.source.power(next(machine for machine in self.machines if machine.name == name))

    @contextlib.contextmanager
    def journal(self) -> Iterator[Journal]:
        config = load(self.folder / "kubeferry.yaml", Config).journal
        url = config.url.replace("sqlite:///", f"sqlite:///{self.folder}/")
        with Journal.open(config.model_copy(update={"url": url})) as journal:
            yield journal

    def state(self, name: str) -> MachineState:
        plan = load(self.folder / "plan.yaml", Plan)
        with self.journal() as journal:
            return journal.state(plan.digest, name)

    def kinds(self, name: str) -> list[str]:
        plan = load(self.folder / "plan.yaml", Plan)
        with self.journal() as journal:
            return [str(record.event.kind) for record in journal.events(plan.digest, name)]

    def _mac(self) -> str:
        return f"52:54:00:00:00:{len(self.machines) + 1:02x}"


@pytest.fixture
def small(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    for name in ("KUBEFERRY_CONFIG", "KUBEFERRY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stopping.reset()
    yield Small(tmp_path, capsys)
    stopping.reset()
