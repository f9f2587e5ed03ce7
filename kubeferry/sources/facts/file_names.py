"""Names of files that can stand in a document. A file system takes any bytes, a document is UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

from kubeferry.errors import Problem


def name_problem(path: Path) -> Problem | None:
    """Why a file's name can stand in no document; None when it can."""
    raw = os.fsencode(path)
    try:
        raw.decode()
    except UnicodeDecodeError:
        fix = "Rename it; `convmv` does that for a whole folder."
        return Problem(raw.decode(errors="backslashreplace"), "its name is not UTF-8", fix)
    return None
