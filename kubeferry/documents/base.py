"""What every document has: a version, a kind, a digest of its content."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field

from kubeferry.values import Value

ShortName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def digest_of(document: Value, *, without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the canonical JSON of a document: sorted keys, no spaces, no fields that are None, so that one that
    comes later changes no digest until somebody uses it."""
    return digest_of_content(document.model_dump(mode="json", by_alias=True, exclude_none=True), without=without)


def digest_of_content(content: dict[str, Any], *, without: tuple[str, ...] = ()) -> str:
    """`digest_of` plain data."""
    kept = {key: value for key, value in content.items() if key not in without}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
