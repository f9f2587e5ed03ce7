"""Kubernetes' programs, built from Go modules once and kept in the user's cache.

`kubernetes/go.mod` and `go.sum` pin every byte that goes in; their content is part of the cache folder's name, so that
another version, or one changed dependency, is another folder.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from kubeferry.outside.process import run
from lab.cluster import programs
from lab.cluster.progress import say
from lab.packages import cache_folder

VERSION = "1.34.2"
NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
MODULE = Path(__file__).with_name("kubernetes")
BUILD_SECONDS = 60 * 60


def linker_flags(version: str) -> str:
    """What makes the programs say their version: without it they call themselves v0.0.0, and clients refuse them."""
    major, minor, _ = version.split(".")
    package = "k8s.io/component-base/version"
    said = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s", "-w", *(f"-X {package}.{name}={value}" for name, value in said.items())])


def key() -> str:
    """The name of the cache folder: the version, and a digest of all that decides about the content."""
    digest = hashlib.sha256(linker_flags(VERSION).encode())
    for file in sorted(MODULE.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{VERSION}-{digest.hexdigest()[:16]}"


def folder() -> Path:
    """The folder that holds the programs after `ensure`."""
    return cache_folder("kubernetes") / key()


def ensure() -> Path:
    """Build what is not in the cache, some 12 minutes on two cores; returns the folder. Raises ProgramFailed."""
    if not folder().exists():
        say(f"building Kubernetes {VERSION} from its Go modules: 10 to 15 minutes, once")
        # Renamed when all are there: a build that was cut off must not be found by the next call.
        with tempfile.TemporaryDirectory(dir=folder().parent) as arriving:
            _build(Path(arriving) / "bin")
            (Path(arriving) / "bin").rename(folder())
        say(f"Kubernetes {VERSION} built")
    return folder()


def _build(dest: Path) -> None:
    dest.mkdir()
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in NAMES]
    # The machine stays usable for others: two cores are busy for minutes.
    command = ["nice", "-n", "19", programs.go(), "build", "-trimpath", "-ldflags", linker_flags(VERSION)]
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    run([*command, "-o", f"{dest}/", *packages], cwd=MODULE, env=env, timeout=BUILD_SECONDS)
