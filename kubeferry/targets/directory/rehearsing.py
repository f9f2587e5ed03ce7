"""Rehearsals in a target folder: a machine in local QEMU over its images, while its source goes on.

As for its proof, the images are only read, and each card is on a network of QEMU's own that lets nothing out
(`devices.networks`: `restrict=on`); what leads in are ports on 127.0.0.1 for its probes. All of it lies in a folder
apart, which goes with it: a run that was killed is found there, and ended. Those that are rehearsed together reach each
other through sockets in there (`segments`), for as long as the process that began it lives.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

from kubeferry.documents import Entry, Observation
from kubeferry.errors import TargetRefused
from kubeferry.targets import Ledger, rehearsed_now, runs_from_it
from kubeferry.targets.directory import capacity, evidence, qemu, segments, sets, switch
from kubeferry.targets.directory.hypervisor import Asked, LocalMachine
from kubeferry.targets.directory.layout import PRIVATE_FOLDER, MachineFolder, TargetFolder
from kubeferry.targets.guest import rehearsals


def machine_of(entry: Entry, folder: MachineFolder) -> LocalMachine:
    """The machine that is rehearsed, whether it runs or not. `folder` is the machine's own."""
    return LocalMachine(entry.target_name, folder.rehearsal)


def start(target: TargetFolder, entry: Entry, asked: Asked, ledger: Ledger, beside: tuple[Entry, ...] = ()) -> None:
    """See `kubeferry.targets.Target.rehearse`."""
    folder = target.machine(entry.target_name)
    if beside:
        capacity.check_memory(entry, beside)
    if LocalMachine(entry.target_name, folder).alive():
        raise runs_from_it(entry, entry.name)
    bases = sets.images(target, entry)
    folder.rehearsal.evidence.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    machine = machine_of(entry, folder)
    wires = segments.wires_of(entry, beside, machine.sockets) if beside else ()
    asked = replace(asked, wires=wires)
    machine.start(entry.sized(qemu.virtual_machine(entry.manifests)), bases, asked, ledger)
    if wires:
        switch.plug((target.machine(one.target_name).path for one in beside), entry.target_name, wires)


def observe(entry: Entry, folder: MachineFolder) -> Observation:
    """See `kubeferry.targets.Target.observe_rehearsal`."""
    machine = machine_of(entry, folder)
    if machine.started() is None:
        raise TargetRefused("no rehearsal of it is started", fix="Start it first.", machine=entry.name)
    probes, not_asked = rehearsals.asked(entry, networked=True)
    seen = evidence.observe(entry.model_copy(update={"probes": probes}), machine, {})
    where = f"local QEMU, isolated, rehearsed over a throw-away layer of {folder.disks}"
    not_shown = (*seen.not_shown, *rehearsals.unshown(entry))
    return seen.model_copy(update={"where": where, "not_asked": not_asked, "not_shown": not_shown})


def end(entry: Entry, folder: MachineFolder) -> list[str]:
    """See `kubeferry.targets.Target.end_rehearsal`."""
    machine = machine_of(entry, folder)
    switch.unplug(folder.path, entry.target_name)
    if not machine.alive() and not folder.rehearsal.path.exists() and not machine.sockets.exists():
        return []
    machine.stop()
    shutil.rmtree(folder.rehearsal.path)
    return [str(folder.rehearsal.path)]


def refuse(target: TargetFolder, entry: Entry) -> None:
    """Raise TargetRefused where a rehearsal runs over the machine's disks."""
    folder = target.machine(entry.target_name)
    if machine_of(entry, folder).alive():
        raise rehearsed_now(entry, str(folder.rehearsal.path))
