"""UEFI variables on their way from the source's flash to the target's: read, put into its layout, proven there."""

from __future__ import annotations

import hashlib

from kubeferry.errors import InputInvalid, SourceRefused
from kubeferry.images import variables
from kubeferry.life.events import VariablesCarried
from kubeferry.steps.work import Work


def refuse_unreadable(work: Work) -> None:
    """Before anything is touched: what is to be carried can be read now, so it can after the stop. Raises
    SourceRefused."""
    if work.entry.variables is not None:
        _converted(work)


def carry(work: Work) -> None:
    """Put the variables of a source that is off in place, where the plan says that they go, and record their proof."""
    if work.entry.variables is None:
        return
    found = _converted(work)
    if found is None:
        work.record(VariablesCarried())
        return
    source, store = found
    where = work.target.keep_variables(work.entry, store, work.ledger, work.lease.fence)
    work.record(
        VariablesCarried(
            source_digest=hashlib.sha256(source).hexdigest(),
            digest=hashlib.sha256(store).hexdigest(),
            size_bytes=len(store),
            names=tuple(dict.fromkeys(one.name for one in variables.variables_of(store))),
            where=where,
        )
    )


def _converted(work: Work) -> tuple[bytes, bytes] | None:
    """The store as the source has it and as the target wants it; None where the source has none yet."""
    kept = work.entry.variables
    source = work.source.variables(work.entry.machine) if kept is not None else None
    if kept is None or source is None:
        return None
    try:
        return source, variables.converted(source, kept.layout)
    except InputInvalid as error:
        raise SourceRefused(
            "its UEFI variables cannot be carried",
            why="; ".join(problem.what for problem in error.problems),
            fix="Leave them behind with keepVariables: false in the machine's policy, and plan again.",
            machine=work.entry.name,
        ) from error
