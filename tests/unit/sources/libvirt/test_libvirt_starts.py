"""When a domain started and went off, by the lines of QEMU's log as libvirt writes them."""

from __future__ import annotations

import pytest

from kubeferry.sources.libvirt.starts import newest, off_since_start

START = "2026-11-29 10:00:00.123+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4 (Debian)\n"
OFF = "2026-11-29 10:44:39.500+0000: shutting down, reason=shutdown\n"
AGAIN = "2026-11-29 11:00:00.000+0000: starting up libvirt version: 9.0.0\n"


def test_the_newest_start_is_told() -> None:
    assert newest(START + OFF + AGAIN + "noise\n") == "2026-11-29 11:00:00.000+0000"
    assert newest(OFF) == newest("") == ""


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        (START + OFF, "2026-11-29T10:44:39.500000+00:00"),
        (START + OFF + AGAIN, ""),
        (START, ""),
        ("", ""),
        (START + "yesterday: shutting down, reason=crashed\n", ""),
    ],
)
def test_when_it_went_off_is_told_of_its_last_run_only(lines: str, at: str) -> None:
    assert off_since_start(lines) == at
