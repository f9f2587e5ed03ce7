"""The fence on a machine's object, against a real API server with its resource versions, managers and webhooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Entry
from kubeferry.errors import Fenced
from kubeferry.targets.kubevirt import fences, objects
from lab.ground import Ground
from lab.rig import Rig, rig
from lab.tenant import Tenant

VM = "VirtualMachine"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def tenant(make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-fences")


@pytest.fixture
def applied(ground: Ground, tenant: Tenant, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    with rig(ground, tenant, tmp_path, "fenced") as moved:
        moved.entry = running(moved.entry, request.param)
        moved.target.prepare(moved.entry, moved.ledger)
        moved.target.apply(moved.entry, moved.ledger, dry_run=False)
        yield moved
        moved.end()


def running(entry: Entry, strategy: str) -> Entry:
    """The plan's entry, with another word about running."""
    changed = [one | {"spec": one["spec"] | {"runStrategy": strategy}} for one in entry.manifests if one["kind"] == VM]
    return entry.model_copy(update={"manifests": (*[one for one in entry.manifests if one["kind"] != VM], *changed)})


def seen(moved: Rig) -> tuple[str, str]:
    """Number and strategy of the machine's object."""
    found = moved.ground.read("get", "virtualmachine", moved.entry.target_name, f"--namespace={moved.namespace}")
    return str(found["metadata"]["annotations"].get(fences.FENCE)), found["spec"]["runStrategy"]


@pytest.mark.parametrize("applied", ["Always"], indirect=True)
def test_a_runner_that_slept_does_not_start_what_another_one_gave_back(
    applied: Rig, kubevirt: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = applied
    put, slept = objects.put_strategy, []

    def asleep(*given: Any, **named: Any) -> None:
        """Between the look at the number and the deed, another one goes back."""
        if not slept:
            slept.append(given)
            moved.target.stop(moved.entry, 6)
        put(*given, **named)

    monkeypatch.setattr(objects, "put_strategy", asleep)
    with pytest.raises(Fenced, match="newer runner"):
        moved.target.start(moved.entry, moved.ledger, 5)
    assert seen(moved) == ("6", "Halted")
    assert not moved.target.runs(moved.entry)


@pytest.mark.parametrize("applied", ["Always", "Manual"], indirect=True)
def test_the_number_outlives_applying_and_only_the_newest_starts_and_stops(applied: Rig, kubevirt: Ground) -> None:
    moved = applied
    moved.target.stop(moved.entry, 7)
    told = moved.target.apply(moved.entry, moved.ledger, dry_run=False)
    assert {line.split()[0] for line in told} == {"unchanged"}
    assert seen(moved)[0] == "7"
    with pytest.raises(Fenced):
        moved.target.start(moved.entry, moved.ledger, 6)
    assert not moved.target.runs(moved.entry)
    moved.target.start(moved.entry, moved.written.append, 8)
    assert moved.target.runs(moved.entry)
    with pytest.raises(Fenced):
        moved.target.stop(moved.entry, 7)
    assert moved.target.runs(moved.entry)
    moved.target.stop(moved.entry, 9)
    assert not moved.target.runs(moved.entry)
