"""What every document has: a version, a kind, a digest of its content."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from kubeferry.model import Value

API_VERSION: Literal["kubeferry.io/v1alpha1"] = "kubeferry.io/v1alpha1"

ShortName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Document(Value):
    """A file of its own: `apiVersion` and `kind` stand first."""

    KIND: ClassVar[str]

    api_version: Literal["kubeferry.io/v1alpha1"] = API_VERSION


def digest_of(document: Value, *, without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the canonical JSON of a document."""
    content = document.model_dump(mode="json", by_alias=True, exclude=set(without))
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def canonical_json(content: dict[str, Any]) -> str:
    """Plain data as JSON, always the same: sorted keys, no spaces, ASCII alone."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def as_written(document: Value, without: set[str] | None = None) -> dict[str, Any]:
    """A document that was read, as plain data without the fields that came after it was written: those that it does not
    name, and whose default is something. (One whose value is nothing is never written out, and was there before.) So a
    new field of a plan has a default that is not None, or plans of today can be read no more. `without` these."""
    return _written(document, document.model_dump(mode="json", by_alias=True, exclude=without or set()))  # type: ignore[no-any-return]


def _written(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        names = {
            field.serialization_alias or field.alias or name: name for name, field in type(value).model_fields.items()
        }
        known = value.model_fields_set
        return {
            key: _written(getattr(value, names[key]), content)
            for key, content in dumped.items()
            if names[key] in known or content is None
        }
    if isinstance(value, (list, tuple)):
        return [_written(one, content) for one, content in zip(value, dumped, strict=True)]
    if isinstance(value, dict):
        return {key: _written(one, content) for (key, content), one in zip(dumped.items(), value.values(), strict=True)}
    return dumped
