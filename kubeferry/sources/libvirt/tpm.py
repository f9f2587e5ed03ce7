"""What a domain's TPM keeps over a stop: the file of its swtpm, on its hypervisor. A secret, only handed on."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from kubeferry.errors import InputInvalid, PermanentError, SourceRefused
from kubeferry.images.tpm import MOST_BYTES, permanent_state
from kubeferry.model import Concern, Machine, Severity, Tpm
from kubeferry.sources.libvirt.domain.devices import TPM_FOLDER
from kubeferry.sources.libvirt.hosts import Host, is_missing

LEAVE_FIX = "Let this user read it; or have recovery keys at hand, leave it behind with keepTpm: false, and plan again."


def placed(machine: Machine, uri: str) -> Machine:
    """The machine with the file of its TPM's state where this libvirt has it: one of a session's, in its user's own
    folder. That of a session elsewhere nobody knows."""
    tpm = machine.tpm
    if tpm is None or tpm.state is None or not Path(tpm.state).is_relative_to(TPM_FOLDER):
        return machine
    parts = urlsplit(uri)
    if parts.path == "/system":
        return machine
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "libvirt/qemu/swtpm"
    session = parts.path == "/session" and not parts.hostname
    state = str(own / Path(tpm.state).relative_to(TPM_FOLDER)) if session else None
    return machine.model_copy(update={"tpm": tpm.model_copy(update={"state": state})})


def state(tpm: Tpm | None, machine: str, host: Host) -> bytes | None:
    """The permanent state; None where there is no such TPM, or it has none yet, as before the first start. Raises
    SourceRefused where it cannot be read."""
    if tpm is None or tpm.state is None:
        return None
    path = Path(tpm.state)
    if is_missing(path, host):
        return None
    try:
        return permanent_state(host.read(path, 0, MOST_BYTES + 1))
    except InputInvalid as error:
        problem = error.problems[0]
        what = f"the state of its TPM in {path} cannot be carried"
        raise SourceRefused(what, why=f"it {problem.what}", fix=problem.fix, machine=machine) from error
    except SourceRefused as error:
        what = f"the state of its TPM in {path} cannot be read"
        raise SourceRefused(what, why=error.why or error.what, fix=LEAVE_FIX, machine=machine) from error


def concerns(tpm: Tpm | None, machine: str, host: Host) -> list[Concern]:
    """One where there is a state that cannot be read as such. A plan that carries it is refused then, while the machine
    still runs."""
    try:
        state(tpm, machine, host)
    except PermanentError as error:
        what = f"{machine}: {error.reason}"
        return [Concern(id="source.tpm", severity=Severity.WARNING, what=what, fix=error.fix)]
    return []
