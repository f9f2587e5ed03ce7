"""What every document has: a version, a kind, a digest of its content."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, Field

from kubeferry.values import Value

ShortName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def digest_of(document: Value, *, without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the canonical JSON of a document: sorted keys, no spaces."""
    return _digest(document.model_dump(mode="json", by_alias=True, exclude=set(without)))


def digest_as_written(document: Value, *, without: tuple[str, ...] = ()) -> str:
    """`digest_of` a document that was read, as the version knew it that wrote it."""
    content = as_written(document)
    return _digest({key: value for key, value in content.items() if key not in without})


def as_written(document: Value) -> dict[str, Any]:
    """A document that was read, as plain data without the fields that came after it was written: those that it does not
    name, and whose default is something. (One whose value is nothing is never written out, and was there before.) So a
    new field of a plan has a default that is not None, or plans of today can be read no more."""
    return _written(document, document.model_dump(mode="json", by_alias=True))  # type: ignore[no-any-return]


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


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
