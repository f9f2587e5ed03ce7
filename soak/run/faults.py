"""What breaks in a run: errors that pass and that stay, defects, Ctrl-C, an exit, kill -9; before or after what a call
does. By name and moment, at random."""

from __future__ import annotations

from collections.abc import Callable

from kubeferry import errors
from kubeferry.errors import Interrupted
from kubeferry.outside import stopping
from soak.run.world import Fault, Killed
from soak.trial import Trial

TRANSIENT = (errors.SourceUnavailable, errors.TargetUnavailable, errors.TransientError)
PERMANENT = (errors.SourceRefused, errors.TargetRefused, errors.IntegrityFailed, errors.PermanentError)


def _interrupted(_told: str, _given: Trial) -> BaseException:
    stopping.request()
    return Interrupted("stopped on request", fix="Run it again.")


Maker = Callable[[str, Trial], BaseException]
MAKERS: dict[str, Maker] = {
    "an error that passes": lambda told, given: given.random.choice(TRANSIENT)(told, fix="Try again."),
    "an error that stays": lambda told, given: given.random.choice(PERMANENT)(told, fix="Look at it."),
    "a defect": lambda told, _given: ValueError(told),
    "Ctrl-C": _interrupted,
    "an exit": lambda _told, _given: SystemExit(1),
    "kill -9": lambda _told, _given: Killed(),
}
OF_A_JOURNAL = tuple(name for name in MAKERS if name not in {"a defect", "an error that stays"})
"""The journal promises errors that pass, and keeps that by itself."""


def at_random(given: Trial, rate: float) -> Fault:
    """Calls break at this rate, before and after."""

    def fault(name: str, moment: str) -> BaseException | None:
        if given.random.random() >= rate / 2:
            return None
        side = name.partition(".")[0]
        kind = given.random.choice((*(OF_A_JOURNAL if side == "journal" else tuple(MAKERS)), "kill -9"))
        given.point(f"{kind} {moment} a call of the {side}")
        given.say(f"    it was {name}")
        return MAKERS[kind](f"{name} was told to fail", given)

    return fault
