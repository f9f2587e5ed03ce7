"""UEFI variables carried by the steps: read before the stop, proven at the target, recorded, given up with the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from kubeferry.documents import KeptVariables
from kubeferry.errors import IntegrityFailed, SourceRefused, TargetRefused
from kubeferry.images.variables import Variable, store_of, variables_of
from kubeferry.life.events import VariablesCarried
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power

MARK = Variable("Mark", UUID("12345678-1234-1234-1234-123456789abc"), 7, b"set at the source")
KEPT = KeptVariables(claim="persistent-state-for-web", file="nvram/web_VARS.fd")


@pytest.fixture
def uefi(build: Callable[..., Any]) -> Any:
    """A scene whose machine keeps variables, in flash of the small size."""
    scene = build()
    scene.keeps(variables=KEPT)
    (scene.folder / "web.variables").write_bytes(store_of((MARK,), "2m"))
    return scene


def carried(scene: Any) -> list[VariablesCarried]:
    return [record.event for record in scene.events if isinstance(record.event, VariablesCarried)]


def test_they_are_at_the_target_before_it_is_put_in_place(uefi: Any) -> None:
    assert uefi.drive().phase is Phase.COMMITTED
    assert uefi.kinds.index("variables-carried") == uefi.kinds.index("applied") - 1
    store = bytes(uefi.target.disks["web/variables"])
    assert variables_of(store) == (MARK,)
    (event,) = carried(uefi)
    assert event.names == ("Mark",)
    assert event.digest == hashlib.sha256(store).hexdigest()
    assert event.source_digest == hashlib.sha256(store_of((MARK,), "2m")).hexdigest()


def test_what_the_guest_sets_last_is_what_arrives(uefi: Any) -> None:
    later = Variable("Mark", MARK.vendor, 7, b"set during the copy")
    uefi.after = lambda action: (
        (uefi.folder / "web.variables").write_bytes(store_of((later,), "4m")) if action.kind == "stop-source" else None
    )
    uefi.drive()
    assert variables_of(bytes(uefi.target.disks["web/variables"])) == (later,)


@pytest.mark.parametrize("store", [b"", b"something else" * 100], ids=["empty", "other"])
def test_what_cannot_be_read_is_told_while_the_source_runs(uefi: Any, store: bytes) -> None:
    (uefi.folder / "web.variables").write_bytes(store)
    with pytest.raises(SourceRefused, match="UEFI variables") as told:
        uefi.drive()
    assert "keepVariables" in told.value.fix
    assert "cutover-begun" not in uefi.kinds
    assert uefi.power is Power.RUNNING


def test_more_than_a_movers_work_can_hold_is_told_while_the_source_runs(uefi: Any) -> None:
    noise = hashlib.shake_256(b"noise").digest(200_000)
    much = Variable("Much", MARK.vendor, 7, noise)
    (uefi.folder / "web.variables").write_bytes(store_of((much,), "4m"))
    with pytest.raises(SourceRefused, match="too many"):
        uefi.drive()
    assert uefi.power is Power.RUNNING


def test_a_machine_that_never_ran_has_none_and_that_is_recorded(uefi: Any) -> None:
    (uefi.folder / "web.variables").unlink()
    assert uefi.drive().phase is Phase.COMMITTED
    assert carried(uefi) == [VariablesCarried()]


def test_where_they_have_no_room_the_source_runs_again(uefi: Any) -> None:
    uefi.target.faults["variables_room"] = [TargetRefused("it is not ours")]
    with pytest.raises(TargetRefused):
        uefi.drive()
    assert uefi.power is Power.RUNNING
    assert not uefi.target.applied


def test_what_reads_back_otherwise_is_not_started(uefi: Any) -> None:
    uefi.damage("variables")
    with pytest.raises(IntegrityFailed, match="read back otherwise"):
        uefi.drive()
    assert not uefi.target.applied
    assert uefi.power is Power.RUNNING
