"""The manifest of an OVF: a line with a digest for every file. Pure.

What contradicts a file, or itself, is refused; a line that says nothing which can be checked is told, and no more: the
files that it speaks of are as if they had no digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kubeferry.errors import Problem
from kubeferry.uris import DIGESTS

LIMIT_BYTES = 1 << 20
_LINE = re.compile(r"((?:SHA|MD)-?\d{1,3})\s*\((.{1,1000}?)\)\s*=\s*([0-9a-fA-F]{1,200})", re.ASCII | re.IGNORECASE)
_SUMS = re.compile(r"([0-9a-fA-F]{32,128}) [ *](.{1,1000})", re.ASCII)  # as sha256sum and its like write them
FIX = "Get the manifest again from where the machine was exported; it has lines such as `SHA256(disk.vmdk)= …`."


@dataclass(frozen=True, slots=True)
class Manifest:
    """Digests by file name, each as `algorithm:hex` with small letters, of several the strongest; `weaker` are the
    others. `unread` are the lines that say nothing that can be checked."""

    digests: dict[str, str]
    where: str
    weaker: tuple[tuple[str, str], ...] = ()
    unread: list[str] = field(default_factory=list)


def parse_manifest(text: str, where: str) -> tuple[Manifest, list[Problem]]:
    """What a manifest says, and every line that contradicts another one."""
    told: dict[tuple[str, str], str] = {}
    unread: list[str] = []
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip().strip("\0")
        if not stripped or stripped.startswith("#"):
            continue
        name, algorithm, digits = _digest(stripped)
        if not name:
            unread.append(f"line {number}: {stripped[:80]!r}")
        elif told.setdefault((name, algorithm), digits) != digits:
            problems.append(Problem(f"{where}:{number}", f"{name!r} has two digests", FIX))
    digests: dict[str, str] = {}
    weaker = []
    for (name, algorithm), digits in sorted(told.items(), key=lambda one: DIGESTS[one[0][1]], reverse=True):
        if name in digests:
            weaker.append((name, f"{algorithm}:{digits}"))
        else:
            digests[name] = f"{algorithm}:{digits}"
    return Manifest(digests, where, tuple(weaker), unread), problems


def _digest(line: str) -> tuple[str, str, str]:
    """A file's name, the algorithm and the digits; no name for a line that says none that is known."""
    if (found := _LINE.fullmatch(line)) is not None:
        name, algorithm, digits = found[2].strip(), found[1].lower().replace("-", ""), found[3].lower()
    elif (found := _SUMS.fullmatch(line)) is not None:
        name, digits = found[2].strip(), found[1].lower()
        algorithm = next((known for known, length in DIGESTS.items() if length == len(digits)), "")
    else:
        return "", "", ""
    known = len(digits) == DIGESTS.get(algorithm)
    return (name.removeprefix("./") if known else ""), algorithm, digits
