"""What our own rules say of affinities; real KubeVirt is asked the same by `tests/cluster/test_admission.py`."""

from __future__ import annotations

import pytest

from mappings.admission.affinity import affinity
from mappings.admission.view import View
from tests.unit.mappings.admission.affinities import REFUSED, TAKEN, Affinity, expression, nodes


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


def test_a_number_that_is_none_would_fit_no_node() -> None:
    """The server takes it, and the scheduler cannot read it."""
    (found,) = problems(nodes(expression("cores", "Gt", "a")))
    assert found.endswith("values")
