"""What a cluster or a guest answers may be anything: it is told as an answer of no use, never as a defect of ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kubeferry.errors import KubeferryError, TargetUnavailable
from kubeferry.targets.kubevirt.guest_access import GuestAccess

POD = {"metadata": {"name": "launcher", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}


class Double:
    """A cluster that says one thing to every question."""

    def __init__(self, said: bytes) -> None:
        self.said = said

    def call(self, *_given: Any, **_options: Any) -> bytes:
        return self.said


def access(make: Any, said: bytes, monkeypatch: pytest.MonkeyPatch) -> GuestAccess:
    cluster: Any = Double(said)
    found = GuestAccess(cluster, make.entry(), 0.0)
    monkeypatch.setattr(found, "_instance", {"status": {"phase": "Running"}})
    monkeypatch.setattr(found, "pod", lambda: POD)
    monkeypatch.setattr(found, "_exec", lambda _pod, _words: said.decode())
    return found


@pytest.mark.parametrize(
    "said", ["", "<html>", "[]", "{}", '{"return": {}}', '{"return": {"buf-b64": "="}}', '{"return": {"buf-b64": 7}}']
)
def test_a_guest_that_gives_no_file_gives_no_defect(make: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetUnavailable, match="does not give the file"):
        access(make, said.encode(), monkeypatch).read_file("/data/boots", 1.0)


@pytest.mark.parametrize("said", [b"", b"<html>", b"[]", b"7"])
def test_a_guest_that_says_nothing_of_itself_does_not_answer(
    make: Any, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KubeferryError, match="does not answer"):
        access(make, said, monkeypatch).ping(1.0)


def test_a_file_is_read(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps({"return": {"buf-b64": base64.b64encode(b"7\n").decode()}}).encode()
    assert access(make, said, monkeypatch).read_file("/data/boots", 1.0) == b"7\n"


@pytest.mark.parametrize("said", ["", "<html>", "[]", "{}", '{"error": {}}'])
def test_an_agent_that_does_not_answer_a_question_has_not_answered(
    make: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert access(make, said.encode(), monkeypatch).ask("guest-get-time") is None


def test_a_machine_that_does_not_start_is_told_with_what_its_pod_waits_for(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KubeVirt itself says nothing but Scheduling."""
    why = 'failed to create subPath directory for volumeMount "vm-state" of container "compute"'
    waiting = [
        {"name": "compute", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": why}}},
        {"name": "guest-console-log", "state": {"waiting": {"reason": "ContainerCreating"}}},
        {"name": "volumes", "state": {"running": {}}},
    ]
    found = access(make, b"", monkeypatch)
    monkeypatch.setattr(found, "_instance", {"status": {"phase": "Scheduling"}})
    monkeypatch.setattr(found, "pod", lambda: POD | {"status": {"phase": "Pending", "containerStatuses": waiting}})
    with pytest.raises(TargetUnavailable, match="it is Scheduling") as told:
        found.ping(1.0)
    assert told.value.why == f"container compute: CreateContainerConfigError: {why}"
