"""Settings of a virtual system that are off, or as they are unless somebody changes them: no loss when nobody carries
them. What has another value than these stays a fact. Facts of VMware's products (vim.vm.ConfigSpec and what ovftool
writes of it) and of oVirt's (OvfWriter).
"""

from __future__ import annotations

from kubeferry.sources.facts.xml_tree import Node, walk

_OFF = frozenset({"false", "0"})
_ON = frozenset({"true", "1"})
_ANY: frozenset[str] = frozenset()
_POWER = frozenset({"soft", "hard", "preset"})
# Values in small letters; `_ANY` for those of which nothing that a guest knows depends.
_VMWARE: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "cpuHotAddEnabled", "cpuHotRemoveEnabled", "memoryHotAddEnabled", "nestedHVEnabled", "vPMCEnabled",
            "virtualICH7MPresent", "virtualSMCPresent", "flags.vbsEnabled", "flags.vvtdEnabled", "sevEnabled",
            "pmemFailoverEnabled", "fixedPassthruHotPlugEnabled", "metroFtEnabled", "vmOpNotificationToAppEnabled",
            "memoryReservationLockedToMax", "changeTrackingEnabled", "messageBusTunnelEnabled",
            "bootOptions.enterBIOSSetup", "bootOptions.bootRetryEnabled", "bootOptions.efiSecureBootEnabled",
            "uefi.secureBoot.enabled", "uefi.secureBoot", "tools.syncTimeWithHost", "backing.writeThrough",
            "use3D", "enable3DSupport", "connectable.migrateConnect", "allowUnrestrictedCommunication",
            "filterEnable", "yieldOnPoll", "flags.faultToleranceType", "bootOptions.bootDelay",
            "tools.beforeGuestReboot", "tdxEnabled", "autoConnectDevices", "guestIntegrityInfo.enabled", "vcpu.hotadd",
            "mem.hotadd",
        ),
        _OFF,
    ),
    **dict.fromkeys(
        (
            "connectable.allowGuestControl", "connectable.startConnected", "wakeOnLanEnabled", "tools.afterPowerOn",
            "tools.afterResume", "tools.beforeGuestShutdown", "tools.beforeGuestStandby",
            "tools.syncTimeWithHostAllowed", "autoConnectDevice", "ehciEnabled", "flags.enableLogging",
        ),
        _ON,
    ),
    # What only the hypervisor that the machine leaves knows: its pictures of memory, places, paths to the host.
    **dict.fromkeys(
        (
            "slotInfo.pciSlotNumber", "uptCompatibilityEnabled", "uptv2Enabled", "connectable.status", "useAutoDetect",
            "videoRamSizeInKB", "graphicsMemorySizeInKB", "use3dRenderer", "numDisplays", "flags.monitorType",
            "flags.snapshotLocked", "flags.snapshotPowerOffBehavior", "flags.virtualExecUsage", "flags.virtualMmuUsage",
            "flags.useToe", "flags.disableAcceleration", "flags.runWithDebugInfo", "flags.recordReplayEnabled",
            "tools.toolsUpgradePolicy", "tools.toolsInstallType", "cpuAllocation.shares.shares",
            "memoryAllocation.shares.shares",  # a number that its level says, or another fact
        ),
        _ANY,
    ),
    "powerOpInfo.powerOffType": _POWER,
    "powerOpInfo.resetType": _POWER,
    "powerOpInfo.suspendType": _POWER,
    "powerOpInfo.standbyAction": frozenset({"checkpoint", "poweronsuspend"}),
    "bootOptions.bootRetryDelay": frozenset({"10000"}),
    "bootOptions.networkBootProtocol": frozenset({"ipv4"}),
    "cpuAllocation.shares.level": frozenset({"normal"}),
    "memoryAllocation.shares.level": frozenset({"normal"}),
    "motherboardLayout": frozenset({"i440bxhostbridge"}),
    "simultaneousThreads": frozenset({"1"}),
    "numaInfo.autoCoresPerNumaNode": _ON,
    "virtualNuma.coresPerNumaNode": frozenset({"0"}),
}  # fmt: skip
# Headings and notes of oVirt's, which its forms leave empty.
_NOTES = {"Comment", "Description", "CustomEmulatedMachine", "CustomCpuName", "CustomProperties", "QuotaId", "VmInit",
          "PredefinedProperties", "UserDefinedProperties", "CustomBiosType"}  # fmt: skip
_ATTRIBUTES: dict[str, dict[str, frozenset[str]]] = {
    "Disk": {
        "volume-type": _ANY,
        "disk-alias": _ANY,
        "disk-description": _ANY,
        "description": _ANY,
        "vm_snapshot_id": _ANY,
        "size": _ANY,
        "actual_size": _ANY,
        "disk-type": frozenset({"system", "data"}),
        "pass-discard": _OFF,
        "wipe-after-delete": _OFF,
        "plugged": _ON,
        "disk_storage_type": frozenset({"image"}),
        "cinder_volume_type": frozenset({""}),
    },
    "File": {
        "description": _ANY,
        "disk_storage_type": frozenset({"image"}),
        "cinder_volume_type": frozenset({""}),
    },
}
_NO_ID = frozenset({"00000000-0000-0000-0000-000000000000"})
_OVIRT: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "IsReadOnly", "IsSmartcardEnabled", "IsStateless", "StartPaused", "IsRunAndPause", "BootMenuEnabled",
            "IsBootMenuEnabled", "IsSpiceFileTransferEnabled", "UseHostCpu", "BootOrder", "AutoStartup", "Priority",
            "MigrationDowntime", "DeleteProtected", "DedicatedVmForVds", "DisksWipeAfterDelete", "FailBack",
            "TrustedService", "UseNumaNodes", "ImportedFromUnregistered", "VmInit", "SinglePciQxl",
            "rasd:SinglePciQxl", "TunnelMigration",
        ),
        _OFF,
    ),
    **dict.fromkeys(
        ("IsPlugged", "IsSpiceCopyPasteEnabled", "AllowConsoleReconnect", "UseLatestVersion"), _ON
    ),
    **dict.fromkeys(
        (
            "CreationDate", "ExportDate", "Alias", "Generation", "OriginalTemplateId", "OriginalTemplateName",
            "TemplateName", "ClusterCompatibilityVersion", "VmType", "ResumeBehavior", "Origin", "CreatedByUserId",
            "DefaultDisplayType", "MinAllocatedMem", "app_list", "OsId", "TemplateType", "BaseTemplateId",
            "ClusterName", "rasd:StorageId", "rasd:StoragePoolId", "rasd:CreationDate",
            "rasd:LastModified", "rasd:last_modified_date", "rasd:ApplicationList", "rasd:Name", "rasd:speed",
            "rasd:Template",
        ),
        _ANY,
    ),
    "TemplateId": _NO_ID,
    "rasd:Parent": _NO_ID,
    "rasd:Reservation": frozenset({"0"}),
    "rasd:UsbPolicy": frozenset({"disabled"}),
    "QuotaId": _NO_ID,
}  # fmt: skip


def pass_over(system: Node) -> None:
    """Count what is usual as read. What else stands at such a setting stays a fact."""
    for _, node in walk(system):
        if node.tag in {"vmw:Config", "vmw:ExtraConfig"}:
            if _is_usual(_VMWARE, node.label, node.peek(".@vmw:value")):
                node.skip(".@vmw:value", ".@required")
        elif not node.children and _is_usual(_OVIRT, node.tag, node.peek(".")):
            node.value(".")
        elif not node.children and node.tag in _NOTES and node.peek(".") is None:
            node.seen.add("")
        told = _ATTRIBUTES.get(node.tag, {})
        for name in told.keys() & node.attributes.keys():
            if _is_usual(told, name, node.attributes[name]):
                node.seen.add(f"@{name}")


def _is_usual(table: dict[str, frozenset[str]], name: str, value: str | None) -> bool:
    values = table.get(name)
    return values is not None and value is not None and (not values or value.lower() in values)
