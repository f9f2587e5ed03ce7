"""The pure parser, word by word: identity, firmware, processors, memory, clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.model import CpuFeature, FirmwareKind, Machine, Power
from kubeferry.sources.libvirt.domain.machine import parse_domain
from kubeferry.sources.libvirt.domain.units import to_bytes

Build = Callable[..., Machine]
Facts = Callable[[Machine], dict[str, str]]

GIB = 1 << 30


# --- identity --------------------------------------------------------------------------------------------------------


def test_what_the_xml_does_not_hold_is_given_or_stays_unknown(machine: Build, xml: Callable[..., str]) -> None:
    plain = machine()
    assert (plain.power, plain.autostart, plain.snapshots) == (Power.UNKNOWN, None, None)
    told = parse_domain(xml(), source="lab", power=Power.RUNNING, autostart=True, snapshots=3)
    assert (told.power, told.autostart, told.snapshots) == (Power.RUNNING, True, 3)


def test_a_domain_without_a_uuid_is_known_by_its_name() -> None:
    found = parse_domain("<domain><name>n</name><memory>1</memory></domain>", source="lab")
    assert (found.id, found.uuid, found.arch) == ("n", None, None)


def test_a_plain_machine_leaves_no_facts(machine: Build) -> None:
    assert machine(devices="").unmodelled == ()


# --- firmware --------------------------------------------------------------------------------------------------------

PFLASH = "<loader readonly='yes' type='pflash'{}>/fw/CODE.fd</loader><nvram>/fw/VARS.fd</nvram>"
FEATURES = "<firmware><feature enabled='{}' name='secure-boot'/><feature enabled='{}' name='enrolled-keys'/></firmware>"


@pytest.mark.parametrize(
    ("attributes", "inside", "arch", "kind", "secure"),
    [
        ("", "", "x86_64", FirmwareKind.BIOS, None),
        ("", "", "i686", FirmwareKind.BIOS, None),
        ("", "", "aarch64", FirmwareKind.UNKNOWN, None),
        ("", "<loader type='rom'>/fw/bios.bin</loader>", "x86_64", FirmwareKind.UNKNOWN, None),
        (" firmware='bios'", "", "x86_64", FirmwareKind.BIOS, None),
        (" firmware='efi'", "", "x86_64", FirmwareKind.UEFI, None),
        ("", PFLASH.format(""), "x86_64", FirmwareKind.UEFI, None),
        ("", PFLASH.format(" secure='yes'"), "x86_64", FirmwareKind.UEFI, True),
        ("", PFLASH.format(" secure='no'"), "x86_64", FirmwareKind.UEFI, False),
        (" firmware='efi'", FEATURES.format("yes", "yes"), "x86_64", FirmwareKind.UEFI, True),
        (" firmware='efi'", FEATURES.format("yes", "no"), "x86_64", FirmwareKind.UEFI, False),
        (" firmware='efi'", FEATURES.format("no", "no"), "x86_64", FirmwareKind.UEFI, False),
        (
            " firmware='efi'",
            FEATURES.format("yes", "no") + "<loader secure='yes'/>",
            "x86_64",
            FirmwareKind.UEFI,
            False,
        ),
    ],
)
def test_firmware(
    machine: Build, attributes: str, inside: str, arch: str, kind: FirmwareKind, secure: bool | None
) -> None:
    found = machine(os=f"<os{attributes}><type arch='{arch}' machine='m'>hvm</type>{inside}</os>").firmware
    assert (found.kind, found.secure_boot) == (kind, secure)


def test_a_firmware_that_is_no_word_of_libvirt_is_unknown_and_told(machine: Build, facts: Facts) -> None:
    found = machine(os="<os firmware='coreboot'><type arch='riscv64'>hvm</type></os>")
    assert found.firmware.kind == FirmwareKind.UNKNOWN
    assert facts(found)["os"] == "firmware=coreboot"


def test_paths_of_the_loader_and_its_variables(machine: Build) -> None:
    found = machine(os=f"<os>{PFLASH.format('')}</os>").firmware
    assert (found.loader, found.nvram) == ("/fw/CODE.fd", "/fw/VARS.fd")
    nested = "<os firmware='efi'><nvram type='file'><source file='/fw/v.qcow2'/></nvram></os>"
    assert machine(os=nested).firmware.nvram == "/fw/v.qcow2"


def test_the_serial_counts_only_where_the_guest_sees_it(machine: Build, facts: Facts) -> None:
    table = "<sysinfo type='smbios'><system><entry name='serial'>S-1</entry></system></sysinfo>"
    seen = machine(table, os="<os><type arch='x86_64'>hvm</type><smbios mode='sysinfo'/></os>")
    hidden = machine(table)
    assert (seen.smbios_serial, hidden.smbios_serial) == ("S-1", None)
    assert facts(hidden)["sysinfo/system/entry"] == "S-1 name=serial"


# --- processors, memory, clock ---------------------------------------------------------------------------------------


def test_processors(machine: Build, facts: Facts) -> None:
    found = machine(
        "<vcpu current='2' cpuset='1-4'>8</vcpu>"
        "<cputune><vcpupin vcpu='0' cpuset='1,^2'/><emulatorpin cpuset='0'/><shares>9</shares></cputune>"
        "<cpu mode='custom'><model>EPYC</model><topology sockets='2' cores='2' threads='2'/>"
        "<feature name='svm'/><feature name='aes' policy='forbid'/>"
        "<numa><cell id='1' cpus='0-3' memory='1' unit='GiB'/><cell cpus='4-7' memory='1024'/></numa></cpu>"
    )
    cpu = found.cpu
    assert (cpu.vcpus, cpu.max_vcpus, cpu.sockets, cpu.cores, cpu.threads) == (2, 8, 2, 2, 2)
    assert (cpu.mode, cpu.model, cpu.nested) == ("custom", "EPYC", True)
    assert cpu.features == (CpuFeature(name="svm", policy="require"), CpuFeature(name="aes", policy="forbid"))
    assert (cpu.pinning, cpu.emulator_pin) == (((0, "1,^2"),), "0")
    assert [(cell.cell, cell.cpus, cell.memory_bytes) for cell in cpu.numa] == [(1, "0-3", GIB), (1, "4-7", 1 << 20)]
    assert facts(found) == {"vcpu": "cpuset=1-4", "cputune/shares": "9"}


def test_one_processor_where_nothing_is_said_and_nested_is_not_known(machine: Build) -> None:
    cpu = machine().cpu
    assert (cpu.vcpus, cpu.max_vcpus, cpu.mode, cpu.nested) == (1, None, None, None)
    assert machine("<cpu><feature name='vmx' policy='disable'/></cpu>").cpu.nested is False


def test_memory_that_the_balloon_holds_back_is_told(machine: Build, facts: Facts) -> None:
    same = machine("<currentMemory unit='MiB'>1024</currentMemory>")
    less = machine("<currentMemory>524288</currentMemory>")
    assert (same.memory.size_bytes, facts(same)) == (GIB, {})
    assert (less.memory.size_bytes, facts(less)) == (GIB, {"currentMemory": "524288"})


def test_memory_backing(machine: Build, facts: Facts) -> None:
    found = machine(
        "<maxMemory slots='4' unit='GiB'>4</maxMemory>"
        "<memoryBacking><hugepages><page size='2' unit='M'/><page size='1' unit='G'/></hugepages><locked/>"
        "<nosharepages/></memoryBacking>"
    )
    memory = found.memory
    assert (memory.max_bytes, memory.hugepage_bytes, memory.locked) == (4 * GIB, 2 << 20, True)
    assert facts(found) == {
        "maxMemory": "slots=4",
        "memoryBacking/hugepages/page[2]": "size=1 unit=G",
        "memoryBacking/nosharepages": "present",
    }


def test_huge_pages_of_a_size_that_is_not_told_are_not_guessed(machine: Build, facts: Facts) -> None:
    found = machine("<memoryBacking><hugepages/></memoryBacking>")
    assert found.memory.hugepage_bytes is None
    assert facts(found) == {"memoryBacking/hugepages": "present"}


@pytest.mark.parametrize(
    ("amount", "unit", "expected"),
    [
        ("1", "b", 1),
        ("7", "bytes", 7),
        ("1", "KB", 1000),
        ("1", "k", 1024),
        ("1", "KiB", 1024),
        ("3", "MB", 3_000_000),
        ("3", "M", 3 << 20),
        ("2", "GB", 2_000_000_000),
        ("2", "gib", 2 << 30),
        ("1", "T", 1 << 40),
        ("1", "PiB", 1 << 50),
        ("1", "E", 1 << 60),
        ("1.5", "GiB", None),
        ("-1", "KiB", None),
        ("1", "furlong", None),
        ("1", "", None),
    ],
)
def test_units_of_libvirt(amount: str, unit: str, expected: int | None) -> None:
    assert to_bytes(amount, unit) == expected


@given(st.integers(0, 1 << 60), st.sampled_from("kmgtpe"))
def test_binary_units_are_longer_by_their_suffix_only(amount: int, prefix: str) -> None:
    assert to_bytes(str(amount), prefix) == to_bytes(str(amount), f"{prefix.upper()}iB")


def test_the_clock(machine: Build, facts: Facts) -> None:
    found = machine(
        "<clock offset='timezone' timezone='Europe/Berlin'><timer name='hpet' present='no'/>"
        "<timer name='rtc' tickpolicy='catchup' track='wall'><catchup slew='120'/></timer></clock>"
    )
    assert (found.clock.offset, found.clock.timezone) == ("timezone", "Europe/Berlin")
    assert [(one.name, one.present, one.tickpolicy, one.track) for one in found.clock.timers] == [
        ("hpet", False, None, None),
        ("rtc", None, "catchup", "wall"),
    ]
    assert facts(found) == {"clock/timer[2]/catchup": "slew=120"}


def test_a_clock_that_is_not_told_or_not_known_is_unknown(machine: Build, facts: Facts) -> None:
    assert machine().clock.offset == "unknown"
    found = machine("<clock offset='absolute' start='5'/>")
    assert (found.clock.offset, facts(found)) == ("unknown", {"clock": "offset=absolute start=5"})


def test_features_and_enlightenments(machine: Build, facts: Facts) -> None:
    found = machine(
        "<features><acpi/><apic eoi='on'/><smm state='on'><tseg unit='MiB'>48</tseg></smm>"
        "<kvm><hidden state='on'/></kvm><gic version='3'/>"
        "<hyperv mode='custom'><relaxed state='off'/><spinlocks state='on' retries='8191'/>"
        "<stimer state='on'><direct state='on'/></stimer></hyperv></features>"
    )
    assert found.features == {
        "acpi": "on",
        "apic": "on eoi=on",
        "smm": "on",
        "smm.tseg": "48 unit=MiB",
        "kvm.hidden": "on",
        "gic": "on version=3",
    }
    assert found.hyperv == {
        "relaxed": "off",
        "spinlocks": "on retries=8191",
        "stimer": "on",
        "stimer.direct": "on",
    }
    assert facts(found) == {}
    assert machine("<features><hyperv mode='passthrough'/></features>").hyperv == {"mode": "passthrough"}
