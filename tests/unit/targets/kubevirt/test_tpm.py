"""What a TPM holds on its way into a cluster: a Secret of its mover's own, and a private file on KubeVirt's claim.

The cluster is a double: it keeps objects, ends Jobs as the test says, and collects no garbage: that a Secret goes with
the Job that owns it is Kubernetes' promise, kept on a real one.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from kubeferry.documents import KeptTpm, MoverJob, MoverResult, MoverSettings, TargetConfig
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import job_secrets, job_spec, jobs, names, removal
from kubeferry.targets.kubevirt.api import AlreadyThere
from kubeferry.targets.kubevirt.kinds import CLAIM, JOB, SECRET
from kubeferry.uris import HELD, HELD_FILE
from tests.unit.targets.kubevirt.test_jobs_without_results import Double

UUID = "5f0c3a1e-7a51-4a53-9a5d-0e5b6a3f8e01"
KEPT = KeptTpm(claim="persistent-state-for-web", file=f"swtpm/{UUID}/tpm2/tpm2-00.permall")
STATE = b"three seeds, and what was sealed to them"
CONFIG = TargetConfig(kind="kubevirt")


def work(make: Any, action: Any = "copy") -> MoverJob:
    entry = make.entry()
    return MoverJob(
        name=f"a-web-tpm-{action}-1",
        action=action,
        machine="web",
        disk="tpm",
        source=DiskRef(uri=HELD, size_bytes=len(STATE)) if action == "copy" else None,
        target=names.kept_ref(entry, KEPT, len(STATE)),
        state_dir=names.state_dir(entry, f"{KEPT.claim}/tpm/1"),
        makes_target=True,
        exact_file=True,
        private_folders=3,
    )


def test_the_movers_pod_has_it_as_a_file_that_a_secret_gives(make: Any) -> None:
    job = work(make)
    manifest = job_spec.job_manifest(job, MoverSettings(), {})
    pod = manifest["spec"]["template"]["spec"]
    (volume,) = [one for one in pod["volumes"] if "secret" in one]
    assert volume["secret"] == {"secretName": names.job_name(job), "defaultMode": 0o440}
    (container,) = pod["containers"]
    mounted = {one["name"]: one for one in container["volumeMounts"]}
    assert mounted[volume["name"]]["readOnly"] is True
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert told[HELD_FILE] == f"{mounted[volume['name']]['mountPath']}/{job_secrets.HELD_KEY}"
    assert job.target.uri == f"file://{mounted['disk']['mountPath']}/{KEPT.file}"
    assert job_spec.far_end(job) is None
    assert "secret" not in str(job_spec.job_manifest(work(make, "verify"), MoverSettings(), {})["spec"]["template"])


def test_the_secret_is_its_jobs_own_and_comes_after_it(make: Any) -> None:
    cluster: Any = Double()
    order: list[str] = []
    whole = cluster.create

    def create(manifest: Any, kind: Any) -> Any:
        order.append(kind.name)
        return whole(manifest, kind)

    cluster.create = create
    job = work(make)
    movers = jobs.Jobs(cluster, CONFIG)
    movers.submit(job, lambda _thing: None, STATE)
    assert order == [JOB.name, SECRET.name]
    owner, secret = (cluster.objects[kind.name, names.job_name(job)] for kind in (JOB, SECRET))
    (owned,) = secret["metadata"]["ownerReferences"]
    assert (owned["kind"], owned["name"], owned["uid"]) == (JOB.name, names.job_name(job), owner["metadata"]["uid"])
    assert base64.b64decode(secret["data"][job_secrets.HELD_KEY]) == STATE
    assert secret["immutable"] is True
    packed = secret["data"][job_secrets.HELD_KEY]
    assert packed not in json.dumps(owner)
    assert "seeds" not in json.dumps(owner)


def test_a_job_that_was_made_before_its_runner_was_killed_is_given_it_all_the_same(make: Any) -> None:
    cluster: Any = Double()
    job = work(make)
    jobs.Jobs(cluster, CONFIG).submit(job, lambda _thing: None, STATE)
    del cluster.objects[SECRET.name, names.job_name(job)]
    jobs.Jobs(cluster, CONFIG).submit(job, lambda _thing: None, STATE)
    assert (SECRET.name, names.job_name(job)) in cluster.objects


def test_the_secret_of_an_earlier_job_of_that_name_is_none_for_this_one(make: Any) -> None:
    """It goes with that Job, some moments after it: a pod that counted on it would wait for ever."""
    cluster: Any = Double()
    job = work(make)
    whole, refused = cluster.create, []

    def create(manifest: Any, kind: Any) -> Any:
        if kind is SECRET and len(refused) < 2:
            refused.append(manifest)
            raise AlreadyThere("it is there", why="the collector has not come by yet")
        return whole(manifest, kind)

    cluster.create = create
    jobs.Jobs(cluster, CONFIG).submit(job, lambda _thing: None, STATE)
    (owned,) = cluster.objects[SECRET.name, names.job_name(job)]["metadata"]["ownerReferences"]
    assert owned["uid"] == cluster.objects[JOB.name, names.job_name(job)]["metadata"]["uid"]
    assert len(refused) == 2


def test_the_job_goes_as_soon_as_it_has_ended_and_its_secret_with_it(make: Any) -> None:
    cluster: Any = Double()
    job = work(make)
    movers = jobs.Jobs(cluster, CONFIG)
    movers.submit(job, lambda _thing: None, STATE)
    said = MoverResult(name=job.name, action="copy", ok=True).model_dump_json(by_alias=True)
    cluster.objects[JOB.name, names.job_name(job)]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    status = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"message": said}}}]}
    cluster.objects["Pod", "pod"] = {
        "metadata": {"name": "pod", "creationTimestamp": "2026-01-01T00:00:01Z"},
        "status": status,
    }
    assert movers.watch(job, lambda _told: None).ok
    assert (JOB.name, names.job_name(job)) not in cluster.objects


def test_taken_back_it_goes_with_its_claim_and_only_where_that_is_ours(make: Any) -> None:
    cluster: Any = Double()
    entry = make.entry().model_copy(update={"tpm": KEPT})
    assert removal.drop_tpm(cluster, entry) == []
    metadata = {
        "name": KEPT.claim,
        "namespace": "apps",
        "uid": "a",
        "labels": names.labels(entry),
        "annotations": names.origin(entry),
    }
    cluster.objects[CLAIM.name, KEPT.claim] = {"kind": CLAIM.name, "metadata": metadata}
    assert removal.drop_tpm(cluster, make.entry()) == []
    assert removal.drop_tpm(cluster, entry) == [f"{CLAIM.name} apps/{KEPT.claim}"]
    assert (CLAIM.name, KEPT.claim) not in cluster.objects
