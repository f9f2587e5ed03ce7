"""What our own rules say of affinities; real KubeVirt is asked the same by `tests/cluster/test_admission.py`."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.admission.affinity import affinity
from mappings.admission.view import View
from tests.unit.mappings.admission.affinities import HOST, REFUSED, TAKEN, Affinity, expression, nodes, pods


def problems(told: Affinity) -> list[str]:
    machine = {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"affinity": told, "domain": {}}}}}
    return [one.where for one in affinity(View(machine))]


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_cluster_refuses_is_refused_with_its_place(name: str) -> None:
    told, place = REFUSED[name]
    (found,) = problems(told)
    assert found.startswith("spec.template.spec.affinity.")
    assert found.endswith(place)


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_cluster_takes_is_taken(name: str) -> None:
    assert problems(TAKEN[name]) == []


@pytest.mark.parametrize(
    ("term", "place"),
    [
        ({"labelSelector": {"matchLabels": {"a b": "c"}}}, "matchLabels[a b]"),
        ({"labelSelector": {"matchLabels": {"a": "c d!"}}}, "matchLabels[a]"),
        ({"namespaces": ["Not Legal"]}, "namespaces"),
        ({"labelSelector": {}, "matchLabelKeys": ["a b"]}, "matchLabelKeys"),
        ({"mismatchLabelKeys": ["a"]}, "mismatchLabelKeys"),
    ],
)
def test_what_names_other_pods_is_legal(term: dict[str, Any], place: str) -> None:
    (found,) = problems(pods("podAffinity", topologyKey=HOST, **term))
    assert found.endswith(place)


def test_a_number_that_is_none_would_fit_no_node() -> None:
    """The server takes it, and the scheduler cannot read it."""
    (found,) = problems(nodes(expression("cores", "Gt", "a")))
    assert found.endswith("values")
