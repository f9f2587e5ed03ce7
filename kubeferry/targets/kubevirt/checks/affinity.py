"""Whether a node is one that a pod's required node affinity admits, as Kubernetes reads it. Pure.

Affinity to other pods is not looked at: where those run is nothing that our account may see. (k8s:NodeSelectorTerm)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence

from kubeferry.targets.kubevirt.binding import REQUIRED
from kubeferry.targets.kubevirt.checks.facts import Object

_NUMBERS: dict[str, Callable[[int, int], bool]] = {"Gt": operator.gt, "Lt": operator.lt}
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def terms_of(template: Object) -> list[Object]:
    """The terms of which a node must fit one; none where every node will do."""
    of_nodes = (template.get("affinity") or {}).get("nodeAffinity") or {}
    return list((of_nodes.get(REQUIRED) or {}).get("nodeSelectorTerms") or [])


def admits(terms: Sequence[Object], node: Object) -> bool:
    """Whether the node fits one of the terms, all of that one. A term that says nothing fits none."""
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        (term.get("matchExpressions") or term.get("matchFields"))
        and all(_holds(one, labels) for one in term.get("matchExpressions") or ())
        and all(_holds(one, fields) for one in term.get("matchFields") or ())
        for term in terms
    )


def in_words(terms: Sequence[Object]) -> str:
    """`zone in a, b and not gpu`; of several terms `or` stands between them."""
    return " or ".join(
        " and ".join(_told(one) for one in (*(term.get("matchExpressions") or ()), *(term.get("matchFields") or ())))
        or "nothing"
        for term in terms
    )


def _holds(expression: Object, labels: Object) -> bool:
    key, values = expression.get("key"), expression.get("values") or []
    if expression.get("operator") in _NUMBERS:
        return key in labels and _compared(_NUMBERS[expression["operator"]], labels[key], values)
    operators: dict[str, bool] = {
        "In": key in labels and labels[key] in values,
        "NotIn": key not in labels or labels[key] not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return operators.get(str(expression.get("operator")), False)


def _compared(holds: Callable[[int, int], bool], has: object, values: Sequence[object]) -> bool:
    numbers = [str(has), *map(str, values)]
    return len(numbers) == 2 and all(map(_INTEGER.fullmatch, numbers)) and holds(int(numbers[0]), int(numbers[1]))


def _told(expression: Object) -> str:
    key, how = expression.get("key"), str(expression.get("operator"))
    values = ", ".join(map(str, expression.get("values") or ()))
    words = {"In": f"{key} in {values}", "NotIn": f"{key} not in {values}", "Exists": f"{key}"}
    words |= {"DoesNotExist": f"not {key}", "Gt": f"{key} > {values}", "Lt": f"{key} < {values}"}
    return words.get(how, f"{key} {how} {values}")
