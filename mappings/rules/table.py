"""All rules that one machine is held against. What is between machines is in `between`."""

from __future__ import annotations

from kubeferry.model import Concern
from mappings.rules.devices import RULES as DEVICE_RULES
from mappings.rules.disks import RULES as DISK_RULES
from mappings.rules.downtime import RULES as DOWNTIME_RULES
from mappings.rules.ec2 import RULES as EC2_RULES
from mappings.rules.hardware import RULES as PLATFORM_RULES
from mappings.rules.instancetypes import RULES as TYPE_RULES
from mappings.rules.libvirt import RULES as LIBVIRT_RULES
from mappings.rules.machine import RULES as MACHINE_RULES
from mappings.rules.ovf import RULES as OVA_RULES
from mappings.rules.proof import RULES as PROOF_RULES
from mappings.rules.proxmox import RULES as PROXMOX_RULES
from mappings.rules.rule import Case, apply_rules
from mappings.rules.storage import RULES as STORAGE_RULES
from mappings.rules.system import RULES as SYSTEM_RULES
from mappings.rules.traffic import RULES as TRAFFIC_RULES
from mappings.rules.vmx import RULES as VMX_RULES
from mappings.rules.vsphere import RULES as VMWARE_RULES

RULES = (
    *MACHINE_RULES,
    *PLATFORM_RULES,
    *TYPE_RULES,
    *DISK_RULES,
    *STORAGE_RULES,
    *DEVICE_RULES,
    *SYSTEM_RULES,
    *TRAFFIC_RULES,
    *LIBVIRT_RULES,
    *EC2_RULES,
    *OVA_RULES,
    *VMX_RULES,
    *PROXMOX_RULES,
    *VMWARE_RULES,
    *PROOF_RULES,
    *DOWNTIME_RULES,
)


def concerns_of(case: Case) -> tuple[Concern, ...]:
    """The machine's concerns, the gravest first."""
    return apply_rules(RULES, case)
