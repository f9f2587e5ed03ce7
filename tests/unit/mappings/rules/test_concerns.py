"""Each rule is raised by its cause, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry import marks
from kubeferry.documents import (
    AppPolicy,
    AppRehearsal,
    ClaimSet,
    DiskChoice,
    DiskMatch,
    DowntimePolicy,
    MachinePolicy,
    NetworkMap,
    Offer,
    OfferedPreference,
    OfferedType,
    Placement,
    Platform,
    Policy,
    Probe,
    RehearsalPolicy,
    StateOffer,
    StopPolicy,
    StorageClass,
    StoragePolicy,
    TrafficPolicy,
    TypeRef,
)
from kubeferry.model import (
    ChainLink,
    Clock,
    Concern,
    Cpu,
    CpuFeature,
    Device,
    Disk,
    Firmware,
    Guest,
    Machine,
    Memory,
    Nic,
    NumaCell,
    Power,
    Severity,
    SourceFact,
    Timer,
    Tpm,
    TrafficFilter,
    TrafficRule,
    Watchdog,
)
from mappings.machine import to_manifests
from mappings.names import machine_names
from mappings.rules.rule import is_blocked
from mappings.rules.table import RULES

Build = Callable[..., Machine]
GIB = 1 << 30
WHEN = "2026-01-01T00:00:00Z"
MARK = marks.StopMark(marks.short("4c1f"), Power.RUNNING, WHEN, "0" * 64, WHEN, "", "wave 1")
CPU = {"vcpus": 2, "mode": "host-model"}
NIC = {"id": "net0", "network_kind": "network", "network": "default", "model": "virtio", "mac": "52:54:00:00:00:01"}
DISK = {
    "id": "vda",
    "bus": "virtio",
    "uri": "file:///a.img",
    "format": "raw",
    "chain": (),
    "capacity_bytes": GIB,
}


def vsphere(**facts: str) -> dict[str, Any]:
    """A machine of vSphere, where Tools run unless the facts say otherwise."""
    told = {"tools/status": "guestToolsRunning"} | facts
    around = {path: value for path, value in told.items() if path.startswith(("tools/", "guest/", "cluster/d"))}
    left = tuple(SourceFact(path=path, value=value) for path, value in told.items() if path not in around)
    return {"metadata": around, "unmodelled": left}


def disks(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"disks": tuple(Disk(**(DISK | {"id": f"d{n}"} | change)) for n, change in enumerate(changes))}


def nics(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"nics": tuple(Nic(**(NIC | {"id": f"n{n}"} | change)) for n, change in enumerate(changes))}


GUARDING = Policy(network=TrafficPolicy(policies="from-source"))


def filtered(*rules: TrafficRule) -> dict[str, Any]:
    """A card in one security group with these lines."""
    return nics({"filters": (TrafficFilter(name="sg-1", kind="security-group", rules=rules),)})


def of_proxmox(path: str, value: str) -> dict[str, Any]:
    """A machine of Proxmox, of which something is told."""
    return disks({"source_kind": "proxmox"}) | {"unmodelled": (SourceFact(path=path, value=value),)}


def stored(**storage: Any) -> Policy:
    return Policy(storage=StoragePolicy(**storage))


def policy(**own: Any) -> Policy:
    return Policy(machines={"web": MachinePolicy(**own)})


def instance(path: str = "", value: str = "", **changes: Any) -> dict[str, Any]:
    """An instance of EC2, of which something is told."""
    told = (SourceFact(path=f"ec2/{path}", value=value),) if path else ()
    usual = SourceFact(path="ec2/RootDeviceType", value="ebs")
    return {"id": "i-0123456789abcdef0", "unmodelled": (usual, *told)} | changes


# For each rule the least that raises it: what is different from the machine that is all known.
RAISED_BY: dict[str, tuple[dict[str, Any], Policy]] = {
    "ec2.paravirtual": (instance("VirtualizationType", "paravirtual"), Policy()),
    "ec2.instance-store": (instance("instanceStore", "75 GB on 1 disks"), Policy()),
    "ec2.autoscaling": (instance(metadata={"aws:autoscaling:groupName": "web"}), Policy()),
    "ec2.managed": (instance("Operator/Managed", "yes"), Policy()),
    "ec2.bare-metal": (instance("bareMetal", "m5.metal"), Policy()),
    "ec2.edge": (instance("edge", "the Local Zone us-west-2-lax-1a"), Policy()),
    "ec2.elsewhere": (instance("volume[vda]/elsewhere", "attached to nothing"), Policy()),
    "ec2.fabric": (instance(devices=(Device(kind="fabric", model="efa-only"),)), Policy()),
    "ec2.interface-kind": (instance("interface[net0]/InterfaceType", "trunk"), Policy()),
    "ec2.metadata": (instance("metadataService", "IMDSv2 only"), Policy()),
    "ec2.disk-bus": (instance(**disks({"bus": "nvme"})), Policy()),
    "ec2.hibernation": (instance("HibernationOptions/Configured", "yes"), Policy()),
    "ec2.spot": (instance("InstanceLifecycle", "spot"), Policy()),
    "ec2.cloud-init": (instance(), Policy()),
    "ec2.device-names": (instance(), Policy()),
    "ec2.network-names": (instance(), Policy()),
    "ec2.addresses": (instance("interface[eni-1]/addresses", "10.0.0.1"), Policy()),
    "ec2.role-lost": (instance("IamInstanceProfile/Arn", "arn:aws:iam::1:instance-profile/web"), Policy()),
    "ec2.user-data": (instance("userData", "yes"), Policy()),
    "ec2.agents": (instance(), Policy()),
    "ec2.licence": (instance("PlatformDetails", "Windows"), Policy()),
    "ec2.marketplace": (instance("ProductCodes/ProductCodeId", "abc"), Policy()),
    "ec2.encrypted": (instance("volume[vda]/KmsKeyId", "arn:aws:kms:x"), Policy()),
    "ec2.enclave": (instance("EnclaveOptions/Enabled", "yes"), Policy()),
    "ec2.uuid-new": (instance(), Policy()),
    "ec2.cost": (instance(), Policy()),
    "disk.left-out": (disks({}, {}) | {"left_out": ("d1",)}, Policy()),
    "disk.boot-left-out": (disks({}, {}) | {"left_out": ("d0",)}, Policy()),
    "disk.boot-changed": (disks({}, {}), policy(disks=(DiskChoice(match=DiskMatch(id="d1"), boot_order=1),))),
    "instancetype.missing": ({}, policy(instancetype=TypeRef(name="gone"))),
    "preference.missing": ({}, policy(preference=TypeRef(name="gone"))),
    "preference.unmet": ({}, policy(preference=TypeRef(name="windows"))),
    "instancetype.expanded": ({}, policy(preference=TypeRef(name="fedora"))),
    "instancetype.contradicted": (
        {},
        policy(instancetype=TypeRef(name="u1.small"), placement=Placement(requests={"cpu": "1"})),
    ),
    "instancetype.smaller": ({}, policy(instancetype=TypeRef(name="u1.small"))),
    "instancetype.unknown": ({}, policy(instancetype=TypeRef(name="u1.small"))),
    "instancetype.given": ({}, policy(instancetype=TypeRef(name="u1.small"))),
    "preference.fills": ({}, policy(preference=TypeRef(name="fedora"))),
    "probe.none": ({}, policy(probes=())),
    "downtime.over-budget": (
        disks({"capacity_bytes": 600 * GIB, "allocated_bytes": 600 * GIB}),
        policy(downtime=DowntimePolicy(budget_seconds=600)),
    ),
    "rehearsal.never": ({}, policy(rehearsal=RehearsalPolicy(required=True))),
    "rehearsal.alone": (
        {},
        policy(mode="warm", app="shop").model_copy(
            update={"apps": {"shop": AppPolicy(rehearsal=AppRehearsal(together=True))}}
        ),
    ),
    "rehearsal.unseen": (
        {},
        policy(
            mode="warm",
            probes=(Probe(kind="counter", path="/boots"),),
            stop=StopPolicy(last_words=("/boots",)),
            rehearsal=RehearsalPolicy(required=True),
        ),
    ),
    "probe.counter-unheard": ({}, policy(probes=(Probe(kind="counter", path="/data/boots"),))),
    "probe.no-screen": ({"headless": True}, policy(probes=(Probe(kind="screen"),))),
    "probe.no-card": ({"nics": ()}, policy(probes=(Probe(kind="packets"),))),
    "probe.packets-unseen": ({}, policy(probes=(Probe(kind="packets"),))),
    "arch.unsupported": ({"arch": "aarch64"}, Policy()),
    "boot.direct-kernel": ({"unmodelled": (SourceFact(path="os/kernel", value="/boot/vmlinuz"),)}, Policy()),
    "memory.encryption-lost": ({"unmodelled": (SourceFact(path="launchSecurity", value="type=sev"),)}, Policy()),
    "arch.unknown": ({"arch": None}, Policy()),
    "memory.unknown": ({"memory": Memory(size_bytes=0)}, Policy()),
    "firmware.unknown": ({"firmware": Firmware()}, Policy()),
    "clock.timezone-invalid": ({}, policy(timezone="middle of nowhere")),
    "machine.paused": ({"power": "paused"}, Policy()),
    "machine.crashed": ({"power": "crashed"}, Policy()),
    "machine.moved": ({"metadata": {marks.MOVED: marks.moved_line("apps/web", "wave 1", MARK.at)}}, Policy()),
    "machine.stopped-by-move": ({"power": "off", "metadata": {marks.KEY: marks.written(MARK)}}, Policy()),
    "machine.power-unknown": ({"power": "unknown"}, Policy()),
    "machine.type-changed": ({"machine_type": "pc-i440fx-7.2"}, Policy()),
    "machine.version-changed": ({"machine_type": "pc-q35-7.2"}, Policy()),
    "name.changed": ({"name": "Web"}, Policy()),
    "uuid.unknown": ({"uuid": "not one"}, Policy()),
    "smbios.serial-illegal": ({"smbios_serial": "a b"}, Policy()),
    "autostart.changed": ({"autostart": True}, Policy()),
    "disk.sectors-lost": ({"disks": (Disk(**DISK, logical_block_bytes=4096),)}, policy(disk_bus="sata")),
    "guest.virtio-unknown": ({"machine_type": "pc-i440fx-7.2", "guest": Guest(agent_channel=True)}, Policy()),
    "guest.virtio-transitional": ({"guest": Guest(os_id="rhel6_64Guest", agent_channel=True)}, Policy()),
    "nic.no-migration": (
        {},
        Policy(networks=(NetworkMap(binding="bridge"),), eviction_strategy="LiveMigrate"),
    ),
    "nic.name-changed": ({"machine_type": "pc-i440fx-7.2"}, Policy()),
    "windows.cards": ({"guest": Guest(os_id="http://microsoft.com/win/2k19", agent_channel=True)}, Policy()),
    "windows.platform": (
        {"guest": Guest(os_id="windows2019srv_64Guest"), "features": {}, "hyperv": {}, "devices": ()},
        Policy(),
    ),
    "windows.clock": ({"guest": Guest(os_id="windows2019srv_64Guest"), "clock": Clock()}, Policy()),
    "snapshot.present": ({"snapshots": 2}, Policy()),
    "snapshot.unknown": ({"snapshots": None}, Policy()),
    "firmware.changed": ({}, policy(firmware="uefi")),
    "firmware.nvram-lost": ({"firmware": Firmware(kind="uefi", secure_boot=False)}, Policy()),
    "firmware.secure-boot-unknown": ({"firmware": Firmware(kind="uefi")}, Policy()),
    "firmware.secure-boot": ({"firmware": Firmware(kind="uefi", secure_boot=True)}, Policy()),
    "firmware.boot-menu": ({"firmware": Firmware(kind="bios", boot_menu=True)}, Policy()),
    "cpu.model-changed": ({"cpu": Cpu(vcpus=1, mode="custom", model="qemu64")}, Policy()),
    "cpu.mode-changed": ({"cpu": Cpu(vcpus=1, mode="maximum")}, Policy()),
    "cpu.model-named": ({"cpu": Cpu(vcpus=1, mode="custom", model="Haswell-noTSX")}, Policy()),
    "cpu.host-passthrough": ({"cpu": Cpu(vcpus=1, mode="host-passthrough")}, Policy()),
    "cpu.features-required": ({"cpu": Cpu(**CPU, features=(CpuFeature(name="pcid", policy="require"),))}, Policy()),
    "cpu.feature-policy": ({"cpu": Cpu(**CPU, features=(CpuFeature(name="pcid", policy="perhaps"),))}, Policy()),
    "cpu.topology-changed": ({"cpu": Cpu(**CPU | {"vcpus": 3}, max_vcpus=4, sockets=1, cores=2, threads=2)}, Policy()),
    "cpu.pinning": ({"cpu": Cpu(**CPU, pinning=((0, "1"),))}, Policy()),
    "cpu.numa": ({"cpu": Cpu(**CPU, numa=(NumaCell(cell=0, cpus="0"), NumaCell(cell=1, cpus="1")))}, Policy()),
    "cpu.nested": ({"cpu": Cpu(**CPU, nested=True)}, Policy()),
    "memory.hotplug-lost": ({"memory": Memory(size_bytes=GIB // 2, max_bytes=GIB)}, Policy()),
    "memory.hugepages": ({"memory": Memory(size_bytes=GIB, hugepage_bytes=GIB)}, Policy()),
    "memory.locked": ({"memory": Memory(size_bytes=GIB, locked=True)}, Policy()),
    "clock.offset": ({"clock": Clock(offset="localtime")}, Policy()),
    "clock.timers": ({"clock": Clock(offset="utc", timers=(Timer(name="tsc"),))}, Policy()),
    "hyperv.lost": ({"hyperv": {"avic": "on"}}, Policy()),
    "guest.no-agent": ({"guest": Guest(os_id="x", agent_channel=False)}, Policy()),
    "guest.agent-unknown": ({"guest": Guest(os_id="x")}, Policy()),
    "guest.agent-silent": (
        {"guest": Guest(os_id="x", agent_channel=True, agent_answers=False), "power": "running"},
        Policy(),
    ),
    "guest.os-unknown": ({"guest": Guest(agent_channel=True)}, Policy()),
    "disk.none": ({"disks": ()}, Policy()),
    "device.addresses": (
        {"unmodelled": (SourceFact(path="devices/disk[vda]/address", value="pci 0000:04:00.0"),)},
        Policy(),
    ),
    "unmodelled": ({"unmodelled": (SourceFact(path="/domain/x", value="y"),)}, Policy()),
    "disk.source-missing": (disks({"uri": None}), Policy()),
    "probe.agent-unsure": ({"guest": Guest(os_id="x")}, Policy()),
    "disk.untold": (disks({"uri": None, "source_kind": "unknown", "capacity_bytes": None}), Policy()),
    "disk.size-unknown": (disks({"capacity_bytes": None}), Policy()),
    "disk.format-unknown": (disks({"format": None}), Policy()),
    "disk.encrypted": (disks({"encrypted": True}), Policy()),
    "disk.too-many": (disks(*[{}] * 257), Policy()),
    "disk.shared": (disks({"shareable": True}), Policy()),
    "disk.twice": (disks({"uri": "file:///a.img"}, {"uri": "file:///a.img"}), Policy()),
    "disk.chain-unknown": (disks({"format": "qcow2", "chain": None}), Policy()),
    "disk.bus-changed": (disks({"bus": "ide"}), Policy()),
    "disk.readonly-sata": (disks({"bus": "sata", "readonly": True}), Policy()),
    "disk.transient": (disks({"transient": True}), Policy()),
    "disk.lun": (disks({"device": "lun"}), Policy()),
    "disk.serial-illegal": (disks({"serial": "a b"}), Policy()),
    "disk.wwn-lost": (disks({"wwn": "5000c50015ea71ad"}), Policy()),
    "disk.cache-changed": (disks({"cache": "unsafe"}), Policy()),
    "disk.throttled": (disks({"throttled": True}), Policy()),
    "disk.many": (disks(*[{}] * 166), Policy()),
    "disk.boot-unclear": ({"firmware": Firmware(kind="bios")} | disks({}, {}), Policy()),
    "cdrom.medium": (disks({}, {"device": "cdrom", "bus": "sata"}), Policy()),
    "floppy.lost": (disks({}, {"device": "floppy", "bus": "fdc"}), Policy()),
    "ova.format-unread": (disks({"uri": "raw+file:///a.ova?part=0,1,,", "format": "vhdx"}), Policy()),
    "ova.header": ({"unmodelled": (SourceFact(path="header[d1]", value="it is cut off"),)}, Policy()),
    "ova.capacity": ({"unmodelled": (SourceFact(path="capacity[d1]", value="2 bytes, and 1"),)}, Policy()),
    "ova.manifest": ({"unmodelled": (SourceFact(path="manifest[1]", value="line 3: 'x'"),)}, Policy()),
    "ova.empty-disk": (disks({"uri": "zero:512", "format": "raw"}), Policy()),
    "ova.hot-plug": (
        {
            "unmodelled": (
                SourceFact(path="VirtualHardwareSection/vmw:Config[cpuHotAddEnabled]", value="vmw:value=true"),
            )
        },
        Policy(),
    ),
    "ova.original": (disks({"uri": "vmdk+file:///a.ova?part=0,1,,"}), Policy()),
    "ova.no-digest": (disks({"uri": "vmdk+file:///a.ova?part=0,1,,"}), Policy()),
    "ova.required": ({"unmodelled": (SourceFact(path="acme:Section", value="a=1 required=true"),)}, Policy()),
    "ova.environment": (
        {"unmodelled": (SourceFact(path="VirtualHardwareSection", value="transport=iso"),)},
        Policy(),
    ),
    "ova.start-order": (
        {"unmodelled": (SourceFact(path="VirtualSystemCollection/StartupSection/Item[1]", value="order=1"),)},
        Policy(),
    ),
    "ova.options": (
        {"unmodelled": (SourceFact(path="DeploymentOptionSection/Configuration[1]/Label", value="small"),)},
        Policy(),
    ),
    "ova.signature": ({"unmodelled": (SourceFact(path="certificate", value="web.cert: not checked"),)}, Policy()),
    "vmx.suspended": ({"unmodelled": (SourceFact(path="checkpoint.vmState", value="web.vmss"),)}, Policy()),
    "vmx.in-use": ({"unmodelled": (SourceFact(path="inUse[1]", value="web.vmx.lck"),)}, Policy()),
    "vmx.delta": (
        disks(
            {
                "uri": "vmdk+file:///web-000001.vmdk?part=0,1,,",
                "format": "vmdk",
                "chain": (ChainLink(uri="file:web.vmdk", format="vmdk"),),
            }
        ),
        Policy(),
    ),
    "file.line": ({"unmodelled": (SourceFact(path="line[7]", value="x"),)}, Policy()),
    "machine.template": ({"unmodelled": (SourceFact(path="template", value="yes"),)}, Policy()),
    "proxmox.unread": (disks({"uri": "proxmox:lvm:vm-100-disk-0", "source_kind": "proxmox"}), Policy()),
    "proxmox.pending": (of_proxmox("pending", "memory"), Policy()),
    "proxmox.locked": (of_proxmox("lock", "backup"), Policy()),
    "proxmox.unused": (of_proxmox("unused0", "lvm:vm-100-disk-9"), Policy()),
    "storage.class-default": ({}, Policy()),
    "disk.may-grow": ({}, Policy()),
    "eviction.blocked": ({}, Policy(eviction_strategy="LiveMigrate")),
    "storage.class-missing": ({}, stored(storage_class="gold")),
    "storage.class-open": ({}, Policy()),
    "storage.modes-unknown": ({}, stored(storage_class="bare")),
    "storage.modes-unusual": ({}, stored(storage_class="fast", access_mode="ReadWriteOnce", volume_mode="Block")),
    "storage.minimum": (disks({"capacity_bytes": GIB - 1}), stored(storage_class="fast")),
    "storage.one-node": ({}, stored(storage_class="fast", access_mode="ReadWriteOnce")),
    "nic.unmapped": ({}, Policy(networks=())),
    "nic.second-pod": (nics({}, {"mac": "52:54:00:00:00:02"}), Policy()),
    "nic.hostdev": (nics({"network_kind": "hostdev"}), Policy()),
    "host-device": ({"devices": (Device(kind="hostdev", model="pci"),)}, Policy()),
    "host-share": ({"devices": (Device(kind="filesystem", model="virtiofs"),)}, Policy()),
    "tpm.state-lost": ({"tpm": Tpm(model="tpm-crb")}, Policy()),
    "tpm.measured-anew": ({"tpm": Tpm(backend="emulator", version="2.0", state="/tpm2-00.permall")}, Policy()),
    "nic.dropped": ({}, Policy(networks=(NetworkMap(target="drop"),))),
    "nic.address-changed": ({}, Policy()),
    "nic.model-changed": (nics({"model": "vmxnet3"}), Policy()),
    "nic.mac-unknown": (nics({"mac": None}), Policy()),
    "nic.mac-illegal": (nics({"mac": "01:00:5e:00:00:01"}), Policy()),
    "nic.network-unknown": (nics({"network_kind": "unknown"}), Policy()),
    "nic.vlan": (nics({"vlans": (42,)}), Policy()),
    "nic.mtu": (nics({"mtu": 9000}), Policy()),
    "nic.throttled": (nics({"throttled": True}), Policy()),
    "nic.filtered": (nics({"filtered": True}), Policy()),
    "traffic.left": (filtered(TrafficRule(inward=True, beyond="the prefix list pl-1", line="l")), GUARDING),
    "traffic.unreached": (
        filtered(),
        GUARDING.model_copy(update={"networks": (NetworkMap(target="multus", multus_name="a/b"),)}),
    ),
    "traffic.unknown": (nics({"filters": (TrafficFilter(name="sg-1", kind="security-group"),)}), GUARDING),
    "traffic.resolver": (filtered(), GUARDING),
    "traffic.members": (
        nics({"switch": "dvs", "network_key": "dvportgroup-31", "vlans": (30,)}),
        Policy(network=TrafficPolicy(segments=True)),
    ),
    "device.host-bound": ({"devices": (Device(kind="redirdev", model="usb"),)}, Policy()),
    "device.video-changed": ({"devices": (Device(kind="video", model="qxl"),)}, Policy()),
    "device.sound-changed": ({"devices": (Device(kind="sound", model="ich6"),)}, Policy()),
    "device.spice": ({"devices": (Device(kind="graphics", model="spice"),)}, Policy()),
    "vmware.datastore-missing": (vsphere(**{"disk[2000]/datastore": "missing (gold)"}), Policy()),
    "vmware.raw-device": (vsphere(**{"disk[2000]/compatibilityMode": "physicalMode"}), Policy()),
    "vmware.independent-disk": (vsphere(**{"disk[2000]/diskMode": "independent_persistent"}), Policy()),
    "vmware.tracking-off": (vsphere(changeTracking="off"), Policy()),
    "vmware.disk-untracked": (vsphere(**{"disk[2000]/changeTracking": "off"}), Policy()),
    "vmware.consolidation": (vsphere(consolidationNeeded="yes"), Policy()),
    "vmware.fault-tolerance": (vsphere(faultTolerance="enabled"), Policy()),
    "vmware.host-lost": (vsphere(connection="disconnected"), Policy()),
    "vmware.question": (vsphere(question="waits for an answer"), Policy()),
    "vmware.encrypted-home": (vsphere(encryption="its home is encrypted"), Policy()),
    "vmware.managed": (vsphere(managedBy="com.acme (appliance)"), Policy()),
    "vmware.tools-silent": (vsphere(**{"tools/status": "guestToolsNotRunning"}) | {"power": "running"}, Policy()),
    "vmware.tools-only": (vsphere(), Policy()),
    "vmware.hostname": (vsphere() | {"guest": Guest(hostname="localhost.localdomain")}, Policy()),
    "vmware.no-address": (vsphere(), Policy()),
    "vmware.guest-full": (vsphere(**{"guest/freeSpace/boot": "1048576"}), Policy()),
    "vmware.guest-unsupported": (vsphere() | {"guest": Guest(os_id="winNetStandardGuest")}, Policy()),
    "vmware.usb-controller": (vsphere() | {"devices": (Device(kind="controller", model="usb-xhci"),)}, Policy()),
    "vmware.latency": (vsphere(latencySensitivity="high"), Policy()),
    "vmware.resources": (vsphere(**{"cpu/reservation": "2000"}), Policy()),
    "vmware.hot-plug": (vsphere(**{"hotPlug/cpu": "on"}), Policy()),
    "vmware.numa": (vsphere(**{"numa/affinity": "0"}), Policy()),
    "vmware.affinity": (vsphere(**{"cluster/affinity": "apart"}), Policy()),
    "vmware.host-affinity": (vsphere(**{"cluster/hostAffinity": "licensed"}), Policy()),
    "vmware.cluster": (vsphere(**{"cluster/drs": "on"}), Policy()),
    "watchdog.changed": ({"watchdog": Watchdog(model="ib700", action="reset")}, Policy()),
    "nic.failover": (nics({}, {"id": "net1", "teaming": "transient"}), Policy()),
    "machine.container": ({"unmodelled": (SourceFact(path="os/type", value="exe"),)}, Policy()),
    "disk.unreadable": (disks({"source_kind": "network", "uri": "sheepdog://host/image"}), Policy()),
    "disk.chain-broken": (
        disks({"format": "qcow2"}) | {"unmodelled": (SourceFact(path="chain[d0]", value="/a is not there"),)},
        Policy(),
    ),
    "disk.pool-unasked": (disks({"source_kind": "volume", "uri": "volume://default/root"}), Policy()),
    "device.by-arguments": (
        {"unmodelled": (SourceFact(path="qemu:commandline/qemu:arg[1]", value="value=-drive"),)},
        Policy(),
    ),
    "memory.persistent": (
        {"devices": (Device(kind="memory", model="nvdimm", detail={"source.path": "/i/nv.img"}),)},
        Policy(),
    ),
    "acpi.added": ({"features": {"acpi": "off"}}, Policy()),
    "arch.32-bit": ({"arch": "i686"}, Policy()),
    "firmware.32-bit": ({"arch": "i686", "firmware": Firmware(kind="uefi")}, Policy()),
}

# What the target has, where a rule needs to know: a class of which everything is known, and one of which nothing is.
FAST = StorageClass(
    name="fast",
    sets=(
        ClaimSet(access_modes=("ReadWriteMany",), volume_mode="Block"),
        ClaimSet(access_modes=("ReadWriteOnce",), volume_mode="Filesystem"),
    ),
    minimum_bytes=GIB,
)
ASKED = Offer(classes=(FAST, StorageClass(name="bare")))


TYPED = Offer(
    types=(OfferedType(name="u1.small", vcpus=1, memory_bytes=GIB),),
    preferences=(OfferedPreference(name="fedora"), OfferedPreference(name="windows", needs_memory_bytes=4 * GIB)),
    kubevirt=Platform(version="1.9", expands_types=True),
)


def offered(rule: str) -> Offer:
    if rule == "tpm.measured-anew":
        return Offer(state=StateOffer())
    if rule == "probe.packets-unseen":
        return Offer(packets=False)
    if rule == "rehearsal.alone":
        return Offer(together=False)
    if rule.startswith(("instancetype.", "preference.")) and rule != "instancetype.unknown":
        return TYPED
    return ASKED if rule.startswith("storage.") and rule != "storage.class-default" else Offer()


# With these choices the machine that is all known has nothing to say.
QUIET = Policy(
    storage=StoragePolicy(storage_class="fast", volume_mode="Block"),
    networks=(NetworkMap(target="multus", multus_name="lan"),),
)


def concerns(machine: Machine, choices: Policy, offer: Offer = Offer()) -> tuple[Concern, ...]:  # noqa: B008
    return to_manifests(machine, choices, machine_names([machine], choices)[machine.name], offer).concerns


@pytest.mark.parametrize("offer", [Offer(), ASKED], ids=["nobody asked", "target asked"])
def test_a_machine_that_is_all_known_and_fits_raises_nothing(machine: Build, offer: Offer) -> None:
    assert concerns(machine(), QUIET, offer) == ()


def test_each_rule_is_tried_here() -> None:
    assert sorted(RAISED_BY) == sorted(rule.id for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule_is_raised_by_its_cause(machine: Build, rule: Any) -> None:
    changes, choices = RAISED_BY[rule.id]
    raised = [one for one in concerns(machine(**changes), choices, offered(rule.id)) if one.id == rule.id]
    assert len(raised) == 1
    assert raised[0].severity == rule.severity
    assert raised[0].what.endswith(".")
    assert raised[0].fix.startswith(rule.fix)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.acceptable], ids=lambda rule: rule.id)
def test_what_is_accepted_is_information(machine: Build, rule: Any) -> None:
    changes, choices = RAISED_BY[rule.id]
    subject = machine(**changes)
    own = choices.of(subject.name).model_copy(update={"accept": (rule.id,)})
    accepted = choices.model_copy(update={"machines": {subject.name: own}})
    raised = concerns(subject, accepted, offered(rule.id))
    assert {one.severity for one in raised if one.id == rule.id} == {Severity.INFO}


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.acceptable], ids=lambda rule: rule.id)
def test_what_cannot_be_accepted_stays_critical(machine: Build, rule: Any) -> None:
    changes, choices = RAISED_BY[rule.id]
    subject = machine(**changes)
    own = choices.of(subject.name).model_copy(update={"accept": (rule.id,)})
    insisting = choices.model_copy(update={"machines": {subject.name: own}})
    assert is_blocked(concerns(subject, insisting, offered(rule.id)))


def test_the_gravest_come_first(machine: Build) -> None:
    raised = concerns(machine(power="paused", machine_type="pc"), Policy())
    ranks = [list(Severity).index(one.severity) for one in raised]
    assert ranks == sorted(ranks)
    assert ranks[0] == 0


def test_a_firmware_chosen_in_the_policy_settles_that_it_is_unknown(machine: Build) -> None:
    assert not is_blocked(concerns(machine(firmware=Firmware()), policy(firmware="uefi")))
