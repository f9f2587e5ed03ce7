"""When a machine was last started, from the log that libvirt keeps of it on its hypervisor."""

from __future__ import annotations

from kubeferry.sources.libvirt.hosts import Host

LOG = "/var/log/libvirt/qemu"
STARTED = ": starting up libvirt version:"


def last_start(host: Host, name: str) -> str:
    """The time of its newest start; empty where the log is not there or says nothing. libvirt turns a log that has
    grown over, so the one before it is read as well."""
    logs = [f"{LOG}/{name}.log.0", f"{LOG}/{name}.log"]
    told = host.run(["grep", "--no-filename", "--text", "--fixed-strings", "-e", STARTED, "--", *logs])
    return newest(told.out)


def newest(lines: str) -> str:
    """The time in the last of these lines of a log; empty where there is none."""
    found = [line.partition(STARTED)[0] for line in lines.splitlines() if STARTED in line]
    return found[-1] if found else ""
