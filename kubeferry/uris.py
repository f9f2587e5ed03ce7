"""Local paths in the URIs of disks; pure."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def local_path(uri: str) -> Path | None:
    """The absolute path of a `file:` or `block:` URI; None for anything else: a host, a query, a relative path."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path)
    local = parts.scheme in {"file", "block"} and not (parts.netloc or parts.query or parts.fragment)
    return Path(path) if local and path.startswith("/") and "\0" not in path else None
