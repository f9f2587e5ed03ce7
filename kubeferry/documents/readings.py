"""Large plans as they were read before, or written: YAML of hundreds of machines takes seconds, lines do not.

A reading lies beside its plan, in `.kubeferry/readings/`, under the digest of the text that it stands for, in the form
of `lines`. It is believed only where its plan has the digest that the text claims, and is whole by it: a reading that
somebody changed is none, and a plan that somebody changed has another text, and is read as if it were the first time.
Readings may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kubeferry.documents.lines import NotLines
from kubeferry.documents.outline import Outline
from kubeferry.documents.plan import Plan
from kubeferry.outside import atomic

KEPT = 8
STEP = 1 << 20

_CLAIMED = re.compile(rb"""^ ?"?digest"?: ['"]?([0-9a-f]{64})['"]?,?\r?$""", re.MULTILINE)
_NAME = re.compile(r"[0-9a-f]{64}\.jsonl")  # the folder may be a link to one that holds other things

P = TypeVar("P", Plan, Outline)


@dataclass(frozen=True, slots=True)
class Text:
    """A plan's file as it was when it was looked at: the digest of its text, and each plan's digest that it names."""

    path: Path
    digest: str
    claims: tuple[str, ...]

    @property
    def reading(self) -> Path:
        """Where its reading lies, if there is one."""
        return self.path.absolute().parent / ".kubeferry" / "readings" / f"{self.digest}.jsonl"


def text_of(path: Path) -> Text:
    """Look at a plan's file without holding it. Raises OSError."""
    seen = hashlib.sha256()
    claims: list[str] = []
    with path.open("rb") as stream:
        for part in _whole_lines(stream.read, seen.update):
            claims += (claim.decode() for claim in _CLAIMED.findall(part))
    return Text(path, seen.hexdigest(), tuple(claims))


def _whole_lines(read: Callable[[int], bytes], seen: Callable[[bytes], None]) -> Iterator[bytes]:
    rest = b""
    while part := read(STEP):
        seen(part)
        whole, end, begun = part.rpartition(b"\n")
        if end:
            yield rest + whole + end
            rest = begun
        else:
            rest += part
    yield rest


def recall(text: Text, read: Callable[[Iterable[bytes]], P]) -> P | None:
    """What `read` (of `lines`) makes of the reading of this text; None where it was not read before, or what is kept of
    that is not to be believed."""
    try:
        with text.reading.open("rb") as stream:
            plan = read(stream)
    except (OSError, NotLines):
        return None
    return plan if text.claims == (plan.digest,) else None


def keep(text: Text, lines: Iterable[str]) -> bool:
    """Remember how a text was read, in lines that may be made meanwhile: nothing is kept where they raise something.
    Returns False where it cannot be written: it is read again next time."""
    place = text.reading
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        ours = (one for one in place.parent.glob("*.jsonl") if _NAME.fullmatch(one.name))
        for old in sorted(ours, key=lambda one: one.stat().st_mtime)[: -(KEPT - 1)]:
            old.unlink(missing_ok=True)
        atomic.replace_lines(place, (f"{line}\n" for line in lines))
        return True
    return False
