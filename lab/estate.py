"""The source estate of the demo: three real machines on the local libvirtd, with a history and a boot counter each.

`up` may be called again at any time, also after a kill: what is there is kept, what is missing is made. `down` takes
the machines away and ends what was started for them. A domain of the same name that is not this estate's is refused.

`python -m lab.estate up|down|status FOLDER`
"""

from __future__ import annotations

import argparse
import base64
import functools
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from kubeferry.errors import InputInvalid, KubeferryError, Problem, SourceUnavailable
from kubeferry.outside.process import ProgramFailed, run
from kubeferry.targets.directory import accelerator
from lab import daemons, guests
from lab.daemons import virsh
from lab.domains import MACHINES, DiskFile, Hypervisor, Machine, Place, owner, serial_log, xml

BOOT_SECONDS = 240
DEFINED_DOMAINS = Path("/etc/libvirt/qemu")


def up(folder: Path, *, start: bool = True, prefix: str = "") -> None:
    """Three machines are defined; with `start` they also run and their agents have answered.

    Raises InputInvalid where a domain of another owner has one of the names (nothing is changed then),
    SourceUnavailable where libvirtd or a guest does not answer in time.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if started := daemons.start(folder):
        _say(f"{' and '.join(started)} started")
    place = Place(folder, prefix)
    known = _domains()
    _refuse_foreign(place, known)
    for machine in MACHINES.values():
        whole = all((folder / disk.file).exists() for disk in machine.disks)
        if place.domain(machine) in known and not whole:
            _remove(place.domain(machine))
        if place.domain(machine) not in known or not whole:
            _create(machine, place)
        _take_snapshot(machine, place)
    if start:
        _start(place)


def add(machine: Machine, folder: Path, *, prefix: str = "") -> str:
    """One machine more, running, whose agent has answered; goes with `down`. Returns its domain's name."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    daemons.start(folder)
    place = Place(folder, prefix)
    domain = place.domain(machine)
    _create(machine, place)
    virsh("start", domain)
    limit = time.monotonic() + BOOT_SECONDS
    while _boots_inside(domain) is None:
        if time.monotonic() > limit:
            raise SourceUnavailable(f"no guest agent of {domain} after {BOOT_SECONDS} s")
        time.sleep(0.3)
    return domain


def write_variable(domain: str, name: str, text: str) -> None:
    """The running guest sets a UEFI variable that outlives its power (attributes 7), as its firmware takes it: in one
    write. Raises SourceUnavailable where the guest cannot."""
    script = 'printf "\\007\\000\\000\\000%s" "$1" >"/sys/firmware/efi/efivars/$2"'
    run_in_guest = {"path": "/bin/sh", "arg": ["-c", script, "sh", text, name], "capture-output": True}
    process = _agent(domain, "guest-exec", **run_in_guest)["pid"]
    while not (ended := _agent(domain, "guest-exec-status", pid=process))["exited"]:
        time.sleep(0.2)
    if ended["exitcode"]:
        said = base64.b64decode(ended.get("err-data", "")).decode(errors="replace")
        raise SourceUnavailable(f"{domain} does not set {name}", why=said)


def read_inside(domain: str, path: str) -> str | None:
    """The head of a text file as the running guest's agent reads it; None while there is no answer, or no such file."""
    try:
        handle = _agent(domain, "guest-file-open", path=path, mode="r")
        content = _agent(domain, "guest-file-read", handle=handle)
        _agent(domain, "guest-file-close", handle=handle)
    except ProgramFailed:
        return None
    return base64.b64decode(content["buf-b64"]).decode(errors="replace")


def down(folder: Path) -> list[str]:
    """The machines of this folder's estate are gone, and so are the daemons that were started for it; their disks stay.

    Returns a line for each thing that was ended. Nothing to end is no error.
    """
    folder = folder.resolve()
    if not daemons.answers():
        if not _traces(folder):
            return []
        folder.mkdir(parents=True, exist_ok=True)
        daemons.start(folder)
    lines = []
    for domain, belongs in _domains().items():
        if belongs == str(folder):
            _remove(domain)
            lines.append(f"machine {domain} removed")
    return lines + daemons.stop(folder)


def boots(folder: Path, name: str) -> int:
    """How often the machine has booted, read from its stopped disk. Every disk of the machine must agree."""
    machine = MACHINES[name]
    counts = {
        disk.target: guests.boot_count(folder / machine.top(disk), format=_format(machine, disk), start=disk.start)
        for disk in machine.disks
    }
    if len(set(counts.values())) != 1:
        raise SourceUnavailable(f"the disks disagree about the boots: {counts}", machine=name)
    return counts[machine.disks[0].target]


def status(folder: Path) -> list[str]:
    """A line for each machine of the estate: its state, and its boots where they can be read now."""
    if not daemons.answers():
        return ["no libvirtd answers"]
    lines = []
    for domain, belongs in _domains().items():
        if belongs == str(folder.resolve()):
            state = virsh("domstate", domain).strip()
            lines.append(f"{domain}: {state}" + (f", boots {_boots_inside(domain)}" if state == "running" else ""))
    return lines or ["no machine of this estate is defined"]


@functools.cache
def _hypervisor() -> Hypervisor:
    security = re.findall(r"<secmodel>\s*<model>(\w+)</model>", virsh("capabilities"))
    return Hypervisor(
        "kvm" if accelerator.usable() == "kvm" else "qemu",
        tuple(model for model in security if model != "none"),
    )


def _domains() -> dict[str, str | None]:
    """Every defined domain, and the estate's folder that it belongs to."""
    names = virsh("list", "--all", "--name").split("\n")
    return {name: owner(virsh("dumpxml", name)) for name in names if name}


def _refuse_foreign(place: Place, known: dict[str, str | None]) -> None:
    problems = []
    for machine in MACHINES.values():
        domain = place.domain(machine)
        if domain in known and known[domain] != str(place.folder):
            whose = f"belongs to the estate in {known[domain]}" if known[domain] else "was not made by this lab"
            fix = f"Rename it (virsh domrename {domain} NEW-NAME), or take that estate down first."
            problems.append(Problem(f"domain {domain}", f"it exists already and {whose}", fix))
    if problems:
        raise InputInvalid("the estate's names are taken", problems)


def _create(machine: Machine, place: Place) -> None:
    """Fresh disks and a definition. Leftovers of an earlier machine of this name are replaced."""
    began = time.monotonic()
    for disk in machine.disks:
        _build(machine, disk, place.folder / disk.file)
    description = place.folder / f"{machine.name}.xml"
    description.write_text(xml(machine, place, _hypervisor()))
    virsh("define", str(description))
    _say(f"{place.domain(machine)}: built and defined in {time.monotonic() - began:.1f} s")


def _build(machine: Machine, disk: DiskFile, dest: Path) -> None:
    raw = dest.with_suffix(".raw")
    if disk is machine.disks[0]:
        guests.build_guest(machine.guest, raw)
    else:
        guests.build_data_disk(machine.name, raw)
    if disk.format != "raw":
        run(["qemu-img", "convert", "-f", "raw", "-O", disk.format, str(raw), str(dest)])
        raw.unlink()


def _take_snapshot(machine: Machine, place: Place) -> None:
    """An external snapshot, as an administrator takes one before an upgrade: from now on the layer is written."""
    domain = place.domain(machine)
    if not machine.layers or all(layer in virsh("dumpxml", domain) for _, layer in machine.layers):
        return
    specs: list[str] = []
    for disk in machine.disks:
        layer = dict(machine.layers).get(disk.target)
        if layer:
            # One that an interrupted call has left: no machine has run on it yet.
            (place.folder / layer).unlink(missing_ok=True)
        source = f"snapshot=external,file={place.folder / layer}" if layer else "snapshot=no"
        specs += ["--diskspec", f"{disk.target},{source}"]
    virsh("snapshot-create-as", domain, "before-upgrade", "--disk-only", "--no-metadata", *specs)
    _say(f"{domain}: snapshot taken")


def _start(place: Place) -> None:
    """Start all that do not run, then wait for the agent of each."""
    began = time.monotonic()
    running = virsh("list", "--name").split()
    waiting = [place.domain(machine) for machine in MACHINES.values()]
    for domain in waiting:
        if domain not in running:
            virsh("start", domain)
    _say(f"waiting for the guest agents of {', '.join(waiting)}")
    while waiting:
        for domain in list(waiting):
            counted = _boots_inside(domain)
            if counted is not None:
                waiting.remove(domain)
                _say(f"{domain}: up after {time.monotonic() - began:.1f} s, boots {counted}")
        if waiting and time.monotonic() - began > BOOT_SECONDS:
            raise _late(place, waiting)
        time.sleep(0.3)


def _late(place: Place, waiting: list[str]) -> SourceUnavailable:
    said = []
    for machine in MACHINES.values():
        log = serial_log(machine, place)
        if place.domain(machine) in waiting and log.exists():
            said.append(f"{machine.name}'s serial line ends with: {log.read_text(errors='replace')[-500:]!r}")
    return SourceUnavailable(f"no guest agent of {', '.join(waiting)} after {BOOT_SECONDS} s", why="; ".join(said))


def _boots_inside(domain: str) -> int | None:
    """The counter as the running guest's agent reads it, None while there is no answer."""
    content = read_inside(domain, "/data/boots")
    return None if content is None else int(content)


def _agent(domain: str, execute: str, **arguments: object) -> Any:
    request = json.dumps({"execute": execute, "arguments": arguments})
    return json.loads(virsh("qemu-agent-command", domain, "--timeout", "3", request))["return"]


def _remove(domain: str) -> None:
    if virsh("domstate", domain).strip() != "shut off":
        virsh("destroy", domain)
    virsh("undefine", domain, "--nvram", "--managed-save", "--snapshots-metadata", "--checkpoints-metadata")


def _format(machine: Machine, disk: DiskFile) -> str:
    return "qcow2" if machine.top(disk) != disk.file else disk.format


def _traces(folder: Path) -> bool:
    """Whether something of this estate may be left, seen without a libvirtd."""
    pids = any((folder / f"{program}.pid").exists() for program in daemons.DAEMONS)
    marker = f'folder="{folder}"', f"folder='{folder}'"
    defined = DEFINED_DOMAINS.glob("*.xml") if DEFINED_DOMAINS.is_dir() else ()
    return pids or any(text in path.read_text() for path in defined for text in marker)


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description="The source estate: three machines on the local libvirtd.")
    parser.add_argument("verb", choices=("up", "down", "status"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.verb == "up":
            up(arguments.folder)
        for line in down(arguments.folder) if arguments.verb == "down" else status(arguments.folder):
            _say(line)
    except KubeferryError as error:
        print(f"failed: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
