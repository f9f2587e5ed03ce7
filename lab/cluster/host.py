"""What a node changes outside its namespaces, and how that is put back: kernel settings, loop devices, cgroups.

The kernel settings are noted before the first change and the note lies beside the state folder, so that even a machine
whose `up` was killed gets back what it had.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.outside.atomic import replace_text
from kubeferry.outside.process import run
from lab.cluster.place import Place

# The kubelet sets these for the whole machine when it starts.
KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
SETTINGS = Path("/proc/sys")
CGROUPS = Path("/sys/fs/cgroup")
PODS_CGROUP = "kubepods"


def note_settings(place: Place) -> None:
    """Write down the kernel settings of the machine, unless an earlier call has done it."""
    if not _note(place).exists():
        found = {name: (SETTINGS / name).read_text() for name in KERNEL_SETTINGS if (SETTINGS / name).exists()}
        replace_text(_note(place), json.dumps(found))


def restore_settings(place: Place) -> list[str]:
    """Put back what was noted; returns the settings that had been changed."""
    if not _note(place).exists():
        return []
    before = json.loads(_note(place).read_text())
    changed = [name for name, value in before.items() if (SETTINGS / name).read_text() != value]
    for name in changed:
        (SETTINGS / name).write_text(before[name])
    _note(place).unlink()
    return changed


def refuse_other_kubelet() -> None:
    """Raise InputInvalid where another kubelet works on this machine: both would use the same cgroups."""
    found = [str(path) for path in pods_cgroups() if _processes(path)]
    if found:
        fix = "Use a machine without Kubernetes of its own."
        raise InputInvalid("the lab cannot run here", [Problem(found[0], "another kubelet's pods run", fix)])


def pods_cgroups() -> list[Path]:
    """The folders that a kubelet makes: one for each hierarchy of cgroup v1, or one in all."""
    return [path for path in (*CGROUPS.glob(f"*/{PODS_CGROUP}"), CGROUPS / PODS_CGROUP) if path.is_dir()]


def remove_cgroups() -> int:
    """Remove the pods' empty cgroups; returns how many trees there were. Those in use stay."""
    trees = [path for path in pods_cgroups() if not _processes(path)]
    for tree in trees:
        for path in sorted((tree, *tree.rglob("*/")), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
    return len(trees)


def loop_devices(folder: Path) -> list[str]:
    """The loop devices whose files lie below `folder`, those whose file is deleted included."""
    listed = json.loads(run(["losetup", "--list", "--json", "-O", "NAME,BACK-FILE"]).out or '{"loopdevices": []}')
    devices = [(device["name"], Path(device["back-file"] or "/")) for device in listed["loopdevices"]]
    return [name for name, file in devices if file.is_relative_to(folder)]


def detach_loop_devices(folder: Path) -> int:
    """Free the loop devices whose files lie below `folder`; returns how many."""
    devices = loop_devices(folder)
    for device in devices:
        run(["losetup", "--detach", device])
    return len(devices)


def _note(place: Place) -> Path:
    return place.state.with_name(f"{place.state.name}.kernel-settings.json")


def _processes(cgroup: Path) -> bool:
    return any(path.read_text().strip() for path in (cgroup, *cgroup.rglob("*/")) for path in [path / "cgroup.procs"])
