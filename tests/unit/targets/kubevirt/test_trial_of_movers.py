"""The small machine of a trial: which machines share one, and what of the plan it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Entry, MoverSettings
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import claims, job_spec, names
from kubeferry.targets.kubevirt.trial import MOVED, PREFIX, grouped, job_of, small_machine
from lab.rig import an_entry

BLOCK = {"volume_mode": "Block", "access_mode": "ReadWriteOnce", "storage_class": "fast"}
FILES = {"volume_mode": "Filesystem", "access_mode": "ReadWriteOnce", "storage_class": "fast"}
WAY = DiskRef(uri="nbd+unix:///?socket=/run/x", size_bytes=1 << 20)


def entry(name: str, namespace: str = "shop", storage: dict[str, Any] = BLOCK) -> Entry:
    return an_entry(name, namespace, Path(f"/images/{name}.img"), storage)


def names_of(groups: list[tuple[Entry, ...]]) -> list[list[str]]:
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
