"""Large plans as they were read before: YAML of hundreds of machines takes seconds, its JSON a tenth of one.

A reading lies beside its plan, in `.kubeferry/readings/`, under the digest of the text that it was made from. It is
believed only where its plan has the digest that the text claims, and is whole by it: a reading that somebody changed is
none, and a plan that somebody changed has another text, and is read as if it were the first time. Readings may be
deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from pydantic import ValidationError

from kubeferry.documents.plan import Plan, is_whole
from kubeferry.outside import atomic

KEPT = 8

_CLAIMED = re.compile(r"""^ ?"?digest"?: ['"]?([0-9a-f]{64})['"]?,?$""", re.MULTILINE)
_NAME = re.compile(r"[0-9a-f]{64}\.json")  # the folder may be a link to one that holds other things


def recall(path: Path, text: str) -> Plan | None:
    """The plan that this text is; None where it was not read before, or what is kept of that is not to be believed."""
    try:
        plan = Plan.model_validate_json(_place(path, text).read_bytes())
    except (OSError, ValidationError):
        return None
    return plan if _CLAIMED.findall(text) == [plan.digest] and is_whole(plan) else None


def keep(path: Path, text: str, plan: Plan) -> None:
    """Remember how a text was read. Where that cannot be written, it is read again next time."""
    place = _place(path, text)
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        ours = (one for one in place.parent.glob("*.json") if _NAME.fullmatch(one.name))
        for old in sorted(ours, key=lambda one: one.stat().st_mtime)[: -(KEPT - 1)]:
            old.unlink(missing_ok=True)
        atomic.replace_text(place, plan.model_dump_json(by_alias=True, exclude_unset=True))


def _place(path: Path, text: str) -> Path:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return path.absolute().parent / ".kubeferry" / "readings" / f"{digest}.json"
