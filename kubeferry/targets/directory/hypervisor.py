"""One machine in local QEMU: started from its manifest over a throw-away layer, found again by any process, ended.

The machine survives us: a run that was killed finds it by its pid file, or by its monitor where the kill came before
the pid was written. Sockets lie in a short private folder, because a socket's path holds at most 107 bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.model import Value
from kubeferry.outside import process, stopping
from kubeferry.targets import External, Ledger
from kubeferry.targets.directory import accelerator, local_access, qemu, qmp, tpm
from kubeferry.targets.directory import firmware as local_firmware
from kubeferry.targets.directory.devices import Layer, Wire, capture_name
from kubeferry.targets.directory.layout import PRIVATE_FOLDER, MachineFolder, write
from kubeferry.targets.guest.agent import printable

MONITOR_SECONDS = 15.0
QUIT_SECONDS = 5.0
CONSOLE_TAIL_BYTES = 4000
ENDED = {"internal-error", "guest-panicked", "shutdown", "io-error"}


class Start(Value):
    """How the running machine was started, in `run/start.json`. `boottime_seconds` is this host's CLOCK_BOOTTIME."""

    started_at: str
    boottime_seconds: float
    accelerator: str
    not_shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the probes of a machine need of its QEMU: ports that lead to it, and whether its packets are kept; and what
    joins its cards to those of others."""

    ports: tuple[int, ...] = ()
    packets: bool = False
    wires: tuple[Wire, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """The QEMU of one machine's folder."""

    name: str
    folder: MachineFolder

    @property
    def sockets(self) -> Path:
        identity = hashlib.sha256(os.fsencode(self.folder.path)).hexdigest()[:16]
        return socket_root() / f"kubeferry-{identity}"

    @property
    def monitor(self) -> Path:
        return self.sockets / "qmp"

    @property
    def agent(self) -> Path:
        return self.sockets / "agent"

    @property
    def pidfile(self) -> Path:
        return self.folder.run / "qemu.pid"

    @property
    def log(self) -> Path:
        return self.folder.run / "qemu.log"

    @property
    def serial(self) -> Path:
        return self.folder.run / "serial.log"

    def alive(self) -> bool:
        """Whether QEMU runs: by its pid, or by a monitor that answers."""
        if process.alive(self.pidfile, program=str(self.monitor)) is not None:
            return True
        with contextlib.suppress(TargetUnavailable), qmp.connect(self.monitor, timeout=2):
            return True
        return False

    def started(self) -> Start | None:
        """How it was started, None where it was not."""
        try:
            return Start.model_validate_json((self.folder.run / "start.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def running(self) -> bool:
        """Whether it was started to the end and still runs as a machine: one that stopped itself does not."""
        return self.alive() and self.started() is not None and self.death() is None

    def start(self, vm: dict[str, Any], bases: Mapping[str, Path], asked: Asked, ledger: Ledger) -> None:
        """Start the machine, or leave one that runs. `bases` holds the disk image of each claim; each is only read.

        Raises TargetRefused for a manifest that cannot be shown here, TargetUnavailable when QEMU does not come up.
        """
        if self.running():
            return
        self.stop()
        firmware = local_firmware.pair(self.folder, qemu.firmware_need(vm))
        layers = {claim: Layer(self.folder.run / f"{claim}.qcow2", base) for claim, base in bases.items()}
        accel = accelerator.usable()
        variables = (firmware[0], self.folder.run / "variables.fd") if firmware else None
        now = datetime.now(UTC)
        socket = self.sockets / tpm.SOCKET if tpm.wanted(qemu.devices_of(vm)) else None
        captures = self.folder.run if asked.packets else None
        options = qemu.Options(
            accel, self.monitor, self.agent, self.serial, now, variables, asked.ports, socket, captures, asked.wires
        )
        command = qemu.command(vm, layers, options)
        self._make_room(layers, ledger)
        if firmware:
            shutil.copyfile(firmware[1], self.folder.run / "variables.fd")
        ledger(External("process", self.name, str(self.pidfile)))
        start = Start(
            started_at=now.isoformat(timespec="milliseconds"),
            boottime_seconds=_boottime(),
            accelerator=accel,
            not_shown=(
                *command.not_shown,
                *local_firmware.unshown(self.folder, firmware),
                *tpm.unshown(self.folder, started=socket is not None),
            ),
        )
        if socket is not None:
            tpm.start(self.folder, self.sockets)
        process.detached(command.argv, pidfile=self.pidfile, log=self.log)
        self._await_monitor()
        write(self.folder.run / "start.json", start.model_dump_json(by_alias=True))

    def _make_room(self, layers: Mapping[str, Layer], ledger: Ledger) -> None:
        ledger(External("folder", self.name, str(self.folder.run)))
        self.folder.run.mkdir(mode=PRIVATE_FOLDER, parents=True)
        ledger(External("folder", self.name, str(self.sockets)))
        private(self.sockets)
        for layer in layers.values():
            # The base is named when QEMU starts, never in the layer's header.
            size = str(layer.base.stat().st_size)
            process.run(["qemu-img", "create", "-q", "-f", "qcow2", str(layer.overlay), size])

    def _await_monitor(self) -> None:
        deadline = time.monotonic() + MONITOR_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(TargetUnavailable), qmp.connect(self.monitor, timeout=2):
                return
            if process.alive(self.pidfile, program=str(self.monitor)) is None:
                break
            stopping.pause(0.02)
        why = self.last_words()
        self.stop()
        if tpm.REFUSED in why:
            raise TargetRefused(tpm.REFUSAL, why=why, fix=tpm.REFUSAL_FIX, machine=self.name)
        raise TargetUnavailable(
            "QEMU did not start the machine",
            why=why,
            fix="Look at what the manifest asks for; QEMU's words say which part it cannot do.",
            machine=self.name,
        )

    def death(self) -> str | None:
        """How the machine ended, None while it runs."""
        if process.alive(self.pidfile, program=str(self.monitor)) is None and not self.alive():
            return f"QEMU is gone. {self.last_words()}"
        try:
            with qmp.connect(self.monitor) as monitor:
                status = monitor.status()
        except TargetUnavailable:
            return None
        return f"QEMU reports {status}. {self.last_words()}" if status in ENDED else None

    def last_words(self) -> str:
        """The end of what QEMU printed, and of what the machine wrote to its console, as one line."""
        said = printable(local_access.end_of(self.log, CONSOLE_TAIL_BYTES), 1000)
        console = printable(local_access.end_of(self.serial, CONSOLE_TAIL_BYTES)[-300:], 400)
        return f"QEMU: {said or 'nothing'}; console: {console or 'nothing'}"

    def forwards(self) -> dict[int, tuple[int, ...]]:
        """The port forwards of a running machine, none for one that ended."""
        return qmp.forwards_in(self._usernet())

    def established(self) -> frozenset[int]:
        """The forwarded ports behind which the guest has taken a connection; none of a machine that ended."""
        return qmp.established_in(self._usernet())

    def _usernet(self) -> str:
        try:
            with qmp.connect(self.monitor) as monitor:
                return monitor.usernet()
        except TargetUnavailable:
            return ""

    def picture(self) -> bytes:
        """A picture of the screen, PNG. Raises TargetUnavailable where QEMU gives none."""
        taken = self.folder.run / "screenshot.png"
        try:
            with qmp.connect(self.monitor) as monitor:
                monitor.screenshot(taken)
                return taken.read_bytes()
        except OSError as error:
            raise TargetUnavailable("QEMU gave no picture of the screen", why=str(error)) from error

    def captures(self) -> tuple[Path, ...]:
        """What each network card has sent, where it was started to be listened to."""
        return tuple(sorted(self.folder.run.glob(capture_name("*"))))

    def end_captures(self) -> None:
        """Write no more of what network cards send."""
        with contextlib.suppress(TargetUnavailable), qmp.connect(self.monitor) as monitor:
            for capture in self.captures():
                with contextlib.suppress(qmp.QmpRefused):  # it has ended before
                    monitor.command("object-del", id=capture.name)

    def elapsed(self) -> float:
        """Seconds since it was started."""
        start = self.started()
        return max(0.0, _boottime() - start.boottime_seconds) if start else 0.0

    def stop(self) -> None:
        """End QEMU and drop everything that only the running machine needed. Nothing to do is no error."""
        process.end_detached(self.pidfile, program=str(self.monitor))
        # One whose pid was never written down is ended through its monitor.
        with contextlib.suppress(TargetUnavailable), qmp.connect(self.monitor, timeout=2) as monitor:
            monitor.command("quit")
        deadline = time.monotonic() + QUIT_SECONDS
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        tpm.stop(self.folder, self.sockets)
        for left in (self.folder.run, self.sockets):
            shutil.rmtree(left, ignore_errors=True)


def socket_root() -> Path:
    """A short path for folders with sockets: /run for root, else the session's folder or /tmp."""
    if os.geteuid() == 0 and Path("/run").is_dir():
        return Path("/run")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())


def private(folder: Path) -> None:
    """Make the folder for nobody but us. Raises TargetRefused where somebody else made it first."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise TargetRefused(
            f"{folder} is not a folder of ours alone", fix=f"Remove it, or `chmod 700 {folder}` if it is yours."
        )


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
