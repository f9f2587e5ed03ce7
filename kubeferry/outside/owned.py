"""Files of ours in a folder that may hold others': what is current is there, what an earlier run has left is gone, and
nothing else is touched. A list beside them says which are ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from kubeferry.outside import atomic

Text = Callable[[], str]
"""What a file says, made when it is written: thousands are not held at once."""


def replace_files(
    out: Path, texts: Mapping[str, Text], listed_in: str, *, unlisted: Iterable[str] = (), private: bool = False
) -> None:
    """These files are in the folder, and none that is ours and not among them. Killed anywhere, the next call still
    knows what is ours: the list `listed_in` has it before it is written, and until it is gone.

    `unlisted` are files of an earlier version that kept no list, and count where there is none. `private`: each file is
    for its owner alone, and a reader finds the old one or the new one. Raises OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = _listed(out / listed_in) if (out / listed_in).exists() else frozenset(unlisted)
    _list(out / listed_in, before | texts.keys())
    for name, text in texts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if private:
            atomic.replace_text(path, text(), private=True)
        else:
            path.write_text(text(), encoding="utf-8")
    for name in before - texts.keys():
        _remove(out, name)
    _list(out / listed_in, frozenset(texts))


def _listed(path: Path) -> frozenset[str]:
    """What is ours in the folder; nothing where no list is, or none that can be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return frozenset(str(name) for name in json.loads(path.read_text(encoding="utf-8"))["files"])
    return frozenset()


def _list(path: Path, names: frozenset[str]) -> None:
    atomic.replace_text(path, json.dumps({"files": sorted(names)}, indent=1) + "\n")


def _remove(out: Path, name: str) -> None:
    """One of our files goes, and its folders where nothing else is in them. A list that leads out of the folder, or a
    link that does, is not followed; what is no file, or may not be removed, stays."""
    place, path = PurePosixPath(name), out / name
    if place.is_absolute() or ".." in place.parts:
        return
    with contextlib.suppress(OSError, ValueError):
        if path.parent.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)
            for folder in path.parents[: len(place.parts) - 1]:
                folder.rmdir()
