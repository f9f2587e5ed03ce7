"""A running vCenter of the lab, and the machines that a test puts into it.

with vcenter(folder) as lab:
    lab.machine("web", [disk])            # a machine with this disk, off
    source = open_source("lab", lab.config(), …)      # under lab.environment()
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyVmomi import vim

from kubeferry.documents import SourceConfig
from kubeferry.errors import SourceUnavailable
from kubeferry.outside.process import child, run
from lab.vcenter import binary, disks, tags
from lab.vcenter.disks import DiskFile
from lab.vcenter.relay import Relay

LOGIN = ("migrator@vsphere.local", "swordfish 4711")
DATACENTER = "DC0"
START_SECONDS = 600  # with thousands of machines


@contextlib.contextmanager
def vcenter(folder: Path, *, machines: int = 0, snapshot_delay: float = 0) -> Iterator[Place]:
    """A simulator and a relay for as long as the block lasts. `machines` are made in each of two resource pools."""
    frozen = folder / "frozen"
    frozen.mkdir()
    log = folder / "simulator.log"
    command = [str(binary.ensure()), "-machines", str(machines), "-frozen", str(frozen), "-user", LOGIN[0]]
    command += ["-snapshot-delay", str(int(snapshot_delay * 1000))]
    with child(command, log=log, env={"SIMULATOR_PASSWORD": LOGIN[1], "TMPDIR": str(folder)}) as simulator:
        limit = time.monotonic() + START_SECONDS
        while not (told := log.read_text().strip()) or ":" not in told:
            if simulator.wait(0.05) is not None or time.monotonic() > limit:
                raise SourceUnavailable("the simulator does not start", why=simulator.tail())
        host, _, port = told.splitlines()[-1].rpartition(":")
        relay = Relay((host, int(port)), frozen, LOGIN, made_certificate(folder))
        try:
            yield Place(folder, relay)
        finally:
            relay.close()


def made_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of an authority of its own, for 127.0.0.1, and its key."""
    certificate, key = folder / "server.pem", folder / "server.key"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subject = ["-subj", "/CN=lab vCenter", "-addext", "subjectAltName=IP:127.0.0.1"]
    run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", *subject, *files],
    )
    return certificate, key


class Place:
    """The lab's vCenter. `relay.rules` says what goes wrong."""

    def __init__(self, folder: Path, relay: Relay) -> None:
        self.folder = folder
        self.relay = relay
        self._content = relay.content
        self._made: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.relay.port}/sdk"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def thumbprint(self) -> str:
        """SHA-256 of the certificate."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()

    def environment(self) -> dict[str, str]:
        """What govc's users set."""
        user, password = LOGIN
        return {"GOVC_USERNAME": user, "GOVC_PASSWORD": password, "GOVC_TLS_CA_CERTS": str(self.certificate)}

    def config(self, **vmware: Any) -> SourceConfig:
        """The configuration of the source."""
        return SourceConfig.model_validate({"kind": "vmware", "uri": self.url, "vmware": vmware})

    # --- machines --------------------------------------------------------------------------------------------------

    def machine(self, name: str, contents: Sequence[Path], *, on: bool = False, firmware: str = "bios") -> str:
        """A machine with a paravirtual controller, a vmxnet3 card and disks with this content; its id (`vm-12`)."""
        root = self._content.rootFolder.childEntity[0]
        hosts = root.hostFolder.childEntity
        pool = next(one for one in hosts if isinstance(one, vim.ClusterComputeResource)).resourcePool
        store = root.datastore[0].name
        # The simulator's log of a machine can come back a moment after the machine was removed.
        shutil.rmtree(Path(root.datastore[0].summary.url) / name, ignore_errors=True)
        spec = vim.vm.ConfigSpec(
            name=name,
            guestId="debian12_64Guest",
            numCPUs=1,
            memoryMB=256,
            firmware=firmware,
            version="vmx-19",
            files=vim.vm.FileInfo(vmPathName=f"[{store}] {name}/{name}.vmx"),
            deviceChange=[*_devices(root), *(_disk(place, path) for place, path in enumerate(contents))],
        )
        waited(root.vmFolder.CreateVM_Task(config=spec, pool=pool))
        vm = self._content.searchIndex.FindByInventoryPath(f"{DATACENTER}/vm/{name}")
        for file, path in zip(disks.files_of(self._content, vm._moId), contents, strict=True):
            disks.filled(file.path, path)
        self._made[name] = vm
        if on:
            waited(vm.PowerOnVM_Task())
        return str(vm._moId)

    @property
    def names(self) -> tuple[str, ...]:
        """The machines that were made here or asked for, and are there."""
        return tuple(self._made)

    def rename(self, name: str, other: str) -> None:
        """Give a machine another name."""
        waited(self.vm(name).ReconfigVM_Task(spec=vim.vm.ConfigSpec(name=other)))
        self._made[other] = self._made.pop(name)

    def remove(self, *names: str) -> None:
        """Machines are gone, with their files."""
        for name in names:
            vm = self.vm(name)
            if vm.runtime.powerState == "poweredOn":
                waited(vm.PowerOffVM_Task())
            waited(vm.Destroy_Task())
            del self._made[name]

    def switch_on(self, name: str) -> None:
        """A machine runs."""
        waited(self.vm(name).PowerOnVM_Task())

    def start_with_host(self, name: str, *, order: int) -> None:
        """The host of a machine starts it by itself, as number `order`."""
        vm = self.vm(name)
        info = vim.host.AutoStartManager.AutoPowerInfo(
            key=vm,
            startOrder=order,
            startDelay=17,
            waitForHeartbeat="yes",
            startAction="powerOn",
            stopDelay=-1,
            stopAction="guestShutdown",
        )
        manager = vm.runtime.host.configManager.autoStartManager
        manager.ReconfigureAutostart(spec=vim.host.AutoStartManager.Config(powerInfo=[info]))

    def order_of(self, name: str) -> int:
        """As which number its host starts a machine; -1 where it does not."""
        manager = self.vm(name).runtime.host.configManager.autoStartManager
        found = [one.startOrder for one in manager.config.powerInfo if one.key._moId == self.vm(name)._moId]
        return found[0] if found else -1

    @contextlib.contextmanager
    def off(self, name: str) -> Iterator[None]:
        """A machine is off for as long as the block lasts, if it ran."""
        ran = self.vm(name).runtime.powerState == "poweredOn"
        if ran:
            waited(self.vm(name).PowerOffVM_Task())
        yield
        if ran:
            self.switch_on(name)

    def vm(self, name: str) -> Any:
        """The simulator's own handle on a machine."""
        if name not in self._made:
            self._made[name] = self._content.searchIndex.FindByInventoryPath(f"{DATACENTER}/vm/{name}")
        return self._made[name]

    def disks(self, name: str) -> list[DiskFile]:
        """The files that a machine's disks are in now, in the order of their keys."""
        return disks.files_of(self._content, self.vm(name)._moId)

    def write(self, name: str, disk: int, offset: int, piece: bytes) -> None:
        """Write to a disk as the guest would."""
        with self.disks(name)[disk].path.open("r+b") as file:
            file.seek(offset)
            file.write(piece)

    def snapshots(self, name: str) -> list[str]:
        """The names of a machine's snapshots."""
        told = self.vm(name).rootSnapshot
        return [one._moId for one in told or []]

    def tools(self, name: str, *, running: bool) -> None:
        """Whether VMware Tools run in a machine."""
        state = "guestToolsRunning" if running else "guestToolsNotRunning"
        self.configure(name, extraConfig=[vim.option.OptionValue(key="SET.guest.toolsRunningStatus", value=state)])

    def tag(self, name: str, category: str, tag: str) -> None:
        """Put a new tag of a new category on a machine."""
        tags.tagged(self.relay.upstream, LOGIN, self.vm(name)._moId, category, tag)

    def snapshot(self, name: str, title: str) -> None:
        """A snapshot that somebody else makes."""
        waited(self.vm(name).CreateSnapshot_Task(name=title, description="", memory=False, quiesce=False))

    def grow(self, name: str, disk: int, size: int) -> None:
        """Make a disk larger."""
        file = self.disks(name)[disk]
        self._edit(name, lambda device: _resized(device, size) if device.key == file.key else None)
        os.truncate(self.disks(name)[disk].path, size)

    def detach(self, name: str, disk: int) -> Any:
        """Take a disk away and keep its files; the device."""
        device = next(one for one in _disks(self.vm(name)) if one.key == self.disks(name)[disk].key)
        self.configure(name, deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)])
        return device

    def attach(self, name: str, device: Any) -> None:
        """Add a disk whose files are there, at the key and unit of this device: vSphere makes the one of the other."""
        self.configure(name, deviceChange=[_added(device)])

    def exchange(self, name: str, one: int, other: int) -> None:
        """Two disks change places: each is what the other was, and its files stay its own."""
        found = [self.detach(name, at) for at in sorted((one, other), reverse=True)]
        units = [(device.key, device.unitNumber) for device in reversed(found)]
        for device, (key, unit) in zip(found, units, strict=True):
            device.key, device.unitNumber = key, unit
            self.attach(name, device)

    def replace(self, name: str, disk: int, content: Path) -> None:
        """Another disk, with this content, takes the place of one, whose files stay."""
        old = self.detach(name, disk)
        change = _disk(old.unitNumber, content)
        change.device.key, change.device.controllerKey = old.key, old.controllerKey
        self.configure(name, deviceChange=[change])
        disks.filled(self.disks(name)[disk].path, content)

    def revert(self, name: str, contents: Sequence[bytes]) -> None:
        """Go back to what the disks held once. With it the tracker of changes begins anew."""
        for file, content in zip(self.disks(name), contents, strict=True):
            file.path.write_bytes(content)
        self.track_anew(name)

    def track_anew(self, name: str) -> None:
        """The tracker of changes begins anew, as after a crash of the host."""
        self._edit(name, lambda device: setattr(device.backing, "changeId", f"{uuid.uuid4()}/1"))

    def untrack(self, name: str) -> None:
        """The tracker of changes is off, and forgets."""
        self._edit(name, lambda device: setattr(device.backing, "changeId", None))
        self.configure(name, changeTrackingEnabled=False)

    def _edit(self, name: str, change: Callable[[Any], None]) -> None:
        edits = []
        for device in _disks(self.vm(name)):
            change(device)
            edits.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=device))
        self.configure(name, deviceChange=edits)

    def configure(self, name: str, **changes: Any) -> None:
        """Change a machine's settings."""
        waited(self.vm(name).ReconfigVM_Task(spec=vim.vm.ConfigSpec(**changes)))


def _disks(vm: Any) -> list[Any]:
    return [one for one in vm.config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk)]


def _devices(datacenter: Any) -> list[Any]:
    controller = vim.vm.device.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing")
    network = next(one for one in datacenter.network if one.name == "DC0_DVPG0")
    port = vim.dvs.PortConnection(portgroupKey=network.key, switchUuid=network.config.distributedVirtualSwitch.uuid)
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    card = vim.vm.device.VirtualVmxnet3(key=4000, backing=backing, addressType="generated")
    return [_added(controller), _added(card)]


def _disk(place: int, content: Path) -> Any:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    device = vim.vm.device.VirtualDisk(
        key=-(place + 1),
        controllerKey=1000,
        unitNumber=place,
        capacityInKB=content.stat().st_size // 1024,
        capacityInBytes=content.stat().st_size,
        backing=backing,
    )
    change = _added(device)
    change.fileOperation = "create"
    return change


def _resized(device: Any, size: int) -> None:
    device.capacityInBytes, device.capacityInKB = size, size // 1024


def _added(device: Any) -> Any:
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=device)


def waited(task: Any) -> None:
    """Wait for a task. (The library's own waiter fails on tasks of methods that it does not know.)"""
    while (state := task.info.state) in {"running", "queued"}:
        time.sleep(0.01)
    if state == "error":
        raise task.info.error
