"""Only the newest runner starts and stops a machine, by the number on its object. The cluster is a double: objects with
versions, as an API server keeps them; what happens between two requests is what the test says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import TargetConfig
from kubeferry.errors import Fenced, TargetUnavailable
from kubeferry.targets.kubevirt import fences, machine, objects
from kubeferry.targets.kubevirt.answers import Changed
from kubeferry.targets.kubevirt.kinds import VIRTUAL_MACHINE, Kind

Object = dict[str, Any]
CONFIG = TargetConfig(kind="kubevirt", stop_seconds=0.05)


class Versioned:
    """`before` is called before each request that changes something, with what it is: others act there."""

    def __init__(self, entry: Any) -> None:
        self.object: Object = copy.deepcopy(entry.manifests[1])
        self.object["metadata"]["resourceVersion"] = "1"
        self.starts = 0
        self.before: Callable[[str], None] = lambda _what: None

    def get(self, kind: Kind, _name: str, _namespace: str = "") -> Object | None:
        return copy.deepcopy(self.object) if kind is VIRTUAL_MACHINE else None

    def list(self, *_asked: object) -> list[Object]:
        return []

    def apply(self, wanted: Object, _kind: Kind, *, force: bool = False, manager: str = "kubeferry") -> Object:
        self.before(f"{manager} {wanted.get('spec', {}).get('runStrategy', '')}".strip())
        asked = wanted["metadata"].get("resourceVersion")
        if asked is not None and asked != self.object["metadata"]["resourceVersion"]:
            raise Changed("it changed at the same moment")
        if manager == "kubeferry":
            self.object["spec"]["runStrategy"] = wanted["spec"]["runStrategy"]
        else:
            self.object["metadata"]["annotations"] |= wanted["metadata"]["annotations"]
        self.touch()
        return copy.deepcopy(self.object)

    def call(self, _method: str, path: str, **_more: object) -> bytes:
        self.before(path.rpartition("/")[2])
        self.starts += path.endswith("/start")
        return b""

    def touch(self) -> None:
        """A controller writes into the object."""
        self.object["metadata"]["resourceVersion"] = str(int(self.object["metadata"]["resourceVersion"]) + 1)

    @property
    def fence(self) -> int:
        return fences.fence_of(self.object)

    @property
    def strategy(self) -> str:
        return str(self.object["spec"]["runStrategy"])


@pytest.fixture
def cluster(make: Any, monkeypatch: pytest.MonkeyPatch) -> Versioned:
    monkeypatch.setattr(fences, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(machine, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(objects, "check_applied", lambda *_asked: None)
    made = Versioned(planned(make, "Always"))
    made.object["spec"]["runStrategy"] = "Halted"
    return made


def planned(make: Any, strategy: str) -> Any:
    entry = make.entry()
    claim, vm = entry.manifests
    spec = vm["spec"] | {"runStrategy": strategy}
    return entry.model_copy(update={"manifests": (claim, vm | {"spec": spec})})


def once(at: str, act: Callable[[], object]) -> Callable[[str], None]:
    acted: list[str] = []

    def before(what: str) -> None:
        if what == at and not acted:
            acted.append(what)
            act()

    return before


def start(cluster: Any, entry: Any, fence: int) -> None:
    machine.start(cluster, entry, lambda _thing: None, fence)


def test_who_starts_and_stops_leaves_the_number(cluster: Versioned, make: Any) -> None:
    entry = planned(make, "Always")
    start(cluster, entry, 5)
    assert (cluster.fence, cluster.strategy, cluster.starts) == (5, "Manual", 1)
    assert machine.hand_over(cluster, entry, 5) == "Always"  # type: ignore[arg-type]
    assert (cluster.fence, cluster.strategy, cluster.starts) == (5, "Always", 1)
    machine.stop(cluster, CONFIG, entry, 6)
    assert (cluster.fence, cluster.strategy) == (6, "Halted")
    with pytest.raises(Fenced, match="newer runner") as caught:
        start(cluster, entry, 5)
    assert "carries fence 6, and this runner has 5" in caught.value.why
    assert cluster.strategy == "Halted"


def test_who_does_not_know_a_number_is_not_asked_for_one(cluster: Versioned, make: Any) -> None:
    start(cluster, planned(make, "Always"), 0)
    assert (cluster.fence, cluster.strategy) == (0, "Manual")
    machine.hand_over(cluster, planned(make, "Always"), 0)  # type: ignore[arg-type]
    assert (cluster.fence, cluster.strategy) == (0, "Always")


@pytest.mark.parametrize("at", ["kubeferry-fence", "kubeferry Manual"])
def test_who_sleeps_between_look_and_deed_does_not_start_what_was_given_back(
    cluster: Versioned, make: Any, at: str
) -> None:
    entry = planned(make, "Always")
    cluster.before = once(at, lambda: machine.stop(cluster, CONFIG, entry, 6))  # type: ignore[arg-type]
    with pytest.raises(Fenced, match="newer runner"):
        start(cluster, entry, 5)
    assert (cluster.fence, cluster.strategy) == (6, "Halted")


@pytest.mark.parametrize("at", ["kubeferry-fence", "kubeferry Always"])
def test_who_sleeps_before_the_commit_s_deed_does_not_wake_what_was_given_back(
    cluster: Versioned, make: Any, at: str
) -> None:
    entry = planned(make, "Always")
    start(cluster, entry, 4)
    cluster.before = once(at, lambda: machine.stop(cluster, CONFIG, entry, 6))  # type: ignore[arg-type]
    with pytest.raises(Fenced, match="newer runner"):
        machine.hand_over(cluster, entry, 5)  # type: ignore[arg-type]
    assert (cluster.fence, cluster.strategy) == (6, "Halted")


@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure", "Manual", "Halted"])
def test_what_is_handed_over_twice_is_written_once(cluster: Versioned, make: Any, strategy: str) -> None:
    entry, written = planned(make, strategy), []
    start(cluster, entry, 5)
    cluster.before = written.append
    assert {machine.hand_over(cluster, entry, 5) for _ in range(2)} == {strategy}  # type: ignore[arg-type]
    assert cluster.strategy == strategy
    assert written == ([] if strategy == "Manual" else [f"kubeferry {strategy}"])


@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure", "Manual", "Halted"])
def test_a_machine_that_the_cluster_would_start_again_loses_its_strategy_before_it_is_stopped(
    cluster: Versioned, make: Any, strategy: str
) -> None:
    """By whatever plan it is stopped: an older one may have handed it over."""
    cluster.object["spec"]["runStrategy"], written = "Always", []
    cluster.before = written.append
    machine.stop(cluster, CONFIG, planned(make, strategy), 6)  # type: ignore[arg-type]
    assert cluster.strategy == objects.WAITING[strategy]
    assert cluster.strategy not in objects.STARTING
    assert written == ["kubeferry-fence", f"kubeferry {cluster.strategy}"]


def test_who_sleeps_before_a_request_that_has_no_condition_is_told_that_it_came_too_late(
    cluster: Versioned, make: Any
) -> None:
    entry = planned(make, "Manual")
    cluster.before = once("start", lambda: fences.raise_fence(cluster, entry, 6))  # type: ignore[arg-type]
    with pytest.raises(Fenced, match="newer runner"):
        start(cluster, entry, 5)
    assert cluster.starts == 1


def test_what_controllers_write_into_the_object_is_no_other_runner(cluster: Versioned, make: Any) -> None:
    cluster.before = once("kubeferry Manual", cluster.touch)
    start(cluster, planned(make, "Always"), 5)
    cluster.before = once("kubeferry Always", cluster.touch)
    machine.hand_over(cluster, planned(make, "Always"), 5)  # type: ignore[arg-type]
    assert (cluster.fence, cluster.strategy) == (5, "Always")


def test_an_object_that_never_stands_still_is_told(cluster: Versioned, make: Any) -> None:
    cluster.before = lambda _what: cluster.touch()
    with pytest.raises(TargetUnavailable, match="changes all the time"):
        start(cluster, planned(make, "Always"), 5)


@pytest.mark.parametrize("note", ["", "soon", "-3", "0x9"])
def test_a_number_that_is_none_is_no_fence(cluster: Versioned, make: Any, note: str) -> None:
    cluster.object["metadata"]["annotations"][fences.FENCE] = note
    start(cluster, planned(make, "Always"), 5)
    assert cluster.fence == 5
