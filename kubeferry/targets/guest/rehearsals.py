"""What may be asked of a rehearsed machine, and what may not, with the reason: pure.

A probe that cannot be asked is told as such. It neither passes nor fails, so it proves nothing.
"""

from __future__ import annotations

from kubeferry.documents import Entry, Probe
from kubeferry.targets.guest.probes import describe

COUNTED = "it compares with what the source says at its stop, and the source runs on"
NO_NETWORK = "a rehearsed machine has no network there"
VARIABLES = "UEFI variables of the source: they go with the cutover"
TPM = "what the TPM of the source holds: it goes with the cutover"


def asked(entry: Entry, *, networked: bool) -> tuple[tuple[Probe, ...], tuple[str, ...]]:
    """Those of the machine's probes that can be asked, and the others in words. `networked`: an isolated network leads
    to its ports."""
    reasons = {"counter": COUNTED}
    if not networked:
        reasons |= dict.fromkeys(("http", "tcp", "packets"), NO_NETWORK)
    kept = tuple(probe for probe in entry.probes if probe.kind not in reasons)
    left = tuple(f"{describe(probe)}: {reasons[probe.kind]}" for probe in entry.probes if probe.kind in reasons)
    return kept, left


def unshown(entry: Entry) -> tuple[str, ...]:
    """What goes with the machine at its cutover, and a rehearsal cannot show."""
    return (*((VARIABLES,) if entry.variables else ()), *((TPM,) if entry.tpm else ()))
