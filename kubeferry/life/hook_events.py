"""What is said of a hook that was run: an event like the others (`kubeferry.life.events`)."""

from __future__ import annotations

from typing import Literal

from kubeferry.documents.hooks import HookPhase
from kubeferry.life.event_kinds import EventKind
from kubeferry.model import Seconds, Value


class HookRun(Value):
    """A hook was run, and has come to its end: `ok`, or `why` not. `of_app` is the app whose hook it is, empty for
    one of the machine's own. `code` is the exit code of a program, or the status of an HTTP answer; None where there
    was none. `said` is the end of what it printed, or of the answer, without what is known to be a secret. `call` tells
    this run's hook from the same one in another cutover, and is the same where it is run again in this one."""

    kind: Literal[EventKind.HOOK_RUN] = EventKind.HOOK_RUN
    hook: str
    phase: HookPhase
    how: Literal["command", "http", "guest"]
    of_app: str = ""
    ok: bool
    code: int | None = None
    seconds: Seconds = 0
    said: str = ""
    why: str = ""
    call: str = ""
