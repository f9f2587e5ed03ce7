"""The TPM of a machine in local QEMU: a swtpm of this host, on a copy of what the source's TPM held.

The state itself is only read: the copy goes with the run.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubeferry.errors import TargetUnavailable
from kubeferry.images.tpm import FILE
from kubeferry.outside import process, stopping
from kubeferry.targets.directory.layout import PRIVATE_FILE, PRIVATE_FOLDER, MachineFolder

PROGRAM = "swtpm"
START_SECONDS = 10.0
REFUSED = "CMD_INIT"
"""What QEMU names when swtpm does not take the state that it finds."""
REFUSAL = "the machine's TPM does not start from the state that the source's has left"
REFUSAL_FIX = (
    f"A {PROGRAM} that is older than the source's may not read it: install a newer one. Else look at the source's own."
)
SOCKET, STATE, PIDFILE, LOG = "tpm", "tpm", "swtpm.pid", "swtpm.log"


def wanted(devices: Mapping[str, Any]) -> bool:
    """Whether the manifest asks for a TPM, and this host has the program for one."""
    tpm = devices.get("tpm")
    return isinstance(tpm, dict) and tpm.get("enabled", True) is not False and shutil.which(PROGRAM) is not None


def unshown(folder: MachineFolder, *, started: bool) -> tuple[str, ...]:
    """What of the source's TPM a machine cannot show that was started with one, or without."""
    missing = folder.tpm_state.exists() and not started
    return (f"what the TPM of the source held ({PROGRAM} is not installed here)",) if missing else ()


def start(folder: MachineFolder, sockets: Path) -> None:
    """Start it in the machine's run folder; it ends with the QEMU that it serves. Raises TargetUnavailable where it
    does not come up."""
    place, socket = folder.run / STATE, sockets / SOCKET
    place.mkdir(mode=PRIVATE_FOLDER)
    if folder.tpm_state.exists():
        copy = place / FILE
        copy.touch(mode=PRIVATE_FILE)
        shutil.copyfile(folder.tpm_state, copy)
    argv = [PROGRAM, "socket", "--tpm2", "--tpmstate", f"dir={place},mode=0600"]
    argv += ["--ctrl", f"type=unixio,path={socket},mode=0600", "--terminate"]
    process.detached(argv, pidfile=folder.run / PIDFILE, log=folder.run / LOG)
    limit = time.monotonic() + START_SECONDS
    while not socket.exists():
        if process.alive(folder.run / PIDFILE, program=str(socket)) is None or time.monotonic() > limit:
            why = (folder.run / LOG).read_text(errors="replace").strip() or "it printed nothing"
            stop(folder, sockets)
            fix = f"Look at what {PROGRAM} says; one that is older than the source's may not read its state."
            raise TargetUnavailable(f"{PROGRAM} did not start the machine's TPM", why=why, fix=fix)
        stopping.pause(0.02)


def stop(folder: MachineFolder, sockets: Path) -> None:
    """End it, where it runs still. Its files go with the run folder."""
    with contextlib.suppress(FileNotFoundError):
        process.end_detached(folder.run / PIDFILE, program=str(sockets / SOCKET))
