"""A Job that ended well and whose word is lost is done again. The cluster is a double: it runs nothing; Jobs end as the
test says, and go with their pods when they are deleted."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import MoverJob, MoverResult, TargetConfig
from kubeferry.errors import TargetRefused
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import jobs, names
from kubeferry.targets.kubevirt.answers import error_of
from kubeferry.targets.kubevirt.kinds import CLAIM, JOB, POD, Kind

Object = dict[str, Any]
WORK = MoverJob(
    name="a-web-vda-verify-1-0",
    action="verify",
    machine="web",
    disk="vda",
    target=DiskRef(uri=f"block:{names.ROOT}/apps/web/disks/web-vda"),
    state_dir=f"{names.ROOT}/apps/web/state/vda",
)
NAME = names.job_name(WORK)


class Double:
    """`made` counts the Jobs that were created."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {
            (CLAIM.name, names.state_claim("web")): {"metadata": {"annotations": {}}}
        }
        self.made = 0

    def get(self, kind: Kind, name: str, _namespace: str = "") -> Object | None:
        return self.objects.get((kind.name, name))

    def list(self, kind: Kind, _namespace: str = "", _labels: object = None) -> list[Object]:
        return [found for (name, _), found in self.objects.items() if name == kind.name]

    def create(self, manifest: Object, kind: Kind) -> Object:
        self.made += 1
        marks = {"uid": f"uid-{self.made}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        self.objects[kind.name, manifest["metadata"]["name"]] = manifest | {"metadata": manifest["metadata"] | marks}
        return manifest

    def delete(self, kind: Kind, name: str, _namespace: str = "", **_options: Any) -> bool:
        self.objects.pop((POD.name, "pod"), None)
        return self.objects.pop((kind.name, name), None) is not None

    def complete(self, said: str | None) -> None:
        """The Job has ended well; its pod said this, or is gone."""
        self.objects[JOB.name, NAME]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        self.objects.pop((POD.name, "pod"), None)
        if said is not None:
            status = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"message": said}}}]}
            metadata = {"name": "pod", "creationTimestamp": "2026-01-01T00:00:01Z"}
            self.objects[POD.name, "pod"] = {"metadata": metadata, "status": status}

    def logs(self, *_given: Any, **_options: Any) -> str:
        return ""


@pytest.mark.parametrize("lost", [None, "no JSON"])
def test_a_job_that_ended_well_without_a_word_is_done_again(lost: str | None) -> None:
    cluster: Any = Double()
    movers = jobs.Jobs(cluster, TargetConfig(kind="kubevirt"))
    movers.submit(WORK, lambda _thing: None)
    cluster.complete(lost)
    first = movers.watch(WORK, lambda _told: None)
    assert not first.ok
    assert first.error is not None
    assert first.error.type == "TargetUnavailable"
    movers.submit(WORK, lambda _thing: None)
    assert cluster.made == 2
    cluster.complete(MoverResult(name=WORK.name, action="verify", ok=True).model_dump_json(by_alias=True))
    assert movers.watch(WORK, lambda _told: None).ok
    movers.submit(WORK, lambda _thing: None)
    assert cluster.made == 2


class Forgetful(Double):
    """An API server that has just been started: at the first `questions` about a Job it does not know who may ask."""

    questions = 0

    def get(self, kind: Kind, name: str, _namespace: str = "") -> Object | None:
        if kind is JOB and self.questions:
            self.questions -= 1
            raise error_of(403, b"User x cannot get resource jobs", f"read Job {name}")
        return super().get(kind, name)


def test_an_api_server_that_does_not_know_the_roles_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    cluster: Any = Forgetful()
    movers = jobs.Jobs(cluster, TargetConfig(kind="kubevirt"))
    movers.submit(WORK, lambda _thing: None)
    cluster.complete(MoverResult(name=WORK.name, action="verify", ok=True).model_dump_json(by_alias=True))
    cluster.questions = 3
    assert movers.watch(WORK, lambda _told: None).ok


def test_a_right_that_was_taken_away_is_told_when_it_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(jobs, "ROLES_SECONDS", 0.05)
    cluster: Any = Forgetful()
    movers = jobs.Jobs(cluster, TargetConfig(kind="kubevirt"))
    movers.submit(WORK, lambda _thing: None)
    cluster.questions = 10_000
    with pytest.raises(TargetRefused, match="refused"):
        movers.watch(WORK, lambda _told: None)
