"""The cluster's beginning and end. Each step looks at what is there first, so that any call may follow any other."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from lab.cluster import (
    binaries,
    bundle,
    containers,
    control_plane,
    crds,
    host,
    hypervisor,
    images,
    kubelet,
    kubevirt,
    mover_image,
    network,
    node,
    programs,
    services,
)
from lab.cluster.place import SETTING, Place, kubevirt_folder
from lab.cluster.progress import say

# Written into the state folder when the links and mounts of a node are complete.
WHOLE = "node-is-whole"


def up(place: Place) -> None:
    """A Ready node with storage and names, and KubeVirt and CDI where the setting names their folder.

    What runs is kept; what is missing, after a kill too, is made. Raises KubeferryError.
    """
    place.check()
    folder = kubevirt_folder()
    with _only_one(place):
        programs.require(kubevirt=folder is not None)
        given = bundle.unpacked(folder) if folder else None
        built = binaries.ensure()
        archives = [images.archive(), mover_image.archive()] + ([kubevirt.images(given)] if given else [])
        machine = _node(place)
        control_plane.start(machine, built)
        say("the control plane answers")
        containers.start(machine)
        for archive in archives:
            containers.load(machine, archive)
        kubelet.start(machine, built)
        say(f"node {network.NODE_NAME} is Ready")
        services.start(machine)
        hypervisor.start(machine)
        say("services have names, claims get volumes")
        if given is None:
            crds.install(place)
            say(f"KubeVirt's and CDI's kinds are known; {SETTING} would name the folder that makes them real")
        else:
            _add_kubevirt(place, given)
    say(f"export KUBECONFIG={place.kubeconfig}")


def down(place: Place) -> list[str]:
    """Nothing of the cluster is left but the caches; returns a line for each thing that was ended.

    May be called at any time. Nothing to end is no error.
    """
    lines = ["the hypervisor ended"] if hypervisor.end(place) else []
    lines += ["the node and everything in it ended"] if node.end(place) else []
    if network.disconnect():
        lines.append("its link removed")
    if devices := host.detach_loop_devices(place.state):
        lines.append(f"{devices} loop devices detached")
    if lines and (trees := host.remove_cgroups()):
        lines.append(f"the pods' cgroups removed from {trees} hierarchies")
    if changed := host.restore_settings(place):
        lines.append(f"kernel settings put back: {', '.join(changed)}")
    if place.state.exists():
        shutil.rmtree(place.state)
        lines.append(f"{place.state} removed")
    return lines


def _node(place: Place) -> node.Node:
    """The running node, a new one if it is missing or was left half made."""
    running = node.find(place)
    if running is not None and (place.state / WHOLE).exists():
        return running
    for line in down(place):
        say(f"left over: {line}")
    host.refuse_other_kubelet()
    place.make()
    host.note_settings(place)
    control_plane.write_identities(place)
    made = node.make(place)
    network.connect(made)
    (place.state / WHOLE).touch()
    say("the node's namespaces and links are made")
    return made


def _add_kubevirt(place: Place, given: bundle.Bundle) -> None:
    crds.remove(place)
    kubevirt.deploy(place, given)
    say("KubeVirt and CDI are asked for: a minute or two")
    kubevirt.await_deployed(place)
    services.write_profiles(place)
    say("KubeVirt and CDI are deployed")


@contextlib.contextmanager
def _only_one(place: Place) -> Iterator[None]:
    """Raises InputInvalid where another `up` works at this moment. The kernel forgets the lock with the process."""
    path: Path = place.state.with_name(f"{place.state.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            fix = "Wait for it to end."
            raise InputInvalid("the lab is busy", [Problem(str(path), "another `up` runs", fix)]) from busy
        yield
