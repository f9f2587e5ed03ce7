"""The exceptions of kubeferry: each says what happened, why, and what to do.

KubeferryError
├── HeldBack                  what it waits for has not moved; it is untouched 1, or 2
│   └── Deferred              its window is closed, or too short by now         1
├── TransientError            worth retrying as it is                          exit code 1
│   ├── SourceUnavailable     the hypervisor or cloud did not answer
│   ├── TargetUnavailable     the cluster or target folder did not answer
│   │   └── TargetBusy        it answered that it takes nothing yet; nothing was begun
│   └── Interrupted           somebody asked to stop: no failure                128 + the signal's number
└── PermanentError            the same call gives the same answer              exit code 2
    ├── InputInvalid          documents, options, settings: all problems at once
    ├── SourceRefused         the source has it, but it cannot be moved like this
    │   ├── SourceGone        it is not there any more, and never will be
    │   └── LoginLost         it does not let us in until a person mends that; nothing leads back meanwhile
    ├── TargetRefused         no room, not ours, not allowed
    ├── HostileImage          an image names files or sizes that it must not name
    ├── IntegrityFailed       bytes differ from their digest; never retried blindly
    ├── Fenced                another runner owns this machine now
    ├── ToolMissing           a program or library is not installed
    ├── OutOfTime             it cannot be done in the time that a cutover has
    ├── HookFailed            a hook of the plan failed, or did not end in its time
    │   └── LateHookFailed    so did one after the move's end: the machine has moved, or is back, all the same
    └── ProbeFailed           the target started, and is not what was asked for
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from kubeferry.words import plain_lines


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input. `where` is a place a person can go to: file:line, or a field's path."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.fix}"


def _bare(kind: type[KubeferryError], args: tuple[object, ...]) -> KubeferryError:
    made = kind.__new__(kind)
    made.args = args
    return made


class KubeferryError(Exception):
    """Base of all errors meant for a person. `why` and `fix` may be empty only where nothing is known.

    What a server, a guest or a name says in them commands no terminal, wherever they are shown or kept.
    """

    exit_code = 1
    transient = False

    def __init__(self, what: str, *, why: str = "", fix: str = "", machine: str = "", disk: str = "") -> None:
        self.what, self.why, self.fix = plain_lines(what), plain_lines(why), plain_lines(fix)
        super().__init__(self.what)
        self.machine = plain_lines(machine)
        self.disk = plain_lines(disk)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has what this one has, whatever its class asks for to be made."""
        return _bare, (type(self), self.args), self.__dict__

    @property
    def subject(self) -> str:
        """`machine`, `machine/disk` or nothing: what the error is about."""
        return "/".join(part for part in (self.machine, self.disk) if part)

    @property
    def reason(self) -> str:
        """What happened and why, for the middle of a sentence."""
        return f"{self.what}: {self.why}" if self.why else self.what

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.what}" if self.subject else self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class TransientError(KubeferryError):
    """The same call may succeed a moment later."""

    exit_code = 1
    transient = True


class SourceUnavailable(TransientError):
    """The hypervisor or cloud did not answer."""


class TargetUnavailable(TransientError):
    """The cluster or target folder did not answer."""


class TargetBusy(TargetUnavailable):
    """The target answered that it takes nothing at this moment. Nothing was begun."""


class Interrupted(TransientError):
    """Somebody stopped the run, which is no failure. Nothing is lost: the same command goes on.

    Its exit code is what shells give a program that was ended by this signal: 129 SIGHUP, 130 SIGINT, 143 SIGTERM.
    """

    exit_code = 128 + signal.SIGINT

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        fix: str = "",
        machine: str = "",
        disk: str = "",
        by: signal.Signals = signal.SIGINT,
    ) -> None:
        super().__init__(what, why=why, fix=fix, machine=machine, disk=disk)
        self.exit_code = 128 + by


class HeldBack(KubeferryError):
    """What the machine waits for has not moved, so nothing was done to it. `by` are those machines.

    Its exit code is 1 where they had their turn in the same run, and tell more by their own, and 2 where they had none:
    the same command gives the same answer then. `fix` (`settled_by`), where neither waiting nor insisting helps.
    """

    def __init__(self, why: str, *, machine: str, by: tuple[str, ...] = (), turn: bool = True, fix: str = "") -> None:
        super().__init__(
            f"it is held back: {why}",
            fix=fix
            or "Run the same command again once that is settled; or name it with --machine and say --out-of-order, "
            "which is recorded.",
            machine=machine,
        )
        self.by, self.why_held, self.settled_by = by, plain_lines(why), plain_lines(fix)
        self.exit_code = 1 if turn else 2


class Deferred(HeldBack):
    """The machine's window is closed, or what is left of it is too short: its source was left alone, and the same
    command moves it in a later opening. `until` is when the next one begins (UTC, ISO 8601), `opening` what it is in
    words; both empty where there is none any more."""

    def __init__(self, why: str, *, machine: str, until: str = "", opening: str = "") -> None:
        super().__init__(why, machine=machine)
        self.what = plain_lines(f"it is deferred: {why}{f'; it opens next {opening}' if opening else ''}")
        self.fix = (
            "Run the same command again then; what is moved warm is copied ahead at any time. To move a machine "
            "outside its window, name it with --machine and say --out-of-window with a reason, which is recorded."
            if opening
            else "Its window does not open any more: give it another one in the policy, and plan again."
        )
        self.until, self.opening = until, plain_lines(opening)


class PermanentError(KubeferryError):
    """The same call will give the same answer until somebody changes something."""

    exit_code = 2


class InputInvalid(PermanentError):
    """A document, option or setting is wrong. Carries every problem that was found."""

    def __init__(self, what: str, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(
            what,
            why="; ".join(f"{p.where}: {p.what}" for p in problems),
            fix=" ".join(
                dict.fromkeys(p.fix if p.fix.endswith((".", "?")) else f"{p.fix}." for p in problems if p.fix)
            ),
        )

    def __str__(self) -> str:
        return plain_lines("\n".join([self.what, *(f"  - {problem}" for problem in self.problems)]))


class SourceRefused(PermanentError):
    """The source is there, but this cannot be moved as asked."""


class SourceGone(SourceRefused):
    """The machine is not at its source any more: somebody has ended it. Nobody can start it again."""


class LoginLost(SourceRefused):
    """The source does not let us in (credentials ran out, a wrong clock): until somebody mends that, nothing can be
    done there, and no way back begun."""


class TargetRefused(PermanentError):
    """The target cannot take it: no room, not empty, not ours, not allowed."""


class AlreadyMoved(TargetRefused):
    """What is at the target is the machine itself: it has moved there, and this journal does not know it."""


class HostileImage(PermanentError):
    """A disk image names files, sizes or counts that an image must not name."""


class IntegrityFailed(PermanentError):
    """Bytes differ from the digest that was recorded for them."""


class Fenced(PermanentError):
    """Another runner owns this machine; this one must not write any more."""


class ToolMissing(PermanentError):
    """A program or library that is needed here is not installed."""


class OutOfTime(PermanentError):
    """What has to be done after a stop was not done, or cannot be, in the time that the cutover has: it leads back."""


class HookFailed(PermanentError):
    """A hook of the plan failed, or did not come to its end in its time: so did the step that it belongs to."""


class LateHookFailed(HookFailed):
    """A hook failed that is run after the move's end. The machine has moved, or is back, all the same; the same command
    runs the hook again."""


class ProbeFailed(PermanentError):
    """The target started but did not show what the plan asks it to show."""


class RehearsalOwed(PermanentError):
    """The machine's policy asks for a rehearsal before its source may be stopped. Nothing was done to that."""


class RehearsalFailed(PermanentError):
    """The synced copy did not show in its rehearsal what the plan asks for. Nothing was done to its source."""


def as_told(error: Exception) -> KubeferryError:
    """The error in words for a person. What nothing should raise is a defect of ours: the same call gives it again."""
    if isinstance(error, KubeferryError):
        return error
    return PermanentError(f"a defect: {type(error).__name__}: {error}", fix="Report it with the log of this run.")
