"""The only place that starts programs.

`run` waits for a short program, `show` for one that speaks to the terminal. `child` owns a long one for as long as a
`with` block lasts. `detached` starts one that must outlive the caller, and leaves its pid in a file, `beside` one that
the caller collects by itself. All of them close standard input, name the whole command when it fails, and never put a
secret on a command line (a secret goes through `env`, a file, or standard input).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import KubeferryError, ToolMissing

OUTPUT_TAIL_BYTES = 4000

logger = logging.getLogger(__name__)

# Debian packages of the programs that kubeferry starts: a missing one is named with what brings it.
PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "nbdkit": "nbdkit",
    "nbdcopy": "libnbd-bin",
    "virsh": "libvirt-clients",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that has ended: its exit code and what it printed."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str


class ProgramFailed(KubeferryError):
    """A program ended with an error. `completed` holds what it printed."""

    def __init__(self, completed: Completed, *, fix: str = "") -> None:
        self.completed = completed
        said = _said(completed)
        super().__init__(
            f"{Path(completed.argv[0]).name} ended with {_ending(completed.code)}",
            why=said or "it printed nothing",
            fix=fix or f"Try the command by hand: {shlex.join(completed.argv)}",
        )


def _said(completed: Completed) -> str:
    return _tail(completed.err or completed.out)


def _tail(text: str) -> str:
    return text.strip()[-OUTPUT_TAIL_BYTES:]


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def require(*programs: str) -> None:
    """Raise ToolMissing unless every program is on the search path."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = sorted({PACKAGES.get(program, program) for program in missing})
        raise ToolMissing(f"not installed: {', '.join(missing)}", fix=f"apt-get install {' '.join(packages)}")


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> Completed:
    """Run a program to its end. `timeout` is in seconds; `env` is added to ours.

    Raises ProgramFailed where `check` is set and it ends with an error, or when it takes too long; ToolMissing when it
    is not there.
    """
    logger.debug("runs %s", shlex.join(argv))
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=_environment(env),
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError:
        require(argv[0])
        raise
    except subprocess.TimeoutExpired as late:
        said = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else (late.stderr or "")
        raise ProgramFailed(
            Completed(tuple(argv), -signal.SIGKILL, "", f"{said}\nit did not end within {timeout} s")
        ) from late
    completed = Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
    if completed.code:  # what it has printed may be what was asked for, and a secret
        logger.debug("%s ended with %s: %s", argv[0], _ending(completed.code), _tail(completed.err))
    if check and completed.code:
        raise ProgramFailed(completed)
    return completed


def show(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run a program that speaks to the person at the terminal itself; returns its exit code.

    Ctrl-C reaches it as it reaches us: we wait for its orderly end.
    """
    require(argv[0])
    process = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, env=_environment(env))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def beside(argv: Sequence[str]) -> int:
    """Start a program that speaks where we do; returns its pid at once. Its end is the caller's to collect."""
    require(argv[0])
    process = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL)
    process.returncode = 0  # nobody but the caller waits for it
    return process.pid


@contextlib.contextmanager
def child(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, grace: float = 5) -> Iterator[Child]:
    """A program that lives as long as the block, and is ended (TERM, then KILL after `grace` seconds) with it.

    The kernel ends it too when the thread that started it dies, so that a kill -9 of ours leaves nothing running. Its
    output goes to `log`, never to ours: an inherited pipe would hide the end of our own process from whoever waits.
    """
    require(argv[0], "setpriv")
    logger.debug("starts %s, its output goes to %s", shlex.join(argv), log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(env),
            start_new_session=True,
        )
    owned = Child(tuple(argv), process, log)
    try:
        yield owned
    finally:
        owned.end(grace)


class Child:
    """A running program that belongs to a `child` block."""

    def __init__(self, argv: tuple[str, ...], process: subprocess.Popen[bytes], log: Path) -> None:
        self.argv = argv
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait at most `seconds`; its exit code, None if it still runs."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def tail(self) -> str:
        """The last lines it printed."""
        return self.log.read_text(errors="replace")[-OUTPUT_TAIL_BYTES:]

    def failed(self) -> ProgramFailed:
        """The error to raise for its exit code."""
        return ProgramFailed(Completed(self.argv, self._process.poll() or 0, "", self.tail()))

    def end(self, grace: float) -> None:
        """End it and everything in its session."""
        if self._process.poll() is None:
            end_group(self._process.pid, grace, self.poll)
        self._process.wait()


# Those that we started ourselves: somebody must collect their exit codes for as long as we live.
_started: dict[int, subprocess.Popen[bytes]] = {}


def detached(
    argv: Sequence[str], *, pidfile: Path, log: Path, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> int:
    """Start a program that outlives us; its pid is in `pidfile` before this returns. Returns the pid. `stdin` is a
    secret, of no more than a pipe holds."""
    require(argv[0])
    logger.debug("starts %s to outlive us, its output goes to %s", shlex.join(argv), log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(env),
            start_new_session=True,
        )
    pidfile.write_text(f"{process.pid}\n")
    if process.stdin is not None and stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin:  # it has ended, and its log says why
            process.stdin.write(stdin.encode())
    _collect()
    _started[process.pid] = process
    return process.pid


def end_detached(pidfile: Path, *, program: str, grace: float = 10) -> bool:
    """End what `detached` started, if it still runs and still is `program`. Returns whether it was running."""
    pid = alive(pidfile, program=program)
    if pid is not None:
        end_group(pid, grace, lambda: None if _is_program(pid, program) else 0)
        if (ours := _started.get(pid)) is not None:
            ours.wait()
    _collect()
    pidfile.unlink(missing_ok=True)
    return pid is not None


def _collect() -> None:
    """Take the exit codes of those that have ended, by themselves as well: the dead would pile up beside a long run."""
    for pid, process in list(_started.items()):
        if process.poll() is not None:
            _started.pop(pid, None)


@atexit.register
def _let_go() -> None:
    """Those that run on when we end are meant to: no leak, of which Python would warn."""
    _collect()
    for process in _started.values():
        process.returncode = 0


def alive(pidfile: Path, *, program: str) -> int | None:
    """The pid in `pidfile` if that process runs and is `program`; a pid since given to another program is none."""
    try:
        pid = int(pidfile.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if _is_program(pid, program) else None


def _is_program(pid: int, program: str) -> bool:
    try:
        command = _command_line(pid)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" and program.encode() in command


def _command_line(pid: int) -> bytes:
    """A process has no command line for a moment between its exec and the end of its loading: wait for it."""
    for _ in range(50):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if command:
            break
        time.sleep(0.002)
    return command


def end_group(pid: int, grace: float, ended: Callable[[], int | None]) -> None:
    """TERM to the process group of `pid`, KILL after `grace` seconds; `ended` gives None for as long as it runs."""
    _signal_group(pid, signal.SIGTERM)
    limit = time.monotonic() + grace
    while ended() is None and time.monotonic() < limit:
        time.sleep(0.02)
    if ended() is None:
        _signal_group(pid, signal.SIGKILL)
        limit = time.monotonic() + grace
        while ended() is None and time.monotonic() < limit:
            time.sleep(0.02)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _environment(extra: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if extra is None else {**os.environ, **extra}
