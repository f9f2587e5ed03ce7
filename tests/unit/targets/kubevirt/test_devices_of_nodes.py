"""A block device that a mover may not open is told with the setting of the node that gives it to the mover's user.

The cluster is a double: it runs nothing, and its one Job ends as the test says. The mover's words are real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters.endpoints.file import File
from converters.mover.job import result_of
from kubeferry.documents import MoverError, MoverJob, TargetConfig
from kubeferry.errors import KubeferryError
from kubeferry.faults import Side
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import jobs, names
from kubeferry.targets.kubevirt.kinds import JOB, POD, Kind

DEVICE = f"{names.ROOT}/apps/web/disks/web-vda"
SETTING = "device_ownership_from_security_context"
Object = dict[str, Any]


def a_job(uri: str) -> MoverJob:
    state = f"{names.ROOT}/apps/web/state/vda"
    return MoverJob(
        name="a-web-vda-trial", action="trial", machine="web", disk="vda", target=DiskRef(uri=uri), state_dir=state
    )


class Ended:
    """A cluster in which every Job has failed, with a pod that said this."""

    def __init__(self, said: str) -> None:
        terminated = {"message": said}
        status = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": terminated}}]}
        metadata = {"name": "pod", "creationTimestamp": "2026-01-01T00:00:01Z"}
        failed = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
        self.objects = {JOB.name: failed, POD.name: {"metadata": metadata, "status": status}}

    def get(self, kind: Kind, _name: str, _namespace: str = "") -> Object | None:
        return self.objects.get(kind.name)

    def list(self, kind: Kind, _namespace: str = "", _labels: object = None) -> list[Object]:
        return [self.objects[kind.name]]


def told(job: MoverJob, error: KubeferryError) -> MoverError:
    """What is made of what a mover says of its job."""
    cluster: Any = Ended(result_of(job, None, error, 1.0).model_dump_json(by_alias=True))
    found = jobs.Jobs(cluster, TargetConfig(kind="kubevirt")).watch(job, lambda _told: None).error
    assert found is not None
    return found


def refused(monkeypatch: pytest.MonkeyPatch, path: str, error: type[OSError], number: int) -> KubeferryError:
    """What a mover says of a path that the kernel does not let it open."""

    def no(*_given: object) -> int:
        raise error(number, "no")

    monkeypatch.setattr("converters.endpoints.file.os.open", no)
    with pytest.raises(KubeferryError) as found:
        File(Path(path), Side.TARGET)
    monkeypatch.undo()
    return found.value


@pytest.mark.parametrize(("number", "words"), [(13, "Permission denied"), (1, "Operation not permitted")])
def test_a_device_of_the_claim_names_the_setting_of_the_node(
    number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(a_job(f"block:{DEVICE}"), refused(monkeypatch, DEVICE, PermissionError, number))
    assert (found.type, found.what) == ("TargetRefused", f"{DEVICE} cannot be opened")
    assert found.why.startswith(words)
    assert SETTING in found.fix
    assert "containerd" in found.fix
    assert "CRI-O" in found.fix


@pytest.mark.parametrize(
    ("uri", "path", "error", "number"),
    [
        (f"file:{DEVICE}/disk.img", f"{DEVICE}/disk.img", PermissionError, 13),
        (f"block:{DEVICE}", f"{names.ROOT}/apps/web/state/vda/root", PermissionError, 13),
        (f"block:{DEVICE}", DEVICE, FileNotFoundError, 2),
    ],
)
def test_anything_else_is_told_as_the_mover_says_it(
    uri: str, path: str, error: type[OSError], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, path, error, number)
    found = told(a_job(uri), said)
    assert (found.what, found.why, found.fix) == (said.what, said.why, said.fix)
