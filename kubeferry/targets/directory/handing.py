"""What only a mover may read, on its way to one of this host: a file of its state folder, gone when it has ended."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from kubeferry.targets.directory.layout import PRIVATE_FILE, PRIVATE_FOLDER
from kubeferry.uris import HELD_FILE

NAME = "held"


def put(state: Path, held: bytes) -> dict[str, str]:
    """The file, for its owner alone; returns what the mover's environment has to say of it."""
    state.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    path = state / NAME
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as file:
        file.write(held)
    return {HELD_FILE: str(path)}


def take_away(state: Path) -> None:
    """It goes; nothing where there is none."""
    (state / NAME).unlink(missing_ok=True)


def sweep(states: Path, what: str) -> None:
    """It goes from all state folders of one thing, of runs that were killed, too."""
    for left in states.glob(f"{quote(f'{what}/', safe='')}*/{NAME}"):
        left.unlink(missing_ok=True)
