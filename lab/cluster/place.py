"""Where the lab cluster's files lie: one state folder that goes with the cluster, and caches that stay."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from lab.packages import cache_folder

CHECKOUT = Path(__file__).resolve().parents[2]
SETTING = "KUBEFERRY_LAB_KUBEVIRT"
# The node sees folders of its own here, so nothing of the lab may lie below them.
OWN_FOLDERS = (Path("/var"), Path("/run"))


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one lab cluster. There is one for a user: the addresses and link names are fixed."""

    state: Path
    store: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in, from outside the node."""
        return self.state / "kubeconfig"

    @property
    def containerd(self) -> Path:
        return self.state / "containerd.sock"

    def log(self, daemon: str) -> Path:
        return self.state / "logs" / f"{daemon}.log"

    def pidfile(self, daemon: str) -> Path:
        return self.state / "pids" / daemon

    def make(self) -> None:
        """All folders are there."""
        for folder in (self.state / "logs", self.state / "pids", self.store):
            folder.mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Raises InputInvalid where the node could not see a folder of the lab's."""
        hidden = [
            Problem(str(path), f"lies in {own}, where the node has a folder of its own", "Use a folder elsewhere.")
            for path in (self.state, self.store, CHECKOUT)
            for own in OWN_FOLDERS
            if path.is_relative_to(own)
        ]
        if hidden:
            raise InputInvalid("the lab's folders cannot be used", hidden)


def own() -> Place:
    """The lab of this user."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Place((base / "kubeferry" / "lab-cluster").resolve(), cache_folder("cluster", "containerd").resolve())


def kubevirt_folder() -> Path | None:
    """The folder with KubeVirt's and CDI's archive, None where the setting does not name one."""
    value = os.environ.get(SETTING)
    return Path(value) if value else None
