"""How much of a machine's disks is copied, how long that takes, and for how long nobody answers meanwhile: as ranges,
with what they rest on."""

from __future__ import annotations

from dataclasses import dataclass

from kubeferry.documents.assessment import CopyEstimate, ExpectedDowntime
from kubeferry.model import Disk, Power
from mappings.quantities import MIB


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes a second between which a copy is expected to run, reading and writing alike."""

    slow: int = 60 * MIB
    fast: int = 600 * MIB


def estimate(disks: tuple[Disk, ...], rates: Rates) -> CopyEstimate:
    """How much is copied and how long that takes: each byte is written once and read back once."""
    ranges = [_data_range(disk) for disk in disks]
    low, high = sum(least for least, _most in ranges), sum(most for _least, most in ranges)
    assumptions = [
        f"between {rates.slow // MIB} and {rates.fast // MIB} MiB/s, one machine at a time",
        "each byte is copied once and read back once; holes are skipped",
        "deltas, the stop and the boot come on top",
    ]
    unknown = [disk.id for disk in disks if disk.capacity_bytes is None]
    if unknown:
        assumptions.append(f"without {', '.join(unknown)}, whose size is not known")
    vague = [disk.id for disk, (least, most) in zip(disks, ranges, strict=True) if least != most]
    if vague:
        assumptions.append(f"it is not known how full {', '.join(vague)} {'is' if len(vague) == 1 else 'are'}")
    return CopyEstimate(
        low_bytes=low,
        high_bytes=high,
        low_seconds=2 * low / rates.fast,
        high_seconds=2 * high / rates.slow,
        assumptions=tuple(assumptions),
    )


def expected_downtime(power: Power, mode: str, copy: CopyEstimate, *, unsized: int) -> ExpectedDowntime:
    """The downtime of one that has this power, before anything was copied. `unsized` disks are of unknown size: then
    nobody knows how long the copy of a machine takes that is stopped for it."""
    if power in {Power.OFF, Power.CRASHED}:
        return ExpectedDowntime(kind="none", low_seconds=0, high_seconds=0, why=f"it is {power.value} already")
    if mode == "warm":
        why = "the stop, the last delta, the start and the boot: known once two rounds were copied while it runs"
        return ExpectedDowntime(kind="last-delta", why=why)
    why = "it is stopped first and down for its whole copy and read-back; the stop, the start and the boot come on top"
    why = f"whether it runs is not known; if it does, {why}" if power is Power.UNKNOWN else why
    if unsized:
        return ExpectedDowntime(kind="whole-copy", why=f"{why}; the size of its disks is not known")
    return ExpectedDowntime(kind="whole-copy", low_seconds=copy.low_seconds, high_seconds=copy.high_seconds, why=why)


def _data_range(disk: Disk) -> tuple[int, int]:
    """The least and most bytes of data on a disk. What lies in a chain's lower images is not counted by the top's."""
    size = disk.capacity_bytes or 0
    if disk.allocated_bytes is None:
        return 0, size
    top = min(disk.allocated_bytes, size)
    return (top, top) if disk.format == "raw" or disk.chain == () else (top, size)
