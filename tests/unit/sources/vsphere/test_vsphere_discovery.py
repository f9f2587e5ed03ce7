"""What becomes of machines that vSphere lists together. The session is a double: it hands over properties that were
written down here, logs in nowhere, and knows no tags; how properties are read is for `tests/tools`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kubeferry.documents import SourceConfig
from kubeferry.sources.vsphere import source as vmware
from kubeferry.sources.vsphere.access import Access
from kubeferry.sources.vsphere.source import VsphereSource

MACHINE = {"config.hardware.numCPU": 1, "config.hardware.memoryMB": 1024, "runtime.powerState": "poweredOff"}


class Session:
    """One vCenter's machines, by name and instance UUID."""

    certificate = b""

    def __init__(self, *machines: tuple[str, str]) -> None:
        self.access = Access("vc.example.com", 443, "reader", "")
        self.machines = machines

    @contextlib.contextmanager
    def talking(self, _machine: str = "") -> Iterator[Any]:
        yield SimpleNamespace(about=SimpleNamespace(name="vCenter", version="8.0.3", build="1"))

    def wanted(self, _content: Any) -> list[str]:
        return [f"vm-{number}" for number, _ in enumerate(self.machines)]

    def around(self, _content: Any) -> dict[str, Any]:
        return {}

    def pages(self, ids: list[str], _content: Any) -> Iterator[list[dict[str, Any]]]:
        yield [
            MACHINE | {"_ref": f"VirtualMachine:{one}", "name": name, "config.instanceUuid": uuid}
            for one, (name, uuid) in zip(ids, self.machines, strict=True)
        ]


@pytest.fixture
def discover(monkeypatch: pytest.MonkeyPatch) -> Any:
    def discovered(*machines: tuple[str, str]) -> Any:
        session = Session(*machines)
        source = VsphereSource("vc", session.access, SourceConfig(kind="vmware").vmware)
        monkeypatch.setattr(vmware, "read_tags", lambda *_asked: {})
        monkeypatch.setattr(source, "_client", session)
        monkeypatch.setattr(source, "_collector", session)
        return source.discover()

    return discovered


def test_machines_of_one_name_in_several_folders_are_told_apart(discover: Any) -> None:
    found = discover(("web", "503a"), ("db", "503b"), ("web", "503c"), ("web-503a", "503d"))
    assert [(one.name, one.id) for one in found.machines] == [
        ("db", "503b"),
        ("web-503a-503a", "503a"),
        ("web-503a-503d", "503d"),
        ("web-503c", "503c"),
    ]
    assert found.unreadable == ()


def test_machines_that_cannot_be_found_again_by_their_uuid_are_left_out(discover: Any) -> None:
    found = discover(("web", "503a"), ("copy of web", "503a"), ("db", "503b"))
    assert [one.name for one in found.machines] == ["db"]
    assert [one.what for one in found.unreadable] == [
        "web: its instance UUID 503a is also that of another machine",
        "copy of web: its instance UUID 503a is also that of another machine",
    ]
