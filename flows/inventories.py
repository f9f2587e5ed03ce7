"""One inventory of those that are given: a plan may be of several sources, which were discovered one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kubeferry.config import read_config
from kubeferry.documents import Config, Inventory, load
from kubeferry.sources.estate.joined import joined_files, members_of

UNNAMED = "estate"
"""What sources are called together where no configuration has a name for them."""


def load_inventories(paths: Sequence[Path], config: Path | None) -> Inventory:
    """The inventory in these files. Raises InputInvalid with all that does not go together."""
    found = {str(path): load(path, Inventory) for path in dict.fromkeys(paths)}
    return as_one(found, read_config(config) if config and len(found) > 1 else None)


def as_one(found: Mapping[str, Inventory], config: Config | None) -> Inventory:
    """One of these, by where they are, as it is; several as that of an estate: of the configuration's that has all of
    their sources, else of one that is called `estate`. Raises InputInvalid."""
    if len(found) == 1:
        return next(iter(found.values()))
    sources = {member.name for one in found.values() for member in members_of(one)}
    estates = (config.estates if config else None) or {}
    named = [name for name, members in estates.items() if sources <= set(members)]
    return joined_files(min(named, key=lambda name: len(estates[name])) if named else UNNAMED, found)


def lacking(inventory: Inventory, config: Config | None) -> str:
    """What the configuration has to say before a plan of this inventory is carried out, as a line of it; empty where it
    says so, or the inventory is of one source, or of files."""
    members = [one.name for one in inventory.members or () if not one.kind.endswith("export")]
    if not members or (config is not None and set(members) <= config.members(inventory.source).keys()):
        return ""
    return f"estates: {{{inventory.source}: [{', '.join(members)}]}}"
