"""A guest agent that runs real programs, of this host: it speaks guest-ping, guest-info, guest-exec and its status, and
nothing else. A program is looked for as an agent does, by its own search path."""

from __future__ import annotations

import base64
import itertools
import subprocess
from typing import Any

from kubeferry.targets.guest.agent import AgentRefused


class HostAgent:
    """See `kubeferry.inside.agent.Ask`. `silent` is how often it does not answer before it does; `asked` are the
    commands that were put to it."""

    def __init__(self, silent: int = 0, *, executes: bool = True) -> None:
        self.silent, self.executes = silent, executes
        self.asked: list[str] = []
        self.started: dict[int, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)

    def __call__(self, command: str, **arguments: Any) -> Any:
        self.asked.append(command)
        if self.silent:
            self.silent -= 1
            return None
        try:
            return getattr(self, command.replace("-", "_"))(**arguments)
        except (AgentRefused, OSError):
            return None

    def guest_ping(self) -> dict[str, object]:
        return {}

    def guest_info(self) -> dict[str, object]:
        return {"supported_commands": [{"name": "guest-exec", "enabled": self.executes}]}

    def guest_exec(self, path: str, arg: list[str], env: list[str], **capture: bool) -> dict[str, int]:
        assert capture == {"capture-output": True}
        given = dict(one.split("=", 1) for one in env)
        number = next(self._numbers)
        self.started[number] = subprocess.Popen(
            [path, *arg], env=given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        return {"pid": number}

    def guest_exec_status(self, pid: int) -> dict[str, object]:
        process = self.started[pid]
        if process.poll() is None:
            return {"exited": False}
        out, err = process.communicate()
        told = {"exited": True, "out-data": base64.b64encode(out).decode(), "err-data": base64.b64encode(err).decode()}
        return told | ({"signal": -process.returncode} if process.returncode < 0 else {"exitcode": process.returncode})

    def close(self) -> None:
        for process in self.started.values():
            process.kill()
            process.communicate()
