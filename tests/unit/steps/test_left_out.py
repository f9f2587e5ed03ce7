"""A machine one of whose disks the policy leaves out: it moves, and nobody ever opens that disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubeferry.documents import DiskChoice, DiskMatch, MachinePolicy, Policy
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from tests.unit.steps.conftest import POLICY

Build = Callable[..., Any]
LESS = MachinePolicy(disks=(DiskChoice(match=DiskMatch(id="vdb"), include=False),))


def test_it_moves_warm_and_cold_while_that_disk_is_not_even_there(build: Build) -> None:
    for mode in ("cold", "warm"):
        policy: Policy = POLICY.model_copy(update={"machines": {"web": LESS}, "mode": mode})
        scene = build(policy=policy)
        scene.disk("vdb").unlink()
        if mode == "warm":
            assert scene.drive(Goal.PRECOPY).phase is Phase.SYNCED
        assert scene.drive().phase is Phase.COMMITTED
        assert scene.state.disks == ("vda",)
        assert list(scene.target.disks) == ["web/vda"]
        assert scene.equal()
