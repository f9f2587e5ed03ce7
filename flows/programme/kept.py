"""The documents that the flows of a programme hand on to each other: in the journal, by name or digest; or a file.

A file is meant where the word ends like one; everything else is looked up in the journal.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypeVar

from kubeferry.config import find_config, read_config
from kubeferry.documents import Config, dump, load, parse
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.shapes import Document

D = TypeVar("D", bound=Document)

FILES = (".yaml", ".yml", ".json")


def settings_of(config: str | None) -> Config:
    """The configuration at this path, else the environment's."""
    return read_config(find_config(Path(config) if config else None))


def given(kind: type[D], named: str, settings: Config | None) -> D:
    """The document that is meant. Raises InputInvalid where it is not there, or no journal is known to look in."""
    if named.endswith(FILES):
        return load(Path(named), kind)
    if settings is None:
        fix = "Name a file (it ends with .yaml), or a configuration, whose journal is looked in."
        raise InputInvalid("no journal is known to look in", [Problem(named, "it is no file", fix)])
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        found = journal.document(kind.KIND, named)
    return parse(found.text, kind, name=f"{kind.KIND.lower()} {found.name} ({found.digest[:12]}) in the journal")


def keep(settings: Config, name: str, document: Document) -> str:
    """Keep a document as the newest of its kind and name; returns its digest."""
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        return journal.keep_document(document.KIND, name, dump(document))
