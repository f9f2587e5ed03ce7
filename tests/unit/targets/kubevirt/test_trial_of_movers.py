"""The small machine of a trial: which machines share one, and what of the plan it takes."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Entry, MoverError, MoverJob, MoverResult, MoverSettings, TargetConfig
from kubeferry.errors import Interrupted, TargetRefused
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import claims, job_spec, jobs, names, trial
from kubeferry.targets.kubevirt.kinds import CLAIM, Kind
from kubeferry.targets.kubevirt.trial import MOVED, PREFIX, grouped, job_of, small_machine
from lab.rig import an_entry

BLOCK = {"volume_mode": "Block", "access_mode": "ReadWriteOnce", "storage_class": "fast"}
FILES = {"volume_mode": "Filesystem", "access_mode": "ReadWriteOnce", "storage_class": "fast"}
WAY = DiskRef(uri="nbd+unix:///?socket=/run/x", size_bytes=1 << 20)


def entry(name: str, namespace: str = "shop", storage: dict[str, Any] = BLOCK) -> Entry:
    return an_entry(name, namespace, Path(f"/images/{name}.img"), storage)


def names_of(groups: list[list[Entry]]) -> list[list[str]]:
    return [[one.name for one in group] for group in groups]


def test_machines_whose_movers_are_alike_share_one() -> None:
    web, db = entry("web"), entry("db")
    other_place, other_kind, other_source = entry("far", "elsewhere"), entry("files", storage=FILES), entry("two")
    other_source = other_source.model_copy(
        update={"machine": other_source.machine.model_copy(update={"source": "second"})}
    )
    found = grouped([web, db, other_place, other_kind, other_source])
    assert names_of(found) == [["web", "db"], ["far"], ["files"], ["two"]]


def test_a_place_of_its_own_is_tried_of_its_own() -> None:
    web, gpu = entry("web"), entry("gpu")
    manifests = tuple(
        one
        | {"spec": one["spec"] | {"template": {"spec": one["spec"]["template"]["spec"] | {"nodeSelector": {"a": "b"}}}}}
        if one["kind"] == "VirtualMachine"
        else one
        for one in gpu.manifests
    )
    assert names_of(grouped([web, gpu.model_copy(update={"manifests": manifests})])) == [["web"], ["gpu"]]


def test_a_small_machine_has_names_of_its_own_and_the_plan_s_wishes() -> None:
    web = entry("web")
    small = small_machine(web)
    (planned,) = small.disks
    claim = claims.planned_claim(small, planned)
    own = claims.planned_claim(web, web.disks[0])
    assert small.target_name.startswith(PREFIX)
    assert small_machine(web).target_name == small.target_name, "the next one finds what this one left"
    assert small_machine(entry("db")).target_name != small.target_name
    assert claim["spec"] == own["spec"]
    assert claim["metadata"]["name"] == planned.claim != own["metadata"]["name"]
    assert claim["metadata"]["labels"][names.MACHINE_LABEL] == small.target_name
    assert names.objection(small, claim) is None


def test_of_each_kind_of_claim_the_smallest_is_opened() -> None:
    web = entry("web")
    (first,) = web.disks
    small = first.model_copy(update={"disk": "vdb", "claim": "web-vdb", "claim_bytes": 1 << 20, "size_bytes": 1 << 20})
    manifest = next(one for one in web.manifests if one["metadata"]["name"] == first.claim)
    second = manifest | {"metadata": manifest["metadata"] | {"name": "web-vdb"}}
    both = web.model_copy(update={"disks": (first, small), "manifests": (*web.manifests, second)})
    assert [disk.disk for disk in small_machine(both).disks] == ["vdb"]


@pytest.mark.parametrize("action", [*MOVED, "trial"])
def test_its_jobs_are_movers_jobs(action: str) -> None:
    small = small_machine(entry("web"))
    job = job_of(small, small.disks[0], WAY, action)
    manifest = job_spec.job_manifest(job, MoverSettings(), {}, ())
    assert manifest["metadata"]["name"].startswith("kf-")
    assert manifest["metadata"]["labels"][names.MACHINE_LABEL] == small.target_name
    assert manifest["spec"]["backoffLimit"] == (0 if action == "trial" else job_spec.RETRIES)
    assert (job.source is None) == (action == "verify")


def test_a_trial_runs_where_copies_run() -> None:
    small = small_machine(entry("web"))
    settings = MoverSettings(runtime_classes={"copy": "kata"})
    job = job_spec.job_manifest(job_of(small, small.disks[0], WAY, "trial"), settings, {}, ())
    assert job["spec"]["template"]["spec"]["runtimeClassName"] == "kata"


# --- what is made for it goes again -----------------------------------------------------------------------------------


class Held:
    """Objects that a cluster holds, and nothing else of one: nothing runs, no rule is asked, what is deleted is gone at
    once."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.made: list[str] = []

    def put(self, kind: Kind, manifest: dict[str, Any], created: str = "2026-01-01T00:00:00Z") -> None:
        name = manifest["metadata"]["name"]
        metadata = manifest["metadata"] | {"uid": f"uid-{name}", "creationTimestamp": created}
        self.objects[kind.name, name] = manifest | {"metadata": metadata}

    def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any] | None:
        return self.objects.get((kind.name, name))

    def list(self, kind: Kind, namespace: str = "", labels: dict[str, str] | None = None) -> list[dict[str, Any]]:
        found = [one for (held, _), one in self.objects.items() if held == kind.name]
        return [one for one in found if (labels or {}).items() <= one["metadata"].get("labels", {}).items()]

    def create(self, manifest: dict[str, Any], kind: Kind, *, dry_run: bool = False) -> dict[str, Any]:
        if not dry_run:
            self.made.append(f"{kind.name}/{manifest['metadata']['name']}")
            self.put(kind, manifest)
        return manifest

    def apply(self, manifest: dict[str, Any], kind: Kind, **_more: Any) -> dict[str, Any]:
        return manifest

    def delete(self, kind: Kind, name: str, namespace: str = "", **_more: Any) -> bool:
        return self.objects.pop((kind.name, name), None) is not None


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    def watch(_self: Any, job: MoverJob, _on_progress: Any) -> MoverResult:
        error = MoverError(type="SourceRefused", what="the key is refused", why="authorized_keys", fix="Add it.")
        return MoverResult(name=job.name, action=job.action, ok=False, error=error)

    monkeypatch.setattr(jobs.Jobs, "watch", watch)
    return Held()


CONFIG = TargetConfig(kind="kubevirt")


def test_what_a_mover_met_is_told_of_all_that_share_it_and_nothing_is_left(held: Held) -> None:
    cluster: Any = held
    found = trial.trial(cluster, CONFIG, (entry("web"), entry("db")), lambda _entry: nullcontext(None))
    assert set(found) == {"web", "db"}
    (told,) = found["web"]
    assert found["db"] == [told]
    assert told.what == "web and 1 machine like it: no mover can be tried: the key is refused: authorized_keys"
    assert (told.id, told.fix) == ("trial.refused", "Add it.")
    kinds = [made.partition("/")[0] for made in held.made]
    assert kinds == ["PersistentVolumeClaim", "PersistentVolumeClaim", "Job"], "one trial for both"
    assert all(PREFIX in made for made in held.made)
    assert held.objects == {}


def test_an_image_of_an_earlier_version_is_named_as_such(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of an image that was tried: a mover without the action refuses its job as a document."""
    why = "its log ends: action: Input should be 'copy', 'verify' or 'repair' (got 'trial'). Correct the value."

    def watch(_self: Any, job: MoverJob, _on_progress: Any) -> MoverResult:
        error = MoverError(type="TargetUnavailable", what="the mover failed", why=why, fix="Run it again.")
        return MoverResult(name=job.name, action=job.action, ok=False, error=error)

    monkeypatch.setattr(jobs.Jobs, "watch", watch)
    cluster: Any = held
    (told,) = trial.trial(cluster, CONFIG, (entry("web"),), lambda _entry: nullcontext(None))["web"]
    assert told.id == "trial.refused"
    assert "the movers' image is of an earlier version" in told.what
    assert "target.movers.image" in told.fix


def test_who_asks_to_stop_leaves_nothing_either(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_given: Any) -> MoverResult:
        raise Interrupted("stopped on request")

    monkeypatch.setattr(jobs.Jobs, "watch", interrupted)
    cluster: Any = held
    with pytest.raises(Interrupted):
        trial.trial(cluster, CONFIG, (entry("web"),), lambda _entry: nullcontext(None))
    assert held.made != []
    assert held.objects == {}


def test_a_trial_of_long_ago_goes_and_a_young_one_and_a_machine_stay(held: Held) -> None:
    now = datetime.now(UTC).isoformat()
    for name, made in ((f"{PREFIX}old-0", "2026-01-01T00:00:00Z"), (f"{PREFIX}young-0", now), ("web-vda", now)):
        labels = {names.MANAGED_BY: names.MANAGER, names.MACHINE_LABEL: name.removesuffix("-0")}
        held.put(CLAIM, {"metadata": {"name": name, "namespace": "shop", "labels": labels}}, made)
    cluster: Any = held
    trial.trial(cluster, CONFIG, (entry("db"),), lambda _entry: nullcontext(None))
    assert sorted(name for _, name in held.objects) == [f"{PREFIX}young-0", "web-vda"]


def test_manifests_that_are_refused_spare_the_trial(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_given: Any, **_more: Any) -> Any:
        raise TargetRefused(
            "the cluster does not apply VirtualMachine web", why="denied the request", fix="Correct it."
        )

    monkeypatch.setattr(held, "apply", refused)
    cluster: Any = held
    found = trial.trial(cluster, CONFIG, (entry("web"),), lambda _entry: nullcontext(None))
    assert "the cluster does not take its manifests" in found["web"][0].what
    assert held.made == []
