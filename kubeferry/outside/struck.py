"""What leaves this process is without secrets: a value of the environment whose name says that it is one, and one in a
URL, are struck out."""

from __future__ import annotations

import os
import re

from kubeferry.passwords import STRUCK, struck

_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_KEY|ACCESS_KEY|AUTH_STRING", re.IGNORECASE
)
_SHORTEST_SECRET = 4  # a shorter value stands in too many words


def without_secrets(text: str) -> str:
    """The text with what must not be kept struck out."""
    values = (value for name, value in os.environ.items() if _SECRET_NAME.search(name))
    for value in sorted((one for one in values if len(one) >= _SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(value, STRUCK)
    return struck(text)
