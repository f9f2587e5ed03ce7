"""Whether one more round of a running machine would make its downtime shorter, or it is time to stop it. Pure.

A round copies what was written while the one before it ran, so rounds shrink for as long as copying is faster than
writing. When they do not, more of them only load the source: that is said, with the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubeferry.documents.policy import WarmPolicy
from kubeferry.life.events import Synced
from kubeferry.words import counted

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Decision:
    """`another`: one more round is worth it. `why` is a sentence for an operator."""

    another: bool
    why: str


def decide(done: Sequence[Synced], policy: WarmPolicy, *, deltas: bool, ahead: int = 0) -> Decision:
    """What to do after these rounds. `deltas`: the source can tell while the machine runs what changed. The first
    `ahead` of them were copied before this run, days before maybe: what was written since, they do not show."""
    if not done:
        return Decision(True, "nothing was copied yet")
    last = done[-1]
    said = f"round {last.round} copied {_mib(last.data_bytes)} in {_duration(last.seconds)}"
    if not deltas:
        return Decision(False, f"{said}; what changed since can only be known once the machine is off")
    if not done[ahead:]:
        return Decision(True, f"{said}, ahead: what was written since is not known")
    return _by_size(done[ahead:], policy, said)


def _by_size(done: Sequence[Synced], policy: WarmPolicy, said: str) -> Decision:
    last = done[-1]
    if last.data_bytes <= policy.enough_bytes:
        return Decision(False, f"{said}: little enough for the downtime")
    if len(done) >= policy.rounds:
        return Decision(False, f"{said}; {counted(len(done), 'round is', 'rounds are')} as many as the policy allows")
    if len(done) > 1 and last.data_bytes > policy.gain * done[-2].data_bytes:
        before = f"round {done[-2].round} {_mib(done[-2].data_bytes)}"
        return Decision(False, f"{said}, and {before}: it does not converge, the machine writes as fast as is copied")
    return Decision(True, f"{said}: another round makes the last one smaller")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB"
