"""Before `plan` overwrites a file: whether that holds a plan that is under way. With it gone from sight, who would know
by which plan to roll its machines back?
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from kubeferry.config import find_config, read_config
from kubeferry.documents import Plan, load_outline
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal, exists
from kubeferry.life.machine_state import Phase
from kubeferry.life.states import ENDS
from kubeferry.words import first_of

NAMED = 5  # machines in an error; a plan may have hundreds
HEAD_CHARACTERS = 4096

_KIND = re.compile(r'^ ?"?kind"?: *"?Plan"?,?$', re.MULTILINE)
_CLAIMED = re.compile(r"""^ ?"?digest"?: *['"]?([0-9a-f]{64})['"]?,?$""", re.MULTILINE)


def refuse_under_way(out: Path, made: Plan, config: Path | None) -> None:
    """Raise InputInvalid where the file holds another plan of which the journal knows machines under way, or something
    that is no plan at all. A plan that was edited is one, by the digest that it claims."""
    digest = _digest_in(out)
    if digest in {"", made.digest}:
        return
    under_way = _under_way(digest, config)
    if not under_way:
        return
    fix = "Write the new plan elsewhere with --out; or bring this one to its end first, by `migrate` or `rollback`."
    what = f"by plan {digest[:12]} the journal knows under way: {first_of(under_way, NAMED)}"
    raise InputInvalid("the plan in the file is under way, and is not overwritten", [Problem(str(out), what, fix)])


def _digest_in(out: Path) -> str:
    """The digest of the plan that the file holds; empty for a file that is empty, or names none."""
    try:
        return load_outline(out).digest
    except InputInvalid as error:
        text = _text(out)
        if text.strip() and not _KIND.search(text[:HEAD_CHARACTERS]):
            fix = f"Write to another file with --out, or move {out} out of the way."
            raise InputInvalid("the file is there, and is no plan", [Problem(str(out), error.what, fix)]) from error
        claimed = _CLAIMED.findall(text)
        return str(claimed[-1]) if claimed else ""


def _text(out: Path) -> str:
    try:
        return out.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # who writes it will say why that cannot be done


def _under_way(digest: str, config: Path | None) -> list[str]:
    """Machines to which something was done by this plan that has not come to its end. Without a configuration there is
    no journal to ask; one that is not there yet is not made."""
    path = find_config(config)
    if not path.exists():
        return []
    settings = read_config(path).journal
    if not exists(settings):
        return []
    with contextlib.closing(Journal.open(settings)) as journal:
        states = journal.states(digest)
    return [name for name, state in states.items() if state.resumes not in ENDS | {Phase.PLANNED}]
