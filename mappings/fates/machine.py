"""What becomes of the machine as a whole: power, firmware, what it boots from; and of what nobody has a word for."""

from __future__ import annotations

from kubeferry.model import UP, Fate
from mappings.choices import own_power
from mappings.devices import is_address
from mappings.disks import boot_orders_told
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict, equal
from mappings.fates.kinds import kept
from mappings.firmware import ARCHITECTURES, carries
from mappings.names import dns_labels
from mappings.provenance import is_of_the_place

# Run strategies that start a machine without being asked.
STARTING = {"Always", "RerunOnFailure"}


def name(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "metadata.name"
    found = mapping.find(place)
    if equal(leaf.value, found):
        return Fate.CARRIED, place, ""
    legal = dns_labels([leaf.value])[leaf.value]
    why = "the source's is no legal Kubernetes name" if found == legal else "by the policy, or since two would be one"
    return Fate.CHANGED, place, f"now {found}: {why}"


def power(mapping: Mapping, leaf: Leaf) -> Verdict:
    strategy = mapping.choices.run_strategy
    starts = strategy in STARTING
    if (leaf.value in UP) == starts:
        return Fate.CARRIED, "spec.runStrategy", ""
    if (own_power(mapping.machine) in UP) == starts:
        return Fate.CHANGED, "spec.runStrategy", f"{strategy}, as before kubeferry stopped it"
    return Fate.CHANGED, "spec.runStrategy", f"{strategy} from its commit on, as the policy says"


def autostart(mapping: Mapping, leaf: Leaf) -> Verdict:
    starts = mapping.choices.run_strategy in STARTING
    if starts == leaf.value:
        return Fate.CARRIED, "spec.runStrategy", ""
    return Fate.CHANGED, "spec.runStrategy", f"{mapping.choices.run_strategy}, its run strategy, decides there"


def machine_type(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.machine.type"
    if leaf.value == mapping.find(place):
        return Fate.CARRIED, place, ""
    if "q35" in leaf.value:
        return Fate.CHANGED, place, "now q35: the newest version that the cluster has"
    return Fate.CHANGED, place, "now q35: KubeVirt has no other; PCI addresses change"


def architecture(mapping: Mapping, leaf: Leaf) -> Verdict:
    found = mapping.find("architecture")
    if leaf.value in {"x86_64", "amd64"}:
        return Fate.CARRIED, "architecture", ""
    if leaf.value in ARCHITECTURES:
        return Fate.CHANGED, "architecture", f"now {found}, which runs what a 32-bit PC runs"
    return Fate.CHANGED, "architecture", f"now {found}: kubeferry maps x86_64 machines only"


def firmware(mapping: Mapping, leaf: Leaf) -> Verdict:
    wanted = {"bios": "bios", "uefi": "efi"}[leaf.value]
    found = next(iter(mapping.find("domain.firmware.bootloader")))
    place = f"domain.firmware.bootloader.{found}"
    return (Fate.CARRIED, place, "") if wanted == found else (Fate.CHANGED, place, "the policy names this firmware")


def variables(mapping: Mapping, _leaf: Leaf) -> Verdict:
    place = "domain.firmware.bootloader.efi.persistent"
    if not mapping.find(place):
        return Fate.LOST, "", "UEFI variables start empty: boot entries and own keys are not carried"
    if carries(mapping.machine, mapping.choices):
        return Fate.CARRIED, place, ""
    return Fate.CHANGED, place, "kept from now on; boot entries and own keys are not carried"


def secure_boot(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.firmware.bootloader.efi.secureBoot"
    if mapping.find(place) is not None:
        return kept(place, changed="the firmware was changed")(mapping, leaf)
    if leaf.value:
        return Fate.LOST, "", "a BIOS machine has no secure boot"
    return Fate.CARRIED, "", "a BIOS machine has no secure boot"


def boot_classes(mapping: Mapping, _leaf: Leaf) -> Verdict:
    if boot_orders_told(mapping.machine):
        return Fate.NOT_NEEDED, "", "single devices have a boot order, which counts instead"
    return Fate.CHANGED, "domain.devices", "now a bootOrder at each device that is tried"


def boot_order(path: str) -> Rule:
    gone = "the device is not there any more"
    anew = kept(f"{path}.bootOrder", changed="numbered anew, in the same order", lost=gone)
    wished = kept(f"{path}.bootOrder", changed="the policy puts disks in order", lost=gone)
    return lambda mapping, leaf: (wished if mapping.choices.boot_orders else anew)(mapping, leaf)


def unmodelled(_mapping: Mapping, leaf: Leaf) -> Verdict:
    if is_address(leaf.value):
        return Fate.CHANGED, "", "KubeVirt gives devices new places on their buses"
    if is_of_the_place(leaf.value):
        return Fate.NOT_NEEDED, "", "it tells of the source alone"
    return Fate.LOST, "", "kubeferry has no word for it"
