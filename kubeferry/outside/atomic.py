"""Files that a reader finds as they were or as they are, never in part: made beside their place, then renamed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path


def replace_text(path: Path, text: str, *, durable: bool = False, private: bool = False) -> None:
    """Write `path` as UTF-8, whole; its folder must exist. `durable`: the content survives a crash of the host, too.
    `private`: it is for its owner alone, whoever could read the old one.

    Where it fails, the old content stands, and nothing of the new one is left.
    """
    replace_lines(path, (text,), durable=durable, private=private)


def replace_lines(path: Path, lines: Iterable[str], *, durable: bool = False, private: bool = False) -> None:
    """The same for a text that is made while it is written; each line brings its own end."""
    temporary = temporary_name(path)
    temporary.unlink(missing_ok=True)  # of a run that was killed; what a link there leads to is not ours
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600 if private else 0o666)
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            stream.writelines(lines)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first one is told
            temporary.unlink(missing_ok=True)
        raise


def temporary_name(path: Path) -> Path:
    """Where a file is made before it gets its name; two writers of one file do not share it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.new")


def leftovers(folder: Path) -> list[Path]:
    """Temporary files of ours that a killed run left."""
    return sorted(folder.glob(".*.new"))
