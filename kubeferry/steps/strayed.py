"""A machine that its source does not have any more: looked for at the configuration's other sources of its kind, since
hypervisors hand machines on to each other while they run. What is found is told, and nothing is done about it."""

from __future__ import annotations

import contextlib

from kubeferry.documents import Config, Entry
from kubeferry.errors import KubeferryError, SourceRefused
from kubeferry.model import UP
from kubeferry.sources import open_source
from kubeferry.words import first_of

SAME_EVERYWHERE = frozenset({"libvirt", "memory"})
"""Kinds whose identity of a machine means the same one at each of them; a vCenter's means another one elsewhere."""
NAMED = 9


def looked_for(config: Config, source: str, entry: Entry, error: SourceRefused) -> SourceRefused:
    """The error with where else the machine was looked for, and whether it is there; as it was where there is nowhere
    to look, or the source refused something else."""
    if config.is_estate(source):  # which has looked for it itself
        return error
    kind = config.sources[source].kind
    others = [name for name, one in config.sources.items() if name != source and one.kind == kind]
    if kind not in SAME_EVERYWHERE or not others:
        return error
    asked, silent = [], []
    for name in others:
        try:
            with contextlib.closing(open_source(name, config.sources[name])) as other:
                power = other.power(entry.machine)
        except SourceRefused:
            asked.append(name)
        except KubeferryError:
            silent.append(name)
        else:
            runs = "and runs there" if power in UP else f"and is {power} there"
            why = f"{error.why}; it is at source {name} now, {runs}".removeprefix("; ")
            fix = (
                f"Move it back to {source}, and run the same command again; or plan it from there: "
                f"`kubeferry discover --source {name}`."
            )
            return SourceRefused(error.what, why=why, fix=fix, machine=entry.name)
    told = [f"nor has {first_of(asked, NAMED)}" if asked else "", *(f"{name} does not answer" for name in silent)]
    why = "; ".join(filter(None, (error.why, *told)))
    return SourceRefused(error.what, why=why, fix=error.fix, machine=entry.name)
