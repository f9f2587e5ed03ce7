"""A disk that another machine writes while this one is off: no copy of it would be the last one."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Companion
from kubeferry.errors import SourceRefused
from kubeferry.model import Machine, Power, Severity
from kubeferry.sources.disks import writers
from kubeferry.steps.questions import concerns_of


def shared(machine: Machine) -> Any:
    return writers.as_concerns(machine, [writers.problem("vdb", "vol-1", "other", "running")])


def test_it_hinders_who_moves_alone_before_the_stop(scene: Any) -> None:
    scene.source.concerns = shared
    with pytest.raises(SourceRefused, match="cannot be moved as planned") as refused:
        scene.drive()
    assert "vol-1 is other's as well, which is running" in refused.value.why
    assert "Stop other, too" in refused.value.fix
    assert "cutover-begun" not in scene.kinds
    assert scene.power is Power.RUNNING


def test_it_is_a_warning_where_all_are_stopped_together(scene: Any) -> None:
    scene.source.concerns = shared
    disks = tuple(disk.model_copy(update={"shared_with": ("other",)}) for disk in scene.entry.disks)
    others = (Companion(name="other", target_name="other"),)
    together = scene.entry.model_copy(update={"moves_with": others, "disks": disks})
    assert [one.severity for one in concerns_of(scene.source, together)] == [Severity.WARNING]
    assert [one.severity for one in concerns_of(scene.source, scene.entry)] == [Severity.CRITICAL]
