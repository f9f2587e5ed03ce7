"""A VirtualMachine manifest as the admission rules look at it: the parts that they all need, empty where not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeferry.errors import Problem


def problem(where: str, what: str, fix: str) -> Problem:
    return Problem(where, what, fix)


class View:
    """Read-only; the manifest has passed `schema.check_manifest`, so types are as the table says."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.name: str = manifest["metadata"]["name"]
        self.namespace: str = manifest["metadata"].get("namespace", "default")
        self.spec: dict[str, Any] = manifest["spec"]
        self.template: dict[str, Any] = self.spec["template"].get("spec", {})
        self.domain: dict[str, Any] = self.template.get("domain", {})
        self.devices: dict[str, Any] = self.domain.get("devices", {})
        self.disks: list[dict[str, Any]] = self.devices.get("disks", [])
        self.interfaces: list[dict[str, Any]] = self.devices.get("interfaces", [])
        self.networks: list[dict[str, Any]] = self.template.get("networks", [])
        self.volumes: list[dict[str, Any]] = self.template.get("volumes", [])

    def part(self, *path: str) -> dict[str, Any]:
        """A mapping under `domain`, empty where it is missing."""
        here = self.domain
        for key in path:
            here = here.get(key) or {}
        return here

    @property
    def claims(self) -> list[str]:
        """The claims that the volumes refer to."""
        return [claim for _volume, claim in self._claims()]

    @property
    def claims_alone(self) -> list[str]:
        """Those of them that the machine wants for itself: their disks are not shareable."""
        shareable = {disk["name"] for disk in self.disks if disk.get("shareable")}
        return [claim for volume, claim in self._claims() if volume not in shareable]

    def _claims(self) -> Iterator[tuple[str, str]]:
        """Volume and claim, of each volume that refers to one."""
        for volume in self.volumes:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName") or volume.get("dataVolume", {}).get("name")
            if claim:
                yield str(volume["name"]), str(claim)
