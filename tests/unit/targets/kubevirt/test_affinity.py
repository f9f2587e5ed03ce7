"""Required node affinity: which nodes it admits, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.targets.kubevirt.checks.affinity import admits, in_words

NODE = {"metadata": {"name": "n1", "labels": {"zone": "a", "cores": "16"}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("one", "expected", "words"),
    [
        (expression("zone", "In", "a", "b"), True, "zone in a, b"),
        (expression("zone", "In", "b"), False, "zone in b"),
        (expression("zone", "NotIn", "b"), True, "zone not in b"),
        (expression("rack", "NotIn", "b"), True, "rack not in b"),  # nothing is not b
        (expression("zone", "Exists"), True, "zone"),
        (expression("rack", "Exists"), False, "rack"),
        (expression("rack", "DoesNotExist"), True, "not rack"),
        (expression("cores", "Gt", "8"), True, "cores > 8"),
        (expression("cores", "Lt", "16"), False, "cores < 16"),
        (expression("zone", "Gt", "8"), False, "zone > 8"),
        (expression("cores", "Gt", "1_0"), False, "cores > 1_0"),
        (expression("cores", "Gt", "8", "9"), False, "cores > 8, 9"),
        (expression("zone", "Near", "a"), False, "zone Near a"),
    ],
)
def test_one_expression(one: dict[str, Any], expected: bool, words: str) -> None:
    assert admits([{"matchExpressions": [one]}], NODE) is expected
    assert in_words([{"matchExpressions": [one]}]) == words


def test_of_several_terms_one_must_fit_and_all_of_that() -> None:
    fits, wrong = expression("zone", "In", "a"), expression("rack", "Exists")
    named = {"matchFields": [expression("metadata.name", "In", "n1")]}
    assert admits([{"matchExpressions": [wrong]}, {"matchExpressions": [fits], **named}], NODE)
    assert not admits([{"matchExpressions": [fits, wrong]}], NODE)
    assert not admits([{}], NODE)
    told = in_words([{"matchExpressions": [fits, wrong]}, named, {}])
    assert told == "zone in a and rack or metadata.name in n1 or nothing"
