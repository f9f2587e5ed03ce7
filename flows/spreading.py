"""Whether machines' runs may be handed out to other workers, by the configuration: `spread`. Pure."""

from __future__ import annotations

from pathlib import Path

from kubeferry.documents import Config
from kubeferry.errors import InputInvalid, Problem
from kubeferry.life.action_kinds import Goal

HANDED_OUT = frozenset({Goal.PRECOPY, Goal.REHEARSE, Goal.MIGRATE, Goal.MIGRATE_AGAIN})
"""What other workers may do. Who goes back, or is committed, waits for none of them."""


def refuse_unspreadable(settings: Config, path: Path) -> None:
    """Raise InputInvalid where runs are to be handed out, and the journal is a file, which workers on other hosts do
    not see."""
    if settings.spread and settings.journal.url.startswith("sqlite"):
        fix = (
            "Let the journal be on PostgreSQL (journal.url: postgresql://USER@HOST/DATABASE), or take `spread` out: "
            "one process then drives the machines of a run."
        )
        what = "machines of a run are handed out to workers, which share no disk, and the journal is a file"
        raise InputInvalid("runs cannot be handed out", [Problem(f"{path}: spread", what, fix)])
