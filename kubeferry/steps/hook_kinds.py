"""How a hook is run, one function a kind: a program of this host, a call by HTTP, a program of the guest.

Each comes to its end in the time that it is given, whatever becomes of the other side. What is kept of what was said is
its end, without what is known to be a secret.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kubeferry import __version__
from kubeferry.documents import Hook
from kubeferry.documents.notify import address_problem
from kubeferry.errors import KubeferryError, ToolMissing
from kubeferry.inside import programs
from kubeferry.inside.agent import Ask
from kubeferry.life.hooks import Call
from kubeferry.outside import posting, process, stopping
from kubeferry.outside.struck import without_secrets
from kubeferry.passwords import STRUCK
from kubeferry.words import plain_lines

SAID_SIGNS = 2000
"""So much is kept of what a hook printed, or was answered: the end of it."""
OUTPUT_BYTES = 8 << 20
"""A program that prints more is ended: nobody keeps it."""
GRACE_SECONDS = 2.0
POLL_SECONDS = 0.05
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a hook: see `kubeferry.life.hook_events.HookRun`."""

    ok: bool
    code: int | None = None
    said: str = ""
    why: str = ""


def by_command(hook: Hook, call: Call, seconds: float) -> Heard:
    """Run a program of this host, in its own session, with our environment and what the call says. It gets TERM and
    then KILL where it does not end in time, or somebody asks to stop."""
    argv = hook.argv or ()
    with tempfile.TemporaryDirectory(prefix="kubeferry-hook-") as folder:
        log = Path(folder) / "output"
        try:
            with process.child(argv, log=log, env=call.environment, grace=GRACE_SECONDS) as running:
                why = _awaited(running, log, seconds)
                code = running.poll()
        except (ToolMissing, OSError) as error:
            told = error.what if isinstance(error, ToolMissing) else (error.strerror or str(error))
            return Heard(ok=False, why=f"it cannot be started: {told}")
        said = _end_of(log)
    if not why and code:
        why = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
    return Heard(ok=not why, code=None if why and code is None else code, said=said, why=why)


def _awaited(running: process.Child, log: Path, seconds: float) -> str:
    """Why a program is ended before it does so by itself; empty where it has ended."""
    limit = time.monotonic() + seconds
    while running.poll() is None:
        if time.monotonic() >= limit:
            return f"it did not end within {seconds:g} s"
        if log.stat().st_size > OUTPUT_BYTES:
            return f"it printed more than {OUTPUT_BYTES >> 20} MiB"
        stopping.pause(POLL_SECONDS)
    return ""


def _end_of(log: Path) -> str:
    with log.open("rb") as output:
        output.seek(max(0, log.stat().st_size - 8 * SAID_SIGNS))  # more than is kept: no secret is cut in two
        return output.read().decode(errors="replace")


def by_http(hook: Hook, call: Call, seconds: float, environ: Mapping[str, str] = os.environ) -> Heard:
    """POST the call as JSON. `Idempotency-Key` is the call's own, the same each time. Time is all in all, the name's
    look-up and a body that drips included."""
    address = (hook.url or environ.get(hook.url_env or "", "")).strip()
    if problem := _unset(hook, environ) or address_problem(address):
        return Heard(ok=False, why=problem)
    given = {name: environ[variable] for name, variable in (hook.headers_env or {}).items()}
    if hook.token_env:
        given["Authorization"] = f"Bearer {environ[hook.token_env].strip()}"
    sent = {
        **given,
        "Content-Type": "application/json; charset=utf-8",
        "Idempotency-Key": call.call,
        "User-Agent": f"kubeferry/{__version__}",
    }
    data = json.dumps(call.body(), ensure_ascii=False).encode()
    return _within(seconds, lambda: _posted(address, data, sent, seconds))


def _posted(address: str, data: bytes, sent: Mapping[str, str], seconds: float) -> Heard:
    try:
        answer = posting.post(address, data, sent, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Heard(ok=False, why=posting.in_words(error, address, seconds))
    told = f"{answer.status} {answer.reason}".strip()
    if answer.leads_elsewhere:
        told += ": it leads elsewhere, and no redirect is followed"
    return Heard(ok=answer.took, code=answer.status, said=answer.body, why="" if answer.took else f"it answered {told}")


def _within(seconds: float, ask: Callable[[], Heard]) -> Heard:
    """What it hears, in a thread that nobody waits for any longer. Raises Interrupted when somebody asks to stop."""
    heard: queue.SimpleQueue[Heard | BaseException] = queue.SimpleQueue()

    def asked() -> None:
        try:
            heard.put(ask())
        except BaseException as error:  # noqa: BLE001 (it is raised by who waits)
            heard.put(error)

    threading.Thread(target=asked, name="hook", daemon=True).start()
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        with contextlib.suppress(queue.Empty):
            found = heard.get(timeout=min(POLL_SECONDS, seconds))
            if isinstance(found, BaseException):
                raise found
            return found
        stopping.check()
    return Heard(ok=False, why=f"no answer within {seconds:g} seconds")


def by_guest(hook: Hook, call: Call, seconds: float, ask: Ask, *, windows: bool) -> Heard:
    """Have the guest's agent run a program of its own. Raises what the way to the agent raises."""
    ended = programs.run(ask, hook.argv or (), call.environment, seconds, windows=windows)
    return Heard(ok=not ended.why, code=ended.code, said=ended.said, why=ended.why)


# --- what may be kept ------------------------------------------------------------------------------------------------


def kept(heard: Heard, hook: Hook, environ: Mapping[str, str] = os.environ) -> Heard:
    """What of it may stand in a journal and on pages: bounded, and without secrets."""
    said = _clean(heard.said.strip(), hook, environ)
    if len(said) > SAID_SIGNS:
        said = f"…{said[-(SAID_SIGNS - 1) :]}"
    return replace(heard, said=said, why=_clean(heard.why, hook, environ)[:SAID_SIGNS])


def _clean(text: str, hook: Hook, environ: Mapping[str, str]) -> str:
    secrets = (environ.get(name, "").strip() for name in hook.variables)
    for secret in sorted((one for one in secrets if len(one) >= _SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(secret, STRUCK)
    return plain_lines(without_secrets(text))


# --- before anything is touched --------------------------------------------------------------------------------------


def hindrances(hook: Hook, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """What keeps a hook from being run here, in words that go on a sentence about it."""
    if unset := _unset(hook, environ):
        yield unset
    elif hook.url_env and (problem := address_problem(environ[hook.url_env].strip())):
        yield f"{hook.url_env} holds no address: {problem}"
    if hook.kind == "command" and hook.argv:
        with _told() as told:
            process.require(hook.argv[0])
        yield from told


def _unset(hook: Hook, environ: Mapping[str, str]) -> str:
    missing = [name for name in hook.variables if not environ.get(name, "").strip()]
    return f"the environment has no {', '.join(missing)}" if missing else ""


@contextlib.contextmanager
def _told() -> Iterator[list[str]]:
    told: list[str] = []
    try:
        yield told
    except KubeferryError as error:
        told.append(error.what)
