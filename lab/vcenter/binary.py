"""The simulator's program, built from Go modules once and kept in the user's cache.

`simulator/go.mod` and `go.sum` pin every byte that goes in; their content is part of the cache folder's name.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from kubeferry.outside.process import run
from lab.cluster import programs
from lab.packages import cache_folder

MODULE = Path(__file__).with_name("simulator")
NAME = "vcenter-simulator"
BUILD_SECONDS = 30 * 60


def key() -> str:
    """A digest of all that decides about the program."""
    digest = hashlib.sha256()
    for file in sorted(MODULE.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def path() -> Path:
    """The program after `ensure`."""
    return cache_folder("vcenter") / key() / NAME


def ensure() -> Path:
    """Build it if it is not in the cache, a minute or two on two cores; returns its path. Raises ProgramFailed."""
    program = path()
    if not program.exists():
        # Renamed when it is whole: a build that was cut off must not be found by the next call.
        with tempfile.TemporaryDirectory(dir=cache_folder("vcenter")) as arriving:
            built = Path(arriving) / "bin"
            built.mkdir()
            env = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
            command = ["nice", "-n", "19", programs.go(), "build", "-trimpath", "-o", str(built / NAME), "."]
            run(command, cwd=MODULE, env=env, timeout=BUILD_SECONDS)
            built.rename(program.parent)
    return program
