"""A program of a running guest, started and waited for by its agent."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubeferry.errors import TransientError
from kubeferry.inside.agent import Ask
from kubeferry.outside import stopping

POLL_SECONDS = 0.2
ANSWER_POLL_SECONDS = 1.0
LIMIT_BYTES = 64 * 1024
_UNIX = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_WINDOWS = {"PATH": r"C:\Windows\System32;C:\Windows", "SystemRoot": r"C:\Windows"}


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of it: its exit code and what it printed last, or `why` it has none."""

    code: int | None = None
    said: str = ""
    why: str = ""


def run(ask: Ask, argv: Sequence[str], env: Mapping[str, str], seconds: float, *, windows: bool = False) -> Ended:
    """Run it with these variables, and nothing of the agent's own but a search path, and wait for its end. An agent
    that does not answer yet is waited for. Time is all in all; a program that is not done then runs on in the guest,
    since an agent ends none.

    Raises Interrupted, and what the way to the agent raises before the program was started.
    """
    limit = time.monotonic() + seconds
    while ask("guest-ping") is None:
        if time.monotonic() >= limit:
            return Ended(why=f"the guest agent did not answer within {seconds:g} s")
        stopping.pause(min(ANSWER_POLL_SECONDS, max(0.0, limit - time.monotonic())))
    whole = {**(_WINDOWS if windows else _UNIX), **env}
    given = [f"{name}={value}" for name, value in whole.items()]
    begun = ask("guest-exec", path=argv[0], arg=list(argv[1:]), env=given, **{"capture-output": True})
    pid = begun.get("pid") if isinstance(begun, dict) else None
    if not isinstance(pid, int):
        return Ended(why="the guest agent starts no such program: it is not there, or the agent may start none")
    return _waited(ask, pid, limit, seconds)


def _waited(ask: Ask, pid: int, limit: float, seconds: float) -> Ended:
    while True:
        told = _status(ask, pid)
        if isinstance(told, dict) and told.get("exited"):
            return _ended(told)
        if time.monotonic() >= limit:
            return Ended(why=f"it did not end within {seconds:g} s, and may run on in the guest")
        stopping.pause(POLL_SECONDS)


def _status(ask: Ask, pid: int) -> object:
    """What the agent says of it; a way that is gone for a moment is no reason to start it once more."""
    try:
        return ask("guest-exec-status", pid=pid)
    except TransientError:
        return None


def _ended(told: dict[str, object]) -> Ended:
    said = "\n".join(filter(None, (_decoded(told.get("out-data")), _decoded(told.get("err-data")))))
    code, signal = told.get("exitcode"), told.get("signal")
    if isinstance(code, int):
        return Ended(code=code, said=said, why="" if code == 0 else f"it ended with exit code {code}")
    by = f"it was ended by signal {signal}" if isinstance(signal, int) else "it has no exit code"
    return Ended(said=said, why=by)


def _decoded(text: object) -> str:
    try:
        return base64.b64decode(text if isinstance(text, str) else "")[-LIMIT_BYTES:].decode("utf-8", "replace").strip()
    except (binascii.Error, ValueError):
        return ""
