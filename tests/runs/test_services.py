"""Services that were asked for, of a real Debian with systemd: as they were at libvirt, and as they are in the copy.

Nobody's network is shown: the copy's cards are there, and nothing gives them addresses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import debian, estate, guests
from lab.domains import DiskFile, Machine
from lab.ground import until
from tests.needs import needs

PREFIX = "kft-services-"
NAME = f"{PREFIX}debian"
# One that takes its time, as a database does, while the agent answers already; and one that goes once: it finds that it
# was there before.
UNITS = (
    ("lab-slow.service", "sleep 40; echo up >/up"),
    ("lab-once.service", "test ! -e /ran; touch /ran"),
)
DEBIAN = Machine(
    "debian",
    "A whole system",
    "Debian with systemd, and services of its own.",
    guests.Spec("debian", size=1024 * guests.MIB, units=UNITS),
    (DiskFile("vda", "virtio", "debian.raw", "raw"),),
    memory_mib=512,
)
CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources: {lab: {kind: libvirt, uri: "qemu:///system"}}
target: {kind: directory, path: target}
journal: {url: "sqlite:///journal.db"}
"""
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
stop:
  agentSeconds: 120
  lastWords: [/data/boots]
  services: [lab-slow.service, lab-once.service, qemu-guest-agent.service, no-such.service]
probes:
  - {kind: agent, timeoutSeconds: 240}
  - {kind: counter, path: /data/boots, timeoutSeconds: 240}
"""

pytestmark = [
    needs("libvirtd", "qemu-system-x86_64", "root", *debian.PROGRAMS),
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("libvirt"),
]


def kubeferry(folder: Path, *words: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "flows", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, timeout=400, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the report says of the machine, once it has moved."""
    folder = tmp_path_factory.mktemp("services")
    source = folder / "source"
    try:
        estate.add(DEBIAN, source, prefix=PREFIX)
        until(lambda: estate.read_inside(NAME, "/up"), seconds=200, what="the system to be up")
        (folder / "kubeferry.yaml").write_text(CONFIG)
        (folder / "policy.yaml").write_text(POLICY)
        kubeferry(folder, "discover", "-m", NAME)
        kubeferry(folder, "plan", "inventory.yaml", "--policy", "policy.yaml")
        kubeferry(folder, "migrate", "plan.yaml")
        kubeferry(folder, "report", "plan.yaml", "--out", ".")
        (machine,) = json.loads((folder / "report.json").read_text())["machines"]
        yield machine
        kubeferry(folder, "release", "plan.yaml", "--everything")
    finally:
        estate.down(source)


def test_services_are_compared_once_the_copy_has_started_them(told: dict[str, Any]) -> None:
    """Its agent answers long before."""
    assert told["verdict"] == "proven", told["why"]
    compared = {one["what"]: (one["before"], one["after"], one["outcome"]) for one in told["boot"]["compared"]}
    assert compared["service lab-slow.service"] == ("active", "active", "same")
    assert compared["service qemu-guest-agent.service"] == ("active", "active", "same")
    assert compared["service lab-once.service"] == ("active", "failed", "changed")
    assert compared["service no-such.service"] == ("inactive", "inactive", "same")


def test_what_else_it_says_is_there(told: dict[str, Any]) -> None:
    compared = {one["what"]: (one["before"], one["after"], one["outcome"]) for one in told["boot"]["compared"]}
    assert compared["host name"] == ("debian", "debian", "same")
    assert compared["mount /"][2] == "same"
    assert compared["clock"][2] == "same"
    assert compared["time zone"][2] == "same"
    assert [name for name in compared if name.startswith("card ") and name.endswith(": name")]
