"""What is seen of a running machine, and kept in its evidence folder: probes, guest, screen, console."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from kubeferry.documents import Entry, Observation, ProbeResult, save
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.inside import agent as inside
from kubeferry.inside.said import Said
from kubeferry.targets.directory import local_access, qemu, qmp
from kubeferry.targets.directory.devices import has_console, has_screen
from kubeferry.targets.directory.hypervisor import CONSOLE_TAIL_BYTES, LocalMachine
from kubeferry.targets.directory.layout import PRIVATE_FILE, MachineFolder
from kubeferry.targets.guest import agent, probes
from kubeferry.targets.guest.screen.pictures import MAGIC

SERIAL_LIMIT_BYTES = 4 * 1024 * 1024
CONSOLE_TAIL_LINES = 40
PICTURE_LIMIT_BYTES = 1024 * 1024


def observe(entry: Entry, machine: LocalMachine, last_words: Mapping[str, str]) -> Observation:
    """Run the entry's probes and keep what was seen; the picture is in the observation, and beside it as a file.

    Raises TargetRefused for a machine that is not started; one that ended meanwhile fails its probes.
    """
    start = machine.started()
    if start is None:
        raise TargetRefused("the machine is not started", fix="Start it first.", machine=entry.name)
    spec = qemu.template(qemu.virtual_machine(entry.manifests))
    serial = machine.serial if has_console(spec) else None
    access = local_access.LocalAccess(
        agent_socket=machine.agent,
        serial_log=serial,
        forwards=machine.forwards(),
        clock=machine.elapsed,
        death=machine.death,
        established=machine.established,
        picture=machine.picture if has_screen(spec) else None,
        captures=machine.captures(),
        end_captures=machine.end_captures,
    )
    answers = probes.run(entry.probes, access, last_words)
    first = min((answer.seconds for answer in answers if answer.ok), default=None)
    guest, said = _guest(machine, answers, entry.stop.services or ())
    observation = Observation(
        machine=entry.name,
        started_at=start.started_at,
        where=f"local QEMU, isolated, over a throw-away layer of {machine.folder.disks}",
        accelerator=start.accelerator,
        probes=answers,
        guest=guest,
        said=said,
        screenshot=_screenshot(machine) if has_screen(spec) else None,
        console_tail=_console_tail(machine),
        first_answer_seconds=first,
        first_answer_at=None if first is None else _later(start.started_at, first),
        not_shown=start.not_shown,
        versions=_versions(machine),
    )
    keep_console(machine)
    save(observation, machine.folder.evidence / "observation.json")
    (machine.folder.evidence / "observation.json").chmod(PRIVATE_FILE)
    return observation


def drop(folder: MachineFolder) -> None:
    """Evidence of an earlier start says nothing about this one."""
    for name in ("screenshot.png", "serial.log", "observation.json"):
        (folder.evidence / name).unlink(missing_ok=True)


def keep_console(machine: LocalMachine) -> None:
    """Keep the last few megabytes of what the machine wrote to its console."""
    text = local_access.end_of(machine.serial, SERIAL_LIMIT_BYTES)
    if text:
        kept = machine.folder.evidence / "serial.log"
        kept.write_text(text, encoding="utf-8")
        kept.chmod(PRIVATE_FILE)


def _screenshot(machine: LocalMachine) -> str | None:
    """A picture of the screen as a data URI; None where there was nothing to take, or it is too large to be kept."""
    kept = machine.folder.evidence / "screenshot.png"
    with contextlib.suppress(TargetUnavailable):
        picture = machine.picture()
        if picture.startswith(MAGIC):
            kept.write_bytes(picture)
            kept.chmod(PRIVATE_FILE)
            if len(picture) <= PICTURE_LIMIT_BYTES:
                return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
    return None


def _versions(machine: LocalMachine) -> dict[str, str]:
    with contextlib.suppress(TargetUnavailable), qmp.connect(machine.monitor) as monitor:
        return {"QEMU": monitor.version()}
    return {}


def _guest(
    machine: LocalMachine, answers: tuple[ProbeResult, ...], services: tuple[str, ...]
) -> tuple[dict[str, str], Said | None]:
    """What the agent says of its system; where nothing was heard of an agent, it gets one second to speak up."""
    heard = any(answer.ok and answer.kind in {"agent", "file", "counter"} for answer in answers)
    patience = agent.ANSWER_SECONDS if heard else 1.0
    with contextlib.suppress(TargetUnavailable), agent.connect(machine.agent, patience) as talk:
        return talk.facts(), inside.said(talk.ask, services)
    return {}, None


def _console_tail(machine: LocalMachine) -> str:
    """The last lines of the console, without control characters."""
    lines = local_access.end_of(machine.serial, CONSOLE_TAIL_BYTES).splitlines()
    shown = [agent.printable(line) for line in lines[-CONSOLE_TAIL_LINES:]]
    return "\n".join(line for line in shown if line)


def _later(moment: str, seconds: float) -> str:
    later = datetime.fromisoformat(moment).astimezone(UTC) + timedelta(seconds=seconds)
    return later.isoformat(timespec="milliseconds")
