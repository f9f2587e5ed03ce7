"""Machines of the local libvirtd, copied ahead into a real cluster, are rehearsed by real KubeVirt over their claims.

With the product's own commands and account (`moves`). What lies on the volume is read below the claim, before and
after: KubeVirt boots from `ephemeral` volumes, and the claim's bytes stay as they are, Block and Filesystem alike. That
machines move after it shows `test_programme`.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeferry.life.rehearsal_events import RehearsalEnded, RehearsalObserved, Rehearsed
from lab import estate
from lab.ground import Ground, until
from lab.tenant import Tenant
from tests.cluster.moves import ROOT, Move, moving

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900), pytest.mark.xdist_group("libvirt")]

NAMESPACE = "kubeferry-rehearsal"
PREFIX = "kfreh-"
NAMES = {"web": "Block", "db": "Filesystem"}
OURS = ("virtualmachine", "virtualmachineinstance", "pod", "networkpolicy")
POLICY: dict[str, Any] = {
    "mode": "warm",
    "stop": {"agentSeconds": 60, "acpiSeconds": 60},
    "probes": [
        {"kind": "agent", "timeoutSeconds": 240},
        {"kind": "screen", "stillSeconds": 5, "expect": "is up", "timeoutSeconds": 240},
        {"kind": "http", "port": 80, "path": "/boots", "timeoutSeconds": 240},
    ],
    "rehearsal": {"required": True},
    "machines": {
        f"{PREFIX}{name}": {"storage": {"volumeMode": mode, "accessMode": "ReadWriteOnce"}}
        for name, mode in NAMES.items()
    },
}


@pytest.fixture(scope="module")
def move(
    own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant], prefect: str, tmp_path_factory: Any
) -> Iterator[Move]:
    """Both machines run and are copied ahead once."""
    with moving(own, make_tenant(NAMESPACE), tmp_path_factory, POLICY) as made:
        estate.up(made.estate, prefix=PREFIX)
        made.kubeferry("discover", *(word for name in NAMES for word in ("-m", PREFIX + name)))
        made.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml", "--config", "kubeferry.yaml")
        made.kubeferry("precopy", "plan.yaml")
        yield made


def digests(move: Move, name: str) -> list[str]:
    """What lies on the machine's claims, by another look than ours."""
    found = []
    for disk in move.plan.entry(PREFIX + name).disks:
        with move.ground.disk(move.tenant.namespace, disk.claim) as raw:
            found.append(hashlib.sha256(raw.read_bytes()).hexdigest())
    return found


def left(move: Move) -> list[str]:
    """What is there of any rehearsal."""
    return [
        f"{kind} {name}"
        for kind in OURS
        for name in move.ground.names(kind, move.tenant.namespace)
        if "rehearsal" in name
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_source_is_asked_first(move: Move, name: str) -> None:
    told = move.kubeferry("probe", "plan.yaml", "-m", PREFIX + name, "--at", "source", check=False)
    assert "the guest agent answers" in told.out
    assert "not asked" in told.out, "nobody sees a screen at the source"


@pytest.mark.parametrize("name", NAMES)
def test_it_boots_over_its_claims_and_leaves_them_as_they_were(move: Move, name: str) -> None:
    before = digests(move, name)
    move.kubeferry("rehearse", "plan.yaml", "-m", PREFIX + name)
    assert digests(move, name) == before
    assert left(move) == []
    events = move.events(PREFIX + name)
    seen = next(event for event in events if isinstance(event, RehearsalObserved)).observation
    assert [(probe["kind"], probe["ok"]) for probe in seen["probes"]] == [("agent", True), ("screen", True)]
    assert "no network" in seen["notAsked"][0]
    assert seen["screenshot"].startswith("data:image/png")
    assert "interfaces" not in seen["seen"]
    passed = next(event for event in events if isinstance(event, Rehearsed))
    assert passed.roots
    ended = next(event for event in events if isinstance(event, RehearsalEnded))
    assert len(ended.removed) == 2, "the machine and its network policy"


def test_one_that_is_killed_in_its_middle_is_ended_by_release(move: Move) -> None:
    before = digests(move, "web")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KUBEFERRY_CONFIG": "kubeferry.yaml", "KUBECONFIG": ""}
    argv = [sys.executable, "-m", "flows", "rehearse", "plan.yaml", "-m", f"{PREFIX}web"]
    with (move.folder / "killed.log").open("wb") as log:
        program = subprocess.Popen(
            argv, cwd=move.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
    until(lambda: any("instance" in one for one in left(move)), seconds=120, what="the rehearsal to start")
    os.killpg(program.pid, signal.SIGKILL)
    program.wait(10)
    assert left(move)
    move.kubeferry("release", "plan.yaml")
    until(lambda: not left(move), seconds=60, what="the rehearsal to go")
    assert digests(move, "web") == before
