"""What every document has: a version, a kind, a digest of its content."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field

from kubeferry.shapes import Value

ShortName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def digest_of(document: Value, *, without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the canonical JSON of a document."""
    kept = {key: value for key, value in content_of(document).items() if key not in without}
    return hashlib.sha256(canonical_json(kept).encode()).hexdigest()


def content_of(document: Value) -> dict[str, Any]:
    """What a digest covers, as plain data: no fields that are None, so that one that comes later changes no digest
    until somebody uses it."""
    return document.model_dump(mode="json", by_alias=True, exclude_none=True)


def canonical_json(content: dict[str, Any]) -> str:
    """Plain data as JSON, always the same: sorted keys, no spaces, ASCII alone."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
