"""KubeVirt's and CDI's kinds without KubeVirt and CDI: definitions made from the field tables of `mappings`.

With them an API server refuses unknown fields and wrong types of manifests, as a real cluster does. Nothing acts on the
objects: no machine starts, no DataVolume is filled.
"""

from __future__ import annotations

from typing import Any

import yaml

from lab.cluster import kubectl
from lab.cluster.place import Place
from mappings.admission.schema import Field, Table, table

# Kind -> plural. What the tables do not say.
KINDS = {"VirtualMachine": "virtualmachines", "DataVolume": "datavolumes"}
NOT_REAL = "lab.kubeferry/made-from-field-tables"
_RESOURCE = "customresourcedefinition.apiextensions.k8s.io"
_SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "format": "int64"},
    "bool": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
    "quantity": {"x-kubernetes-int-or-string": True},
    "int-or-str": {"x-kubernetes-int-or-string": True},
}


def install(place: Place) -> None:
    """The kinds are known to the API server; those of a real KubeVirt or CDI are left alone."""
    known = kubectl.kubectl(place, "get", "crd", f"--selector=!{NOT_REAL}", "--output=name").split()
    missing = [one for one in definitions() if f"{_RESOURCE}/{one['metadata']['name']}" not in known]
    if missing:
        kubectl.apply(place, yaml.safe_dump_all(missing))


def remove(place: Place) -> None:
    """The kinds that `install` made are gone, with their objects: the real ones take their names."""
    kubectl.kubectl(place, "delete", "crd", f"--selector={NOT_REAL}", "--ignore-not-found")


def definitions() -> list[dict[str, Any]]:
    """A CustomResourceDefinition for each kind."""
    return [definition(table(kind), plural) for kind, plural in KINDS.items()]


def definition(known: Table, plural: str) -> dict[str, Any]:
    """The definition of one table's kind. The tables leave the status out: it may hold anything."""
    group, version = known.api_version.split("/")
    schema = field_schema(known.root)
    schema["properties"]["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": {NOT_REAL: "true"}},
        "spec": {
            "group": group,
            "names": {"kind": known.kind, "plural": plural, "singular": known.kind.lower()},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def field_schema(known: Field) -> dict[str, Any]:
    """The structural schema of one field. Raises KeyError for a type that no table had when this was written."""
    one = _object(known) if known.fields or known.kind == "obj" else _scalar(known)
    if known.many == "[]":
        limit = {"maxItems": known.limit} if known.limit is not None and known.kind == "obj" else {}
        return {"type": "array", "items": one} | limit
    return {"type": "object", "additionalProperties": one} if known.many == "{}" else one


def _scalar(known: Field) -> dict[str, Any]:
    schema = dict(_SCALARS[known.kind])
    if known.choices:
        schema["enum"] = list(known.choices)
    if known.limit is not None and known.kind == "str":
        schema["maxLength"] = known.limit
    return schema


def _object(known: Field) -> dict[str, Any]:
    """Without a property, it may only be `{}`."""
    schema: dict[str, Any] = {"type": "object"}
    if known.fields:
        schema["properties"] = {name: field_schema(inner) for name, inner in known.fields.items()}
    if required := [name for name, inner in known.fields.items() if inner.required]:
        schema["required"] = required
    return schema
