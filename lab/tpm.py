"""A TPM without a machine: swtpm on a folder, asked with tpm2-tools. What a guest would do with it, a test does.

It measures nothing: there is no firmware, and all PCRs are as after a reset.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubeferry.images.tpm import FILE
from kubeferry.outside import process

INDEX = "0x1500001"
SIZE = 32
START_SECONDS = 10.0
PROGRAMS = ("swtpm", "tpm2_nvread", "tpm2_unseal")


@dataclass(frozen=True, slots=True)
class Tpm:
    """A running one. Its sockets and the files of tpm2-tools are in `work`."""

    work: Path

    def _ask(self, *argv: str) -> bytes:
        out = self.work / "out"
        out.unlink(missing_ok=True)
        tcti = f"swtpm:path={self.work}/tpm"
        process.run([*argv, *(["-o", str(out)] if argv[0] in {"tpm2_nvread", "tpm2_unseal"} else [])], env=_env(tcti))
        return out.read_bytes() if out.exists() else b""

    def write(self, secret: bytes) -> None:
        """Keep this in an index of its non-volatile memory."""
        self._ask("tpm2_nvdefine", "-C", "o", "-s", str(SIZE), "-a", "ownerread|ownerwrite", INDEX)
        (self.work / "in").write_bytes(secret.ljust(SIZE, b"\0"))
        self._ask("tpm2_nvwrite", "-C", "o", "-i", str(self.work / "in"), INDEX)

    def read(self) -> bytes:
        """What `write` has kept. Raises ProgramFailed where there is nothing."""
        return self._ask("tpm2_nvread", "-C", "o", "-s", str(SIZE), INDEX).rstrip(b"\0")

    def seal(self, secret: bytes, folder: Path) -> None:
        """Seal this to the TPM's own key, as LUKS and BitLocker do: the folder's files are for this TPM alone."""
        (self.work / "in").write_bytes(secret)
        self._ask("tpm2_createprimary", "-Q", "-C", "o", "-c", str(self.work / "primary"))
        public, private = str(folder / "sealed.pub"), str(folder / "sealed.priv")
        argv = ["-C", str(self.work / "primary"), "-i", str(self.work / "in"), "-u", public, "-r", private]
        self._ask("tpm2_create", "-Q", *argv)

    def unseal(self, folder: Path) -> bytes:
        """What is sealed in the folder. Raises ProgramFailed for another TPM's."""
        self._ask("tpm2_createprimary", "-Q", "-C", "o", "-c", str(self.work / "primary"))
        public, private = str(folder / "sealed.pub"), str(folder / "sealed.priv")
        argv = ["-C", str(self.work / "primary"), "-u", public, "-r", private, "-c", str(self.work / "object")]
        self._ask("tpm2_flushcontext", "-t")  # it has room for three keys, and nobody manages them here
        self._ask("tpm2_load", "-Q", *argv)
        self._ask("tpm2_flushcontext", "-t")
        return self._ask("tpm2_unseal", "-Q", "-c", str(self.work / "object"))


@contextlib.contextmanager
def running(state: Path) -> Iterator[Tpm]:
    """A TPM 2.0 on this folder, started and reset; a new one where the folder is empty. Shut down in order."""
    with tempfile.TemporaryDirectory(prefix="kubeferry-tpm-") as folder:
        work = Path(folder)
        socket = work / "tpm"
        argv = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state},mode=0600"]
        argv += ["--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl"]
        argv += ["--flags", "not-need-init,startup-clear"]
        with process.child(argv, log=work / "log") as child:
            limit = time.monotonic() + START_SECONDS
            while not socket.exists():
                if child.wait(0.02) is not None or time.monotonic() > limit:
                    raise RuntimeError(f"swtpm did not open its socket: {child.tail()}")
            found = Tpm(work)
            yield found
            found._ask("tpm2_shutdown", "-c")


def made(state: Path, secret: bytes, sealed: Path) -> bytes:
    """The permanent state of a new TPM that keeps the secret, and has sealed it; returns what its file holds."""
    state.mkdir(parents=True, exist_ok=True)
    with running(state) as tpm:
        tpm.write(secret)
        tpm.seal(secret, sealed)
    return (state / FILE).read_bytes()


def _env(tcti: str) -> dict[str, str]:
    return {"TPM2TOOLS_TCTI": tcti, "PATH": os.environ["PATH"]}
