"""Admission rules about affinity, to nodes and to other pods (k8s:pkg/apis/core/validation), held to what a real
KubeVirt refuses by `tests/cluster/test_admission.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from kubeferry.errors import Problem
from mappings.admission.keys import is_key, key_problems, label_problems
from mappings.admission.view import View, problem
from mappings.names import LABEL_VALUE, is_dns_label

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WHERE = "spec.template.spec.affinity"
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_SEVERAL, _NONE, _ONE = ("In", "NotIn"), ("Exists", "DoesNotExist"), ("Gt", "Lt")

Object = dict[str, Any]


def affinity(view: View) -> Iterator[Problem]:
    """Terms, expressions, weights and topology keys that a cluster refuses."""
    told = view.template.get("affinity") or {}
    yield from _to_nodes(told.get("nodeAffinity") or {}, f"{_WHERE}.nodeAffinity")
    for kind in ("podAffinity", "podAntiAffinity"):
        yield from _to_pods(told.get(kind) or {}, f"{_WHERE}.{kind}")


def _to_nodes(told: Object, where: str) -> Iterator[Problem]:
    if REQUIRED in told:
        terms = (told[REQUIRED] or {}).get("nodeSelectorTerms") or []
        place = f"{where}.{REQUIRED}.nodeSelectorTerms"
        if not terms:
            yield problem(place, "is empty, and one of them must fit", "Name a term, or remove the affinity.")
        for number, term in enumerate(terms):
            yield from _node_term(term or {}, f"{place}[{number}]")
    yield from _preferred(told, where, "preference", _node_term)


def _node_term(term: Object, where: str) -> Iterator[Problem]:
    for number, one in enumerate(term.get("matchExpressions") or []):
        yield from _expression(one, f"{where}.matchExpressions[{number}]", (*_SEVERAL, *_NONE, *_ONE))
    for number, one in enumerate(term.get("matchFields") or []):
        place = f"{where}.matchFields[{number}]"
        if one.get("key") != "metadata.name":
            yield problem(f"{place}.key", f"{one.get('key')!r} is no field of a node", "Write metadata.name.")
        if one.get("operator") not in _SEVERAL:
            yield problem(
                f"{place}.operator", f"{one.get('operator')!r} is refused", f"Use one of {', '.join(_SEVERAL)}."
            )
        if len(one.get("values") or []) != 1:
            yield problem(f"{place}.values", "is not one name", "Write one; use several terms for several nodes.")


def _to_pods(told: Object, where: str) -> Iterator[Problem]:
    for number, term in enumerate(told.get(REQUIRED) or []):
        yield from _pod_term(term or {}, f"{where}.{REQUIRED}[{number}]")
    yield from _preferred(told, where, "podAffinityTerm", _pod_term)


def _pod_term(term: Object, where: str) -> Iterator[Problem]:
    key = term.get("topologyKey") or ""
    if not is_key(key):
        fix = "Name the node label that says what is one place: kubernetes.io/hostname, or that of the zone."
        yield problem(f"{where}.topologyKey", f"{key!r} is not a legal label key", fix)
    for field in ("matchLabelKeys", "mismatchLabelKeys"):
        yield from key_problems(term.get(field) or [], f"{where}.{field}")
        if term.get(field) and term.get("labelSelector") is None:
            yield problem(f"{where}.{field}", "has no labelSelector beside it", "Name one, or remove it.")
    for one in term.get("namespaces") or []:
        if not is_dns_label(one):
            yield problem(f"{where}.namespaces", f"{one!r} is not a namespace's name", "Write one that is there.")
    for selector in ("labelSelector", "namespaceSelector"):
        told = term.get(selector) or {}
        yield from label_problems(told.get("matchLabels") or {}, f"{where}.{selector}.matchLabels")
        for number, one in enumerate(told.get("matchExpressions") or []):
            yield from _expression(one, f"{where}.{selector}.matchExpressions[{number}]", (*_SEVERAL, *_NONE))


def _preferred(
    told: Object, where: str, field: str, term: Callable[[Object, str], Iterator[Problem]]
) -> Iterator[Problem]:
    """What is wished for: each wish has a weight, and in `field` a term."""
    for number, one in enumerate(told.get(PREFERRED) or []):
        place = f"{where}.{PREFERRED}[{number}]"
        if not 1 <= (one.get("weight") or 0) <= 100:
            yield problem(f"{place}.weight", f"is {one.get('weight')}", "Write a number from 1 to 100.")
        yield from term(one.get(field) or {}, f"{place}.{field}")


def _expression(one: Object, where: str, operators: tuple[str, ...]) -> Iterator[Problem]:
    key, operator, values = one.get("key") or "", one.get("operator"), one.get("values") or []
    yield from key_problems([key], f"{where}.key")
    if operator not in operators:
        yield problem(f"{where}.operator", f"{operator!r} is refused", f"Use one of {', '.join(operators)}.")
    elif operator in _SEVERAL:
        if not values:
            yield problem(f"{where}.values", f"is empty, and {operator} needs a value", "Name one, or write Exists.")
        for value in values:
            if LABEL_VALUE.fullmatch(value) is None:
                yield problem(f"{where}.values", f"{value!r} is not a legal label value", "Write that of the label.")
    elif operator in _NONE and values:
        yield problem(f"{where}.values", f"is not empty, and {operator} takes none", "Remove them, or write In.")
    elif operator in _ONE and (len(values) != 1 or _INTEGER.fullmatch(values[0]) is None):
        yield problem(f"{where}.values", f"is not one whole number, which {operator} needs", "Write one, in quotes.")
