"""The database behind the journal: which one, how it is opened so that a commit is durable, and what its errors mean.

SQLite: WAL, synchronous=FULL, foreign keys, writers queue. A new file is built beside its place and linked in whole, so
that a file that is there and empty is a damaged one, and two first runs do not meet in a half-made schema.
PostgreSQL: by psycopg, password from the environment, commits synchronous whatever the server's default is.
A statement, a lock, a connection that breaks without a word, a server that is frozen: each has a deadline, then the
journal "does not answer".
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from kubeferry.documents import JournalConfig
from kubeferry.errors import InputInvalid, KubeferryError, PermanentError, Problem, TransientError
from kubeferry.journal.schema import INDEXES, LATER, META, METADATA, TURNS_INDEX, VERSION
from kubeferry.outside import clock as host_clock
from kubeferry.passwords import carried

BUSY_SECONDS = 30
CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
WRITES = "kubeferry_writes"

logger = logging.getLogger(__name__)

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_PG_SESSION = ("synchronous_commit=on", f"statement_timeout={ANSWER_SECONDS}s", f"lock_timeout={BUSY_SECONDS}s")
_PG_DISK_FULL = "53100"
_PG_MAY_NOT = {"42501", "25006"}  # no right to it; a database that is read only
SECRETS = {"password", "sslpassword"}
"""Parameters of a PostgreSQL URL that would be printed with it."""
_PG_SETTINGS = ("authentication failed", "no password supplied", "does not exist", "permission denied", "pg_hba.conf")

RESTORE = (
    "Restore it from a backup. Without one, set it aside and run the same plan again with a new journal: disks that "
    "were copied are recognised by their fingerprints and not copied twice."
)


def open_engine(config: JournalConfig) -> Engine:
    """The journal's database, made if it is not there, checked to be ours and of this schema.

    Raises InputInvalid for a wrong URL, a damaged file or a newer schema; TransientError when it does not answer.
    """
    url = _url(config)
    name = url.render_as_string(hide_password=True)
    logger.debug("opens the journal %s", name)
    engine = _sqlite(url, name) if url.get_backend_name() == "sqlite" else _postgresql(url, name)
    try:
        with translated(name):
            with engine.connect() as db:
                _check(db, name)
                whole = set(inspect(db).get_table_names()).issuperset(table.name for table in LATER)
            if not whole:
                _complete(engine, name)
    except KubeferryError:
        engine.dispose()
        raise
    return engine


def exists(config: JournalConfig) -> bool:
    """Whether there may be a journal to ask: False only for a file that is not there."""
    url = _url(config)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Database errors as ours. `name` is the journal's URL without its password."""
    try:
        yield
    except DBAPIError as error:
        raise _meaning(error, name) from error
    except SQLAlchemyError as error:  # no connection became free in time, say
        raise _silent(name, f"{type(error).__name__}: {error}") from error
    except (
        UnicodeDecodeError
    ) as error:  # SQLite quotes the damaged bytes in its message, and the driver trips over them
        raise damaged(name, "it holds bytes that are no text") from error


def clock(db: Connection) -> datetime:
    """The time that all runners of this journal share: the server's where there is one."""
    if db.dialect.name == "postgresql":
        now: datetime = db.execute(select(func.clock_timestamp())).scalar_one()
        return now.astimezone(UTC)
    return host_clock.moment()


def iso(moment: datetime) -> str:
    """UTC, ISO 8601, milliseconds, `Z`: sorts as it reads."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- the URL -----------------------------------------------------------------------------------------------------


def _url(config: JournalConfig) -> URL:
    try:
        url = make_url(config.url)
    except ArgumentError as error:
        raise _invalid(
            "it is not a database URL", "Write sqlite:///FILE or postgresql://USER@HOST/DATABASE."
        ) from error
    if url.password is not None or not SECRETS.isdisjoint(url.query) or carried(config.url):
        raise _invalid(
            "it holds a password", "Take it out, put it into an environment variable, name that in passwordEnv."
        )
    backend = url.get_backend_name()
    if backend == "sqlite":
        if url.database in {None, "", ":memory:"} or url.query:
            raise _invalid("it names no plain file", "Write sqlite:///FILE: a journal outlives the process.")
        return url.set(drivername="sqlite+pysqlite")
    if backend != "postgresql":
        raise _invalid(f"{backend} is not supported", "Use sqlite:///FILE or postgresql://USER@HOST/DATABASE.")
    return url.set(drivername="postgresql+psycopg", password=_password(config))


def _password(config: JournalConfig) -> str | None:
    if config.password_env is None:
        return None
    password = os.environ.get(config.password_env)
    if password is None:
        raise _invalid(
            f"the environment has no {config.password_env}",
            f"Set {config.password_env} to the journal's password.",
            where="journal.passwordEnv",
        )
    return password


def _invalid(what: str, fix: str, where: str = "journal.url") -> InputInvalid:
    return InputInvalid("the journal's settings are wrong", [Problem(where, what, fix)])


# --- SQLite ------------------------------------------------------------------------------------------------------


def _sqlite(url: URL, name: str) -> Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create_file(path, name)
        if path.is_file() and path.stat().st_size == 0:
            raise damaged(name, "the file is empty")
        _keep_private(path)
    except OSError as error:
        raise InputInvalid(
            "the journal cannot be opened",
            [Problem(str(path), error.strerror or str(error), "Check the path and its permissions.")],
        ) from error
    return _sqlite_engine(url)


def _keep_private(path: Path) -> None:
    """A journal of an earlier version may be read by everybody, as a umask had it: that ends when it is opened. A group
    that may write was let in by somebody, and stays."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(OSError):  # another one's file
            mode = stat.S_IMODE(file.stat().st_mode)
            private = mode & (0o770 if mode & 0o020 else 0o700)
            if file.is_file() and private != mode:
                file.chmod(private)


def _create_file(path: Path, name: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    engine = _sqlite_engine(URL.create("sqlite+pysqlite", database=str(draft)))
    try:
        # For its owner alone, as what a guest said is; SQLite gives the files beside it the same mode.
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        with translated(name):
            with writing(engine) as db:
                _create_tables(db)
            engine.dispose()
        with contextlib.suppress(FileExistsError):  # another first run was quicker, and its file is as good
            os.link(draft, path)
    finally:
        engine.dispose()
        draft.unlink(missing_ok=True)


def _sqlite_engine(url: URL) -> Engine:
    # As many connections as threads: what waits, waits for its turn to write, which has a deadline of its own.
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, max_overflow=-1, hide_parameters=True)
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_sqlite_begin`, not guessed by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(db: Connection) -> None:
    # A transaction that reads first and writes later fails under contention; a writer takes its turn at once.
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get(WRITES) else "BEGIN")


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed at the end of the block, or not at all."""
    with engine.execution_options(**{WRITES: True}).begin() as db:
        yield db


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment, however many questions it asks."""
    snapshot = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.execution_options(**snapshot).begin() as db:
        yield db


# --- PostgreSQL --------------------------------------------------------------------------------------------------


def _postgresql(url: URL, name: str) -> Engine:
    engine = create_engine(
        url,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "kubeferry",
            "options": " ".join(f"-c {setting}" for setting in _PG_SESSION),
            "keepalives_idle": CONNECT_SECONDS,
            "keepalives_interval": CONNECT_SECONDS // 2,
            "keepalives_count": 4,
            "tcp_user_timeout": BUSY_SECONDS * 1000,
        },
        pool_pre_ping=True,
        hide_parameters=True,
    )
    from kubeferry.journal import silence  # psycopg takes its time, and a file needs none

    event.listen(engine, "do_connect", silence.connect)
    try:
        with translated(name), writing(engine) as db:
            _one_at_a_time(db)
            _create_tables(db)
    except KubeferryError:
        engine.dispose()
        raise
    return engine


# --- schema ------------------------------------------------------------------------------------------------------


def _one_at_a_time(db: Connection) -> None:
    """Two first runs make the tables one after the other; SQLite has one writer anyway."""
    if db.dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(hashtext('kubeferry_meta'))"))


def _create_tables(db: Connection) -> None:
    if inspect(db).has_table(META.name):
        return
    METADATA.create_all(db)
    try:
        ours = metadata.version("kubeferry")
    except metadata.PackageNotFoundError:
        ours = "unknown"
    db.execute(META.insert().values(schema_version=VERSION, created_at=iso(clock(db)), created_by=ours))


def _complete(engine: Engine, name: str) -> None:
    """What came after the first version of the schema, and what an earlier kubeferry does not look at. Where this user
    may not make that, or not write at all, the journal does without it."""
    try:
        with writing(engine) as db:
            _one_at_a_time(db)
            for table in LATER:
                table.create(db, checkfirst=True)
            for index in INDEXES:
                index.create(db, checkfirst=True)
            db.execute(text(TURNS_INDEX))
    except DBAPIError as error:
        if not _may_not(error.orig):
            raise
        logger.info("%s stays without what came later: %s", name, error.orig)


def _may_not(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _REFUSED
    return getattr(error, "sqlstate", None) in _PG_MAY_NOT


def _check(db: Connection, name: str) -> None:
    if db.dialect.name == "sqlite":
        found = db.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        if found != "ok":
            raise damaged(name, str(found))
    if not inspect(db).has_table(META.name):
        raise InputInvalid(
            "this database is not a journal",
            [Problem(name, "it has tables, but none of a journal", "Name another file for the journal.")],
        )
    version = db.execute(select(func.max(META.c.schema_version))).scalar_one()
    if version is None:
        raise damaged(name, "its schema version is missing")
    if version > VERSION:
        raise InputInvalid(
            "the journal was written by a newer kubeferry",
            [
                Problem(
                    name, f"schema {version}; this version reads {VERSION}", "Use the newer kubeferry for this journal."
                )
            ],
        )


# --- what errors mean --------------------------------------------------------------------------------------------


def damaged(name: str, why: str) -> InputInvalid:
    """The error for a journal that cannot be read as one."""
    return InputInvalid("the journal is damaged", [Problem(name, why, RESTORE)])


def _meaning(error: DBAPIError, name: str) -> KubeferryError:
    reason = str(error.orig).strip()
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_meaning(getattr(error.orig, "sqlite_errorcode", None), reason, name)
    if getattr(error.orig, "sqlstate", None) is None and not error.connection_invalidated:
        if any(hint in reason for hint in _PG_SETTINGS):
            return InputInvalid(
                "the journal cannot be opened",
                [
                    Problem(
                        name, reason, "Check the URL, the database, the user and the variable that passwordEnv names."
                    )
                ],
            )
        return _silent(name, reason)
    if getattr(error.orig, "sqlstate", None) == _PG_DISK_FULL:
        return _full(name, reason)
    if error.connection_invalidated or isinstance(error, OperationalError):
        return _silent(name, reason)
    return PermanentError("the journal refused a write", why=reason, fix="Report this as a bug.")


def _silent(name: str, reason: str) -> TransientError:
    return TransientError(
        "the journal does not answer",
        why=f"{name}: {reason}",
        fix="See that its database runs and can be reached, then run the same command again.",
    )


def _full(name: str, reason: str) -> TransientError:
    """Nothing is wrong with the machines: they stay where they are, and nobody goes back because of it."""
    return TransientError(
        "the journal cannot be written",
        why=f"{name}: {reason}",
        fix="Make room on its disk and run the same command again: it goes on from here.",
    )


def _sqlite_meaning(code: int | None, reason: str, name: str) -> KubeferryError:
    primary = None if code is None else code & 0xFF
    if primary is None or primary in _DAMAGED:  # without a code: the driver could not decode a column
        return damaged(name, reason)
    if primary in _BUSY:
        return _silent(name, reason)
    if primary in _REFUSED:
        return InputInvalid(
            "the journal cannot be opened",
            [Problem(name, reason, "Check the path, its permissions and those of its folder.")],
        )
    if primary in _NO_ROOM:
        return _full(name, reason)
    return PermanentError("the journal refused a write", why=reason, fix="Report this as a bug.")
