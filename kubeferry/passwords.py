"""Passwords in addresses: found, so that they are refused, and struck out of what is told. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

STRUCK = "***"

_WORDS = "password|passwd|passphrase|secret|token|signature|credential|api[-_]?key"
_WHOLE = "pass|pwd|auth"  # as a part of a longer name these are no secrets: passfile, sshauth
# A colon that no port follows is a login's, whatever its password holds.
_IN_URL = re.compile(r"(\w://[^/\s:@\[]*:)(?!\d{1,5}[,/?#])[^\s'\"]+(?=@)")
_PARAMETER = re.compile(rf"([?&;](?:[\w-]*(?:{_WORDS})[\w-]*|{_WHOLE})=)[^&;\s'\"]+", re.IGNORECASE)
_NAME = re.compile(rf"{_WORDS}|^(?:{_WHOLE})$", re.IGNORECASE)


def struck(text: str) -> str:
    """The text with the passwords of its URLs struck out."""
    for given in (_IN_URL, _PARAMETER):
        text = given.sub(rf"\g<1>{STRUCK}", text)
    return text


def carried(uri: str) -> str:
    """What of an address is a secret, in words that do not tell it; empty where nothing is."""
    if _IN_URL.search(uri):
        return "it carries a password"
    try:
        names = [name for name, value in parse_qsl(urlsplit(uri).query) if value and _NAME.search(name)]
    except ValueError:
        names = []
    return f"its parameter {names[0]} carries a secret" if names else ""
