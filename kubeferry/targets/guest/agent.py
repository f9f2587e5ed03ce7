"""The QEMU guest agent: questions to the system inside a running machine, through its virtio-serial channel.

What comes back was made by the guest: it is bounded, and only ever shown as text.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kubeferry.errors import TargetUnavailable
from kubeferry.inside.agent import Ask
from kubeferry.targets.guest import channel

ANSWER_SECONDS = 5.0
FILE_LIMIT_BYTES = 64 * 1024
STALE_LIMIT = 100
TEXT_LIMIT = 200
TERMINAL_SEQUENCE = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]")


class AgentRefused(TargetUnavailable):
    """The agent answered a command with an error."""


class Agent:
    """An agent that answers. Every method raises TargetUnavailable when it no longer does."""

    def __init__(self, link: channel.Channel) -> None:
        self._link = link

    def synchronize(self) -> None:
        """Drop what earlier talks left in the channel: a fresh number, until the agent says it back."""
        number = secrets.randbelow(2**31)
        self._link.send({"execute": "guest-sync-delimited", "arguments": {"id": number}}, prefix=b"\xff")
        for _ in range(STALE_LIMIT):
            if self._link.receive().get("return") == number:
                return
        raise TargetUnavailable("the guest agent does not synchronize")

    def command(self, name: str, **arguments: object) -> Any:
        """What the command returns. Raises AgentRefused with the agent's own words."""
        self._link.send({"execute": name, **({"arguments": arguments} if arguments else {})})
        answer = self._link.receive()
        if "error" in answer:
            error = answer["error"]
            words = error.get("desc", "") if isinstance(error, dict) else error
            raise AgentRefused(f"the guest agent refused {name}", why=printable(words))
        return answer.get("return")

    def ask(self, command: str, **arguments: object) -> Any:
        """The same; None where the agent refuses."""
        with contextlib.suppress(AgentRefused):
            return self.command(command, **arguments)
        return None

    def ping(self) -> None:
        self.command("guest-ping")

    def read_file(self, path: str, limit: int = FILE_LIMIT_BYTES) -> bytes:
        """The first `limit` bytes of a file of the guest."""
        handle = self.command("guest-file-open", path=path, mode="r")
        try:
            return self._read(handle, limit)
        finally:
            self.command("guest-file-close", handle=handle)

    def _read(self, handle: object, limit: int) -> bytes:
        content = b""
        while len(content) < limit:
            part = self.command("guest-file-read", handle=handle, count=limit - len(content))
            data = _decoded(part)
            content += data
            if not data or part.get("eof"):
                break
        return content[:limit]

    def facts(self) -> dict[str, str]:
        """What the agent says of its system: system, kernel, hostname, addresses, agent version. What it does not
        know is left out."""
        found: dict[str, str] = {}
        for name, read in _FACTS.items():
            with contextlib.suppress(AgentRefused):
                found |= read(self.command(name))
        return {key: printable(value) for key, value in found.items() if value}


def printable(text: object, limit: int = TEXT_LIMIT) -> str:
    """One line of what a guest said, without colours and control characters, at most `limit` characters."""
    words = " ".join(TERMINAL_SEQUENCE.sub("", str(text)).split())
    clean = "".join(letter if letter.isprintable() else "?" for letter in words)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _decoded(part: object) -> bytes:
    try:
        return base64.b64decode(part["buf-b64"]) if isinstance(part, dict) else b""
    except (KeyError, TypeError, binascii.Error) as error:
        raise TargetUnavailable("the guest agent sent a file in a form that cannot be read") from error


def _system(said: Any) -> dict[str, str]:
    return {
        "system": str(said.get("pretty-name") or said.get("name") or ""),
        "kernel": str(said.get("kernel-release") or ""),
        "machine": str(said.get("machine") or ""),
    }


def _addresses(said: Any) -> dict[str, str]:
    found = [
        f"{card.get('name')} {address.get('ip-address')}"
        for card in said
        for address in card.get("ip-addresses") or ()
        if card.get("name") != "lo"
    ]
    return {"addresses": ", ".join(found)}


_FACTS: dict[str, Callable[[Any], dict[str, str]]] = {
    "guest-get-osinfo": _system,
    "guest-get-host-name": lambda said: {"hostname": str(said.get("host-name") or "")},
    "guest-network-get-interfaces": _addresses,
    "guest-info": lambda said: {"agent": str(said.get("version") or "")},
}


def asking(path: Path) -> Ask:
    """One command at a time to the agent at this socket, each over a connection of its own; None where it refuses, and
    while none answers."""

    def ask(command: str, **arguments: object) -> Any:
        with contextlib.suppress(TargetUnavailable), connect(path) as talk:
            return talk.command(command, **arguments)
        return None

    return ask


@contextlib.contextmanager
def connect(path: Path, timeout: float = ANSWER_SECONDS) -> Iterator[Agent]:
    """A synchronized agent for as long as the block lasts. Raises TargetUnavailable while none answers."""
    with channel.connect(path, timeout) as link:
        agent = Agent(link)
        agent.synchronize()
        yield agent
