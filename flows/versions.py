"""Which kubeferry speaks, which plan it was given, and which journal remembers: what a person writes into a report."""

from __future__ import annotations

import contextlib
from pathlib import Path

from kubeferry import __version__
from kubeferry.config import read_config
from kubeferry.documents import API_VERSION, Plan, load
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal, exists

Facts = dict[str, object]

OURS: Facts = {"kubeferry": {"version": __version__, "apiVersion": API_VERSION}}


def of_journal(journal: Journal) -> Facts:
    """Of what speaks, and of what is remembered."""
    known = journal.versions()
    about = {"url": known.url, "schema": known.schema, "createdAt": known.created_at, "createdBy": known.created_by}
    return OURS | {"journal": about}


def told(config: Path, plan: Path | None) -> Facts:
    """All that can be told; a plan or journal that cannot be read is left out: why is for the findings to say."""
    found = dict(OURS)
    with contextlib.suppress(KubeferryError):
        if plan is not None:
            read = load(plan, Plan)
            found["plan"] = {"name": read.name, "digest": read.digest, "apiVersion": read.api_version}
    with contextlib.suppress(KubeferryError):
        settings = read_config(config)
        if exists(settings.journal):
            with contextlib.closing(Journal.open(settings.journal)) as journal:
                found |= of_journal(journal)
    return found


def in_words(facts: Facts) -> list[str]:
    """The same as lines for a terminal, `kubeferry: version 0.1.0, apiVersion …`; what is empty is not told."""
    return [
        f"{part}: " + ", ".join(f"{name} {value}" for name, value in told_of.items() if value != "")
        for part, told_of in facts.items()
        if isinstance(told_of, dict)
    ]
