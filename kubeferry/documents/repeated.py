"""What is done again and again: each so many seconds, or at the times of a cron line in local time."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from kubeferry.shapes import Value

_FIELD = r"[0-9*/,\-A-Za-z]+"
_CRON = re.compile(rf"{_FIELD}( {_FIELD}){{4}}", re.ASCII)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"{name[:60]!r} is not a time zone: write one as Europe/Vienna") from None
    return name


def _cron(line: str) -> str:
    if not _CRON.fullmatch(line):
        raise ValueError("write five fields, as `0 */4 * * *`")
    return line


class Repeated(Value):
    """`every_seconds`, or at the times of a `cron` line by the clock of `time_zone`, an IANA name."""

    every_seconds: Annotated[int, Field(ge=60)] | None = None
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    @model_validator(mode="after")
    def _one_of_them(self) -> Repeated:
        if (self.every_seconds is None) == (self.cron is None):
            raise ValueError("write everySeconds or cron, one of the two")
        return self
