"""Affinities that a cluster refuses, each with the place that it names, and some that it takes."""

from __future__ import annotations

from typing import Any

from mappings.admission.affinity import PREFERRED, REQUIRED

Affinity = dict[str, Any]


def nodes(*terms: dict[str, Any]) -> Affinity:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def pods(kind: str, **term: Any) -> Affinity:
    return {kind: {REQUIRED: [term]}}


HOST = "kubernetes.io/hostname"
REFUSED: dict[str, tuple[Affinity, str]] = {
    "no terms": (nodes(), "nodeSelectorTerms"),
    "an operator of nobody's": (nodes(expression("zone", "Near", "a")), "operator"),
    "an operator in small letters": (nodes(expression("zone", "in", "a")), "operator"),
    "a key with a space": (nodes(expression("z z", "Exists")), "key"),
    "In without a value": (nodes(expression("zone", "In")), "values"),
    "Exists with a value": (nodes(expression("zone", "Exists", "a")), "values"),
    "Gt of two": (nodes(expression("cores", "Gt", "1", "2")), "values"),
    "a field that nodes have not": (
        nodes({"matchFields": [{"key": "foo", "operator": "In", "values": ["a"]}]}),
        "matchFields[0].key",
    ),
    "two names of a node": (
        nodes({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]}),
        "matchFields[0].values",
    ),
    "a weight beyond 100": (
        {"nodeAffinity": {PREFERRED: [{"weight": 500, "preference": expression("zone", "Exists")}]}},
        "weight",
    ),
    "no place": (pods("podAntiAffinity", topologyKey=""), "topologyKey"),
    "an operator that labels of pods have not": (
        pods("podAffinity", topologyKey=HOST, labelSelector=expression("app", "Gt", "1")),
        "operator",
    ),
    "a weight of nothing": (
        {"podAffinity": {PREFERRED: [{"weight": 0, "podAffinityTerm": {"topologyKey": HOST}}]}},
        "weight",
    ),
}
TAKEN: dict[str, Affinity] = {
    "a zone": nodes(expression("zone", "In", "a", "b"), expression("example.com/rack", "DoesNotExist")),
    "a number": nodes(expression("cores", "Gt", "8")),
    "a node": nodes({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}),
    "apart": pods("podAntiAffinity", topologyKey=HOST, labelSelector=expression("app", "In", "db")),
    "rather there": {"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": expression("zone", "Exists")}]}},
}
