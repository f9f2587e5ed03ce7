"""What the journal knows of the machine that a move has left behind at its source, in words. Pure.

Nobody is asked: how it is now, `kubeferry.steps.afterwards` asks its source.
"""

from __future__ import annotations

from kubeferry.life.machine_state import MachineState


def left_so(state: MachineState) -> tuple[str, ...]:
    """Of a machine that has moved: what keeps its source off, and what says there that it has moved. What an earlier
    version did not look at is not said."""
    if state.stopped is None or state.stopped.stays_off is None:
        return ()
    quiet = "autostart off" if state.autostart else "no autostart"
    return (quiet, "marked" if state.marked else "not marked")
