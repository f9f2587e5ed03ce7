"""A real PostgreSQL of Debian's package, and a folder as the target, for the tests that need one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from flows.serving.ports import free_port
from kubeferry.documents import JournalConfig
from kubeferry.outside.process import child, run
from tests.needs import or_skip
from tests.tools.folder_target import Place

PASSWORD_ENV = "JOURNAL_TEST_PASSWORD"  # noqa: S105 (a name)
PASSWORD = "swordfish-4711"  # noqa: S105 (of a server that lives as long as the test)


@dataclass(frozen=True)
class Server:
    """A private PostgreSQL on a port of its own, with password logins only."""

    bin: Path
    folder: Path
    port: int

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def config(self, database: str) -> JournalConfig:
        return JournalConfig(url=self.url(database), password_env=PASSWORD_ENV)

    @contextmanager
    def running(self) -> Iterator[None]:
        unprivileged = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "TERM"]
        argv = [
            *(unprivileged if os.geteuid() == 0 else []),
            *(str(self.bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off"),
        ]
        with child(argv, log=self.folder / "log") as server:
            ready = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            limit = time.monotonic() + 30
            while run(ready, check=False).code:
                assert server.poll() is None, server.tail()
                assert time.monotonic() < limit, server.tail()
                time.sleep(0.05)
            yield

    def execute(self, database: str, *statements: str) -> None:
        engine = create_engine(make_url(self.url(database)).set(drivername="postgresql+psycopg", password=PASSWORD))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                for statement in statements:
                    db.execute(text(statement))
        finally:
            engine.dispose()


@contextmanager
def _new_server() -> Iterator[Server]:
    """A fresh cluster, not running. PostgreSQL refuses to work as root, so its folder belongs to its own user."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        or_skip(FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql"))
    folder = Path(tempfile.mkdtemp(prefix="kubeferry-pg-"))
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        become: list[str] = []
        if os.geteuid() == 0:
            become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        create = [str(found[-1]), "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256", "-N"]
        run([*become, *create, f"--pwfile={secret}", "-E", "UTF8", "--locale=C"], cwd=folder)
        yield Server(found[-1].parent, folder, free_port())
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def new_server() -> Callable[[], AbstractContextManager[Server]]:
    """Makes a server that does not run yet."""
    return _new_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with _new_server() as made, made.running():
        yield made


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    """The password of every server, where their configurations look for it."""
    monkeypatch.setenv(PASSWORD_ENV, PASSWORD)
    return PASSWORD


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    name = f"j{uuid.uuid4().hex[:12]}"
    server.execute("postgres", f"CREATE DATABASE {name}")
    yield name
    server.execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder as the target; what runs in it at the end is stopped."""
    made = Place(tmp_path / "target")
    yield made
    made.stop()
