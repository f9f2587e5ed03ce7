"""Plain values: what a mover reads and writes without pydantic is what pydantic reads and writes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from kubeferry.jobs import MoverError, MoverJob, MoverProgress, MoverResult
from kubeferry.values import DiskRef, Plain

BACKED = DiskRef(uri="file:///top", format="qcow2", backing=DiskRef(uri="file:///ö", size_bytes=5))
JOB = MoverJob(name="a", action="copy", source=BACKED, target=DiskRef(uri="file:///t"), state_dir="/s", workers=4)
FAILED = MoverError(type="TargetRefused", what="“no”\n", fix="x")
VALUES = [
    JOB,
    BACKED,
    MoverProgress(done_bytes=3, total_bytes=7, bytes_per_second=1.5),
    MoverResult(name="a", action="copy", ok=False, seconds=1.25, calls={"GET": 3}, error=FAILED),
]
ODD: list[Any] = [
    None,
    -1,
    0,
    1,
    33,
    1.5,
    True,
    "",
    "5",
    "\ud800",
    "copy",
    [],
    {},
    {"uri": "x"},
    {"uri": 3},
    {"a": "b"},
    {"a": 1},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("left_out", [{}, {"exclude_none": True}, {"exclude_defaults": True}])
def test_a_plain_value_is_written_as_pydantic_writes_it(
    value: Plain, indent: int | None, left_out: dict[str, bool]
) -> None:
    text = value.model_dump_json(by_alias=True, indent=indent, **left_out)
    assert text.encode() == TypeAdapter(type(value)).dump_json(value, by_alias=True, indent=indent, **left_out)
    if not left_out.get("exclude_defaults"):
        assert type(value).of(json.loads(text)) == type(value).model_validate_json(text) == value


def test_what_is_accepted_is_what_pydantic_makes_of_it() -> None:
    """A fault that pydantic would name is never read over; what it can make something of may be left to it."""
    chance = random.Random(7)
    accepted = refused = 0
    for _ in range(4000):
        value = chance.choice(VALUES)
        content = json.loads(value.model_dump_json(by_alias=True))
        place = content
        if isinstance(content.get("source"), dict) and chance.random() < 0.5:
            place = content["source"]
        key = chance.choice([*place, "color"])
        if chance.random() < 0.2:
            place.pop(key, None)
        else:
            place[key] = chance.choice(ODD)
        try:
            found = type(value).of(content)
        except ValueError:
            refused += 1
            continue
        accepted += 1
        assert found == type(value).model_validate_json(json.dumps(content))
    assert accepted > 400
    assert refused > 400


@pytest.mark.parametrize("faults", [{"workers": 0}, {"workers": 33}, {"fence": -1}, {"color": 1}, {"seconds": 1}])
def test_numbers_have_their_limits_and_fields_their_names(faults: dict[str, object]) -> None:
    content = json.loads(JOB.model_dump_json(by_alias=True)) | faults
    with pytest.raises(ValueError, match=r"field|value"):
        MoverJob.of(content)
    with pytest.raises(ValidationError):
        MoverJob.model_validate(content)


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-1", "1e400"])
def test_seconds_are_a_number(seconds: str) -> None:
    text = f'{{"name": "a", "action": "copy", "ok": true, "seconds": {seconds}}}'
    with pytest.raises(ValueError, match="another type"):
        MoverResult.of(json.loads(text))
    with pytest.raises(ValidationError):
        MoverResult.model_validate_json(text)
