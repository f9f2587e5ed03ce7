"""Kubernetes' quantities: exact, whatever they are written in."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.targets.kubevirt.claims import quantity
from kubeferry.targets.kubevirt.quantities import SCALES, amount, shown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("12", 12),
        ("1Ki", 1024),
        ("1.5Gi", 3 << 29),
        (".5Ki", 512),
        ("1k", 1000),
        ("1e3", 1000),
        ("12E2", 1200),
        ("1E", 10**18),
        ("2Ei", 2 << 60),
        ("100m", Fraction(1, 10)),
        ("-1", -1),
        (5, 5),
    ],
)
def test_a_quantity_is_read_exactly(text: object, value: int) -> None:
    assert amount(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GiB", "1K", "0x10", "1e", "1e9999", "٣", "1_000", "1" * 41, None])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        amount(text)


@given(st.integers(0, 1 << 62), st.sampled_from(sorted(SCALES)))
def test_every_unit_scales(number: int, unit: str) -> None:
    assert amount(f"{number}{unit}") == number * SCALES[unit]
    assert quantity(f"{number}{unit}") == int(number * SCALES[unit])


@pytest.mark.parametrize(
    ("value", "resource", "words"),
    [
        (3 << 29, "memory", "1.5 GiB"),
        (512, "requests.storage", "512 B"),
        (Fraction(1, 20), "requests.cpu", "0.05"),
        (7, "pods", "7"),
        (-(1 << 20), "memory", "-1 MiB"),
    ],
)
def test_amounts_are_shown_as_people_write_them(value: int, resource: str, words: str) -> None:
    assert shown(Fraction(value), resource) == words
