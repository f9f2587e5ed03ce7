"""What `kubeferry init` writes, taken as it is to the real thing or its double: doctor is content, a plan is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import run
from kubeferry.documents import Plan, load
from lab.ec2 import Cloud
from lab.vcenter.place import vcenter
from tests.needs import here, needs

pytestmark = needs("qemu-img", "qemu-nbd")


def first_steps(*arguments: str) -> Plan:
    """init, doctor, discover, plan in the current folder; raises where doctor has anything critical to say."""
    for words in (["init", *arguments], ["doctor"], ["discover"]):
        assert run(words) == 0, words
    code = run(["plan", "inventory.yaml", "--policy", "policy.yaml"])
    plan = load(Path("plan.yaml"), Plan)
    assert code == (0 if plan.entries else 2)
    return plan


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KUBEFERRY_CONFIG", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_libvirt() -> None:
    """By libvirt's own driver for tests, which needs no daemon; its one machine has no disk."""
    plan = first_steps("--source", "libvirt", "--uri", "test:///default")
    assert [*(entry.name for entry in plan.entries), *plan.excluded] == ["test"]


def test_vmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login and the server come from govc's names in the environment, as the file says."""
    here("vcenter")
    with vcenter(tmp_path) as lab:
        monkeypatch.setenv("GOVC_URL", lab.url)
        for name, value in lab.environment().items():
            monkeypatch.setenv(name, value)
        content = tmp_path / "content"
        content.write_bytes(b"\x55" * 2**20)
        lab.machine("web", [content])
        plan = first_steps("--source", "vmware")
    assert [*(entry.name for entry in plan.entries), *plan.excluded] == ["web"]


def test_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    with Cloud() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
        cloud.launch("web", {"/dev/xvda": 1})
        plan = first_steps("--source", "aws")
    assert [*(entry.name for entry in plan.entries), *plan.excluded] == ["web"]
