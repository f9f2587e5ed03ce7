"""The mark in a machine's own settings, or, where those are not ours to write, as the first line of its notes.

A setting (VMware writes it to the .vmx file, and shows it) asks for one privilege, notes for another one; and the
setting's name may be taken. What people wrote in the notes stays as it is, below the line. Pure; `marking` writes it.
"""

from __future__ import annotations

import re

from kubeferry.marks import read, without_line
from kubeferry.sources.vsphere.plain import Plain

NAME = "kubeferry.stopped"
SETTINGS, NOTES = "config.extraConfig", "config.annotation"
_OURS = re.compile(r"v\d+ ")  # how the marks of every version begin: what else stands there is somebody else's
_LINE = re.compile(rf"^{re.escape(NAME)}: ({_OURS.pattern}[^\n]*)(?:\n|\Z)", re.MULTILINE)


def text_of(props: Plain) -> str | None:
    """The mark among a machine's properties, the newer one of two; None where there is none."""
    return max((one for one in (setting(props), line(props)) if is_ours(one)), key=_age, default=None)


def without(notes: str | None) -> str | None:
    """A machine's notes as people wrote them; None for none, or for blanks alone."""
    left = without_line(below(notes)) or ""
    return left if left.strip() else None


def below(notes: str | None) -> str:
    """What stands below the line of the mark, byte for byte."""
    return _LINE.sub("", notes or "")


def setting(props: Plain) -> str:
    """What stands under the key; empty where nothing does: a setting is taken away by emptying it."""
    told = (one.get("value") for one in props.get(SETTINGS, []) if str(one.get("key", "")).lower() == NAME)
    return next((str(value) for value in told if value), "")


def line(props: Plain) -> str:
    """What stands in its notes; empty where nothing does."""
    found = _LINE.search(str(props.get(NOTES) or ""))
    return found[1] if found else ""


def is_ours(text: str) -> bool:
    """Whether this is the mark of some version of kubeferry."""
    return bool(_OURS.match(text))


def _age(text: str) -> str:
    mark = read(text)
    return (mark.off or mark.at) if mark else ""
