"""How large a claim must be, so that the guest's disk fits under every formula that will be applied to it.

CDI and KubeVirt reckon the overhead of a filesystem differently: CDI divides by (1 + overhead), KubeVirt multiplies by
(1 - overhead). A claim from here satisfies both. All sizes are bytes; everything is aligned to 1 MiB.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from kubeferry.documents.offer import VolumeMode
from mappings.quantities import MIB, round_up


def _ratio(overhead: float) -> Fraction:
    """The decimal that a person wrote (0.06), not the nearest binary fraction of it."""
    return Fraction(str(overhead))


def cdi_request(size: int, overhead: float) -> int:
    """What CDI asks for when a DataVolume's `storage` names `size` on a filesystem."""
    return ceil(round_up(size, MIB) * (1 + _ratio(overhead)))


def cdi_usable(claim: int, overhead: float) -> int:
    """The largest image that CDI puts on a filesystem claim of that size."""
    return ceil(claim / (1 + _ratio(overhead))) // MIB * MIB


def kubevirt_growth(claim: int, overhead: float) -> int:
    """The size to which KubeVirt grows `disk.img` when the machine first starts on a filesystem claim."""
    return floor((1 - _ratio(overhead)) * claim) // MIB * MIB


def usable(claim: int, mode: VolumeMode, overhead: float) -> int:
    """The largest disk that a claim carries under both formulas."""
    if mode == "Block":
        return claim
    return min(cdi_usable(claim, overhead), kubevirt_growth(claim, overhead))


def claim_size(size: int, mode: VolumeMode, overhead: float, minimum: int = 0) -> int:
    """The smallest claim in whole MiB on which a disk of `size` bytes is usable; at least 1 MiB, and no less than
    `minimum`, the smallest volume that the storage class makes."""
    aligned = max(round_up(size, MIB), MIB)
    least = round_up(minimum, MIB)
    return max(aligned if mode == "Block" else _on_filesystem(aligned, overhead), least)


def _on_filesystem(aligned: int, overhead: float) -> int:
    claim = round_up(max(ceil(aligned / (1 - _ratio(overhead))), cdi_request(aligned, overhead)), MIB)
    while usable(claim, "Filesystem", overhead) < aligned:
        claim += MIB
    return claim
