"""Names as vCenter keeps them and writes them into files: `/`, `\\` and `%` are escaped (API reference,
ManagedEntity.name). Pure."""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"%(2f|5c|25)", re.IGNORECASE)


def unescaped(name: str) -> str:
    """A name without vCenter's escapes, each of them once."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)
