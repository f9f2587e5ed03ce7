"""The manifest of an OVF: a line with a digest for every file. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kubeferry.errors import Problem
from kubeferry.uris import DIGESTS

LIMIT_BYTES = 1 << 20
_LINE = re.compile(r"(SHA-?\d{1,3}) ?\((.{1,1000}?)\) ?= ?([0-9a-fA-F]{1,200})", re.ASCII | re.IGNORECASE)
FIX = "Get the manifest again from where the machine was exported; it has lines such as `SHA256(disk.vmdk)= …`."


@dataclass(frozen=True, slots=True)
class Manifest:
    """Digests by file name, each as `algorithm:hex` with small letters."""

    digests: dict[str, str]
    where: str


def parse_manifest(text: str, where: str) -> tuple[Manifest, list[Problem]]:
    """What a manifest says, and every line that says nothing that can be checked."""
    digests: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        algorithm = found[1].lower().replace("-", "") if found else ""
        if found is None or len(found[3]) != DIGESTS.get(algorithm):
            problems.append(Problem(f"{where}:{number}", f"{line[:80]!r} is no digest that is known", FIX))
        elif digests.setdefault(found[2], f"{algorithm}:{found[3].lower()}") != f"{algorithm}:{found[3].lower()}":
            problems.append(Problem(f"{where}:{number}", f"{found[2]!r} has two digests", FIX))
    return Manifest(digests, where), problems
