"""A Prefect server of our own for the length of a command, where the user has none.

It listens on loopback only, keeps its database in a folder of ours, sends nothing anywhere, and ends with the block.
With `PREFECT_API_URL` set, the user's own server is used and nothing is started. A run that moves machines waits for
neither (`prefect_api`); who wants the server itself does (`local_server`).
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.serving.ports import free_port, holder, is_free
from kubeferry.errors import InputInvalid, KubeferryError, Problem, TargetUnavailable
from kubeferry.outside import stopping
from kubeferry.outside.process import Child, child

logger = logging.getLogger(__name__)

START_SECONDS = 180.0
HAND_IN_SECONDS = 20.0

# For the client side, whoever's server it is: tracebacks belong in the UI, not on a terminal; and since the client's
# waits double without a cap, it tries a few times only: who shows a run asks again himself.
CLIENT_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLIENT_MAX_RETRIES": "3",
    "PREFECT_API_REQUEST_TIMEOUT": "15",
}
# Analytics off; heartbeat of runs on, since an operator wants to see a dead one. Lease storage on disk: in memory,
# slots of a limit stay taken for good after a restart of the server (seen on 3.8.8).
SETTINGS = {
    **CLIENT_SETTINGS,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "PREFECT_LOGGING_COLORS": "false",  # both speak into a file
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_CLI_PROMPT": "false",
}


@dataclass(frozen=True, slots=True)
class Api:
    """The address of a Prefect API; empty where there is none, and `why`. `server` is the one of our own, if it is."""

    url: str
    server: Child | None = None
    why: str = ""

    def answers(self) -> bool:
        """Whether somebody answers there now, whatever he says; asked for two seconds."""
        return bool(self.url) and _answers(f"{self.url}/health")

    def ended(self) -> bool:
        """Whether nobody will: there is none, or our own has ended."""
        return not self.url or (self.server is not None and self.server.poll() is not None)

    def wait(self, seconds: float) -> str:
        """Wait until it answers; why it does not, empty where it does. Raises Interrupted."""
        limit = time.monotonic() + seconds
        while not self.ended() and time.monotonic() < limit:
            if self.answers():
                return ""
            stopping.pause(0.2)
        said = self.server.tail().strip().splitlines() if self.server else []
        return self.why or (said[-1] if said else "nobody answers there")

    def hand_in(self) -> None:
        """Send what Prefect's client still holds, logs and events, while the server is there to take it.

        Left to the end of the process, it would wait for a server that is gone, through all its retries. What the
        client makes of it ends no run.
        """
        if "prefect" not in sys.modules or not self.url:
            return
        try:
            from prefect.events.worker import EventsWorker
            from prefect.logging.handlers import APILogWorker

            for worker in (APILogWorker, EventsWorker):
                worker.drain_all(timeout=HAND_IN_SECONDS, at_exit=False)
        except Exception as error:  # noqa: BLE001 (it is a display)
            logger.info("Prefect was not handed what was left: %s: %s", type(error).__name__, error)


@contextlib.contextmanager
def prefect_api(home: Path) -> Iterator[Api]:
    """A Prefect API, the user's or one of our own, and this process pointed at it; nobody has looked yet whether it
    answers. Prefect must not have been imported before. One that cannot be started is none: no error."""
    with contextlib.ExitStack() as held:
        given = os.environ.get("PREFECT_API_URL")
        if given:
            held.enter_context(_environment(CLIENT_SETTINGS))
            api = Api(given)
        else:
            try:
                api = Api(*held.enter_context(_begun(home, free_port())))
            except (KubeferryError, OSError) as error:
                api = Api("", why=str(error).splitlines()[0])
        yield api


@contextlib.contextmanager
def local_server(home: Path, *, port: int | None = None) -> Iterator[str]:
    """Start a server on loopback with its data in `home`; yields its API address once it answers.

    Raises InputInvalid where the port is taken, with who has it.
    """
    port = port or free_port()
    _refuse_taken(port)
    with _begun(home, port) as (url, server):
        _wait_until_healthy(server, url, port)
        try:
            yield url
        finally:
            Api(url, server).hand_in()


@contextlib.contextmanager
def _begun(home: Path, port: int) -> Iterator[tuple[str, Child]]:
    """A server that begins to start, and this process pointed at it."""
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}/api"
    settings = {**SETTINGS, "PREFECT_HOME": str(home), "PREFECT_API_URL": url, "PREFECT_SERVER_UI_API_URL": url}
    command = [sys.executable, "-m", "flows.serving.program", "start", "--host", "127.0.0.1", "--port", str(port)]
    with child(command, log=home / "server.log", env=settings) as server, _environment(settings):
        yield url, server


def _refuse_taken(port: int) -> None:
    try:
        if is_free(port):
            return
        who = holder(port)
        what = f"{who} listens on port {port}" if who else f"port {port} is taken, by whom cannot be seen"
        fix = f"End it (kill {who.pid}), or name another port with --port." if who else "Name another one with --port."
    except PermissionError:
        what, fix = f"port {port} is not for this user", "Name one above 1023 with --port."
    raise InputInvalid("the server cannot listen there", [Problem(f"--port {port}", what, fix)])


def _wait_until_healthy(server: Child, url: str, port: int) -> None:
    limit = time.monotonic() + START_SECONDS
    while True:
        healthy = _healthy(url)
        if server.poll() is not None:  # whoever answers there, it is not ours
            _refuse_taken(port)
            raise server.failed()
        if healthy:
            return
        if time.monotonic() > limit:
            raise TargetUnavailable(
                f"the Prefect server did not answer within {START_SECONDS:.0f} s",
                why=server.tail().strip().splitlines()[-1] if server.tail().strip() else "it printed nothing",
                fix=f"Look at {server.log}, or point PREFECT_API_URL at a server that runs.",
            )
        stopping.pause(0.2)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310 (loopback, our own address)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _answers(url: str) -> bool:
    """A certificate that we do not know, and an answer that refuses, come from somebody who is there."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 (the address that the user gave)
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError, http.client.HTTPException):
        return False


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
