"""When a machine was last started, and went off, from the log that libvirt keeps of it on its hypervisor."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from kubeferry.sources.libvirt.hosts import Host

LOG = "/var/log/libvirt/qemu"
STARTED = ": starting up libvirt version:"
OFF = ": shutting down, reason="
"""Why is told, too: of a guest that shuts down the same word, whoever has asked it to."""


def last_start(host: Host, name: str) -> str:
    """The time of its newest start, as the log has it; empty where that is not there or says nothing."""
    return newest(_lines(host, name, STARTED))


def went_off(host: Host, name: str) -> str:
    """When it went off since it was started last (UTC, ISO 8601); empty where the log does not say."""
    return off_since_start(_lines(host, name, STARTED, OFF))


def _lines(host: Host, name: str, *words: str) -> str:
    """The lines of the log with any of these words. libvirt turns a log that has grown over, so the one before it is
    read as well."""
    logs = [f"{LOG}/{name}.log.0", f"{LOG}/{name}.log"]
    wanted = [option for word in words for option in ("-e", word)]
    return host.run(["grep", "--no-filename", "--text", "--fixed-strings", *wanted, "--", *logs]).out


def newest(lines: str) -> str:
    """The time in the last of these lines of a log; empty where there is none."""
    found = [line.partition(STARTED)[0] for line in lines.splitlines() if STARTED in line]
    return found[-1] if found else ""


def off_since_start(lines: str) -> str:
    """The time in the last of these lines, where that is one of a machine that went off."""
    time = (lines.splitlines() or [""])[-1].partition(OFF)
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(time[0]).astimezone(UTC).isoformat() if time[1] else ""
    return ""
