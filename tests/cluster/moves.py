"""Moves of a local libvirtd's machines into a real cluster, by the product's own commands and account.

As a user would make them: in a folder with a configuration, a policy, a plan and a journal. Movers read the
hypervisor's disks over SSH, in a namespace that enforces `restricted`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.journal import Journal
from kubeferry.outside.process import Completed, run
from lab import estate
from lab.ground import Ground
from lab.tenant import Tenant

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Move:
    """The estate, the folder that the commands work in, and what each command said."""

    ground: Ground
    tenant: Tenant
    folder: Path
    estate: Path
    said: dict[str, Completed] = field(default_factory=dict)

    def kubeferry(self, verb: str, *arguments: str, check: bool = True) -> Completed:
        """One command as a user types it, in the folder."""
        environment = {"PYTHONPATH": str(ROOT), "KUBEFERRY_CONFIG": "kubeferry.yaml", "KUBECONFIG": ""}
        argv = [sys.executable, "-m", "flows", verb, *arguments]
        done = run(argv, cwd=self.folder, env=environment, check=False, timeout=500)
        self.said[verb] = done
        assert not check or done.code == 0, f"{verb}:\n{done.out[-4000:]}\n{done.err[-4000:]}"
        return done

    def run(self, *domains: str) -> None:
        """Everything from discovery to the report."""
        self.kubeferry("discover", *(word for domain in domains for word in ("-m", domain)))
        self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml", "--config", "kubeferry.yaml")
        self.kubeferry("migrate", "plan.yaml")
        self.kubeferry("report", "plan.yaml", "--out", ".")

    @property
    def plan(self) -> Plan:
        return load(self.folder / "plan.yaml", Plan)

    @property
    def report(self) -> dict[str, Any]:
        return {one["name"]: one for one in json.loads((self.folder / "report.json").read_text())["machines"]}

    def events(self, machine: str) -> list[Any]:
        with Journal.open(JournalConfig(url=f"sqlite:///{self.folder}/journal.db")) as journal:
            return [record.event for record in journal.events(self.plan.digest, machine)]

    def vm(self, machine: str) -> Any:
        name, namespace = self.plan.entry(machine).target_name, self.tenant.namespace
        return self.ground.read("get", "vm", name, f"--namespace={namespace}")


@contextmanager
def moving(ground: Ground, tenant: Tenant, folders: pytest.TempPathFactory, policy: dict[str, Any]) -> Iterator[Move]:
    """A move into the tenant's namespace, by this policy; afterwards nothing is left of it, nor of its estate."""
    move = Move(ground, tenant, folders.mktemp("move"), folders.mktemp("estate"))
    _write(move, "kubeferry", "Config", _config(move))
    _write(move, "policy", "Policy", {"namespace": tenant.namespace} | policy)
    try:
        yield move
    finally:
        if (move.folder / "journal.db").exists():
            move.kubeferry("release", "plan.yaml", "--everything", check=False)
        estate.down(move.estate)


def _write(move: Move, name: str, kind: str, content: dict[str, Any]) -> None:
    document = {"apiVersion": "kubeferry.io/v1alpha1", "kind": kind} | content
    (move.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))


def _config(move: Move) -> dict[str, Any]:
    access = move.ground.access().model_dump(mode="json", by_alias=True)
    movers = move.ground.movers().model_dump(mode="json", by_alias=True)
    return {
        "sources": {"lab": {"kind": "libvirt", "uri": "qemu:///system", "ssh": access}},
        "target": {"kind": "kubevirt", "kubeconfig": str(move.tenant.kubeconfig), "movers": movers},
        "journal": {"url": "sqlite:///journal.db"},
        "limits": {"concurrentMachines": 2},
    }
