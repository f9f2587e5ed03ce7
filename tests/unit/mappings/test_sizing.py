"""Claims are large enough for their disks, and no larger."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents.offer import VolumeMode
from mappings.quantities import MIB, format_bytes, parse_quantity, round_up
from mappings.sizing import cdi_request, cdi_usable, claim_size, kubevirt_growth, usable

SIZES = st.integers(1, 1 << 46)
OVERHEADS = st.decimals(0, "0.9", places=3, allow_nan=False).map(float)


@given(SIZES, OVERHEADS)
def test_a_disk_fits_its_claim_under_both_formulas(size: int, overhead: float) -> None:
    claim = claim_size(size, "Filesystem", overhead)
    assert claim % MIB == 0
    assert cdi_usable(claim, overhead) >= size
    assert kubevirt_growth(claim, overhead) >= size


@given(SIZES, OVERHEADS)
def test_no_smaller_claim_would_do(size: int, overhead: float) -> None:
    claim = claim_size(size, "Filesystem", overhead)
    assert claim == MIB or usable(claim - MIB, "Filesystem", overhead) < size


@given(SIZES)
def test_a_block_claim_is_the_disk_in_whole_mib(size: int) -> None:
    claim = claim_size(size, "Block", 0.06)
    assert size <= claim < size + MIB
    assert claim % MIB == 0


@given(SIZES, OVERHEADS)
def test_cdi_can_use_what_cdi_asks_for(size: int, overhead: float) -> None:
    assert cdi_usable(cdi_request(size, overhead), overhead) >= size


def test_known_figures() -> None:
    assert kubevirt_growth(16 * MIB, 0.055) == 15 * MIB  # seen with CDI's upload server
    assert cdi_request(10 << 30, 0.06) == 11381663335  # 10 GiB x 1.06, rounded up
    assert claim_size(10 << 30, "Filesystem", 0) == 10 << 30
    assert claim_size(1, "Filesystem", 0.06) == 2 * MIB


@given(SIZES, st.sampled_from(["Block", "Filesystem"]), OVERHEADS, st.integers(0, 1 << 40))
def test_no_claim_is_smaller_than_the_smallest_volume_of_its_class(
    size: int, mode: VolumeMode, overhead: float, minimum: int
) -> None:
    claim = claim_size(size, mode, overhead, minimum)
    assert claim % MIB == 0
    assert claim >= minimum
    assert claim == max(claim_size(size, mode, overhead), round_up(minimum, MIB))


@given(SIZES, SIZES, st.sampled_from(["Block", "Filesystem"]), OVERHEADS, st.integers(0, 1 << 40))
def test_a_larger_disk_never_has_a_smaller_claim(
    one: int, other: int, mode: VolumeMode, overhead: float, minimum: int
) -> None:
    small, large = sorted((one, other))
    assert claim_size(small, mode, overhead, minimum) <= claim_size(large, mode, overhead, minimum)


@given(SIZES, OVERHEADS, OVERHEADS)
def test_more_overhead_never_asks_for_less(size: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert claim_size(size, "Filesystem", low) <= claim_size(size, "Filesystem", high)
    assert claim_size(size, "Block", low) == claim_size(size, "Block", high)


@given(SIZES, OVERHEADS)
def test_what_cdi_itself_would_ask_for_is_never_more(size: int, overhead: float) -> None:
    """CDI's request can be too small for KubeVirt's growth; ours holds both, so it may only be larger."""
    assert claim_size(size, "Filesystem", overhead) >= cdi_request(size, overhead)


@given(SIZES)
def test_quantities_come_back_as_they_went(size: int) -> None:
    assert parse_quantity(format_bytes(size)) == size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("512Mi", 512 * MIB),
        ("1.5Gi", 3 << 29),
        ("1000M", 10**9),
        ("100m", Fraction(1, 10)),
        (7, 7),
        ("1e3", 1000),
        ("2E", 2 * 10**18),
    ],
)
def test_quantities_are_read(text: str | int, value: int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1GiB", "0x1", "1e", True, None, 1.5, "1" * 40])
def test_other_things_are_not_quantities(text: object) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)
