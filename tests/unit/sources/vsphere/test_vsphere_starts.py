"""How a vSphere machine went off, from events of its last run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import vim

from kubeferry.sources import WentOff
from kubeferry.sources.vsphere.starts import told_of

US = "VSPHERE.LOCAL\\kubeferry"
AT = "2026-11-29T10:44:09+00:00"


def events(*told: tuple[str, str]) -> list[Any]:
    """Events by the end of their kind and their user, a second apart; the newest first, as no order is promised."""
    made = [
        getattr(vim.event, f"Vm{kind}Event")(
            key=key, userName=user, createdTime=datetime(2026, 11, 29, 10, 44, key, tzinfo=UTC)
        )
        for key, (kind, user) in enumerate(told)
    ]
    return made[::-1]


OTHERS = [("PoweredOn", US), ("Stopping", "bob")]


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ([], WentOff()),
        ([("PoweredOn", US)], WentOff()),
        ([("PoweredOn", "bob"), ("GuestShutdown", US), ("PoweredOff", "")], WentOff(at="2026-11-29T10:44:02+00:00")),
        ([*OTHERS, ("PoweredOff", "")], WentOff(by="user bob", at="2026-11-29T10:44:02+00:00")),
        ([*OTHERS, ("PoweredOff", US.lower())], WentOff(at="2026-11-29T10:44:02+00:00")),
        ([("PoweredOn", US), ("PoweredOff", "")], WentOff(at="2026-11-29T10:44:01+00:00")),
        ([("PoweredOn", "bob"), ("PoweredOff", US), ("PoweredOn", "bob"), ("GuestShutdown", "bob"), ("PoweredOff", "")],
         WentOff(by="user bob", at="2026-11-29T10:44:04+00:00")),
    ],
)  # fmt: skip
def test_who_has_stopped_it_is_told_where_that_is_somebody_else_for_certain(
    told: list[tuple[str, str]], found: WentOff
) -> None:
    assert told_of(events(*told), US) == found


def test_where_its_start_is_kept_no_more_nobody_is_named() -> None:
    assert told_of(events(("Stopping", "bob"), ("PoweredOff", "bob")), US).by == ""
