"""Proofs that need no agent, of real guests in local QEMU: what boots passes, what does not fails by its own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Observation, Probe
from kubeferry.errors import KubeferryError
from kubeferry.targets.guest.screen.letters import EFI_LETTERS, LETTERS
from kubeferry.targets.guest.screen.reading import forms_of
from lab import guests, letters
from tests.needs import needs, or_skip
from tests.tools.folder_target import MIB, SIZE, UEFI, Place, an_entry

pytestmark = [needs("qemu-system-x86_64", "qemu-img"), pytest.mark.timeout(300)]

Build = Callable[..., Path]
SCREEN = Probe(kind="screen", still_seconds=5, timeout_seconds=150)
GIVEN_UP = SCREEN.model_copy(update={"timeout_seconds": 45.0})
PACKETS = Probe(kind="packets", timeout_seconds=150)
PAGE = Probe(kind="http", port=80, path="/boots", expect="1", timeout_seconds=150)
MISSING = Probe(kind="http", port=80, path="/nowhere", status=404, timeout_seconds=150)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A lab guest's disk."""
    folder = tmp_path_factory.mktemp("guests")

    def made(name: str, **more: Any) -> Path:
        try:
            return guests.build_guest(guests.Spec(name, size=SIZE, payload=4 * MIB, **more), folder / f"{name}.img")
        except KubeferryError as error:
            or_skip(error)

    return made


def proof(place: Place, name: str, *probes: Probe, disk: Path | None = None, **more: Any) -> Observation:
    """What is seen of a machine that is started from a disk, or from an empty one."""
    entry = an_entry(name, probes=probes, **more)
    place.ready(entry, disk)
    place.target.start(entry, place.written.append)
    seen = place.target.observe(entry, {})
    place.target.stop(entry)
    return seen


@pytest.mark.parametrize("domain", [{}, UEFI], ids=["bios", "uefi"])
def test_a_guest_without_an_agent_is_proven_by_screen_packets_and_page(
    place: Place, build: Build, domain: dict[str, Any]
) -> None:
    seen = proof(place, "plain", SCREEN, PACKETS, PAGE, MISSING, disk=build("plain", plain=True), domain=domain)
    assert seen.passed, seen.probes
    screen, packets, page, missing = (one.evidence for one in seen.probes)
    assert "plain login:" in screen
    assert "sent: DHCP" in packets
    assert page == "200: 1"
    assert missing.startswith("404: ")
    assert seen.guest == {}, "nobody but the probes was heard"


@pytest.mark.parametrize("domain", [{}, UEFI], ids=["bios", "uefi"])
def test_a_kernel_that_gave_up_is_seen(place: Place, build: Build, domain: dict[str, Any]) -> None:
    seen = proof(place, "panics", GIVEN_UP, disk=build("panics", panics=True), domain=domain)
    assert not seen.passed
    assert "a system that gave up" in seen.probes[0].evidence
    assert "panic" in seen.probes[0].evidence


@pytest.mark.parametrize(
    ("domain", "says"),
    [({}, "No bootable device"), (UEFI, "no system yet")],
    ids=["bios", "uefi"],
)
def test_firmware_that_finds_nothing_to_boot_is_no_system(place: Place, domain: dict[str, Any], says: str) -> None:
    seen = proof(place, "empty", GIVEN_UP, PACKETS.model_copy(update={"timeout_seconds": 45.0}), domain=domain)
    screen, packets = seen.probes
    assert (screen.ok, packets.ok) == (False, False)
    assert says in screen.evidence
    assert "sent" in packets.evidence


def test_what_firmware_asks_a_network_is_no_sign_of_a_system(place: Place) -> None:
    card = {"name": "default", "masquerade": {}, "model": "virtio", "bootOrder": 1}
    disk = {"name": "vda", "bootOrder": 2, "disk": {"bus": "virtio"}}
    waits = PACKETS.model_copy(update={"timeout_seconds": 40.0})
    seen = proof(place, "network", GIVEN_UP, waits, devices={"interfaces": [card], "disks": [disk]})
    screen, packets = seen.probes
    assert (screen.ok, packets.ok) == (False, False)
    assert "only what firmware asks a network" in packets.evidence


def test_captures_end_with_their_probe(place: Place, build: Build) -> None:
    entry = an_entry("ends", probes=(PACKETS, PAGE))
    place.ready(entry, build("plain", plain=True))
    place.target.start(entry, place.written.append)
    machine = place.machine(entry)
    assert [capture.name for capture in machine.captures()] == ["card0.pcap"]
    assert place.target.observe(entry, {}).passed
    size = machine.captures()[0].stat().st_size
    again = an_entry("ends", probes=(PAGE,))
    assert place.target.observe(again, {}).passed, "a page is more to send"
    assert machine.captures()[0].stat().st_size == size


def test_who_does_not_ask_for_packets_has_none_captured(place: Place) -> None:
    entry = an_entry("quiet", probes=(Probe(kind="http", port=80),))
    place.ready(entry)
    place.target.start(entry, place.written.append)
    assert place.machine(entry).captures() == ()


def test_the_letters_of_firmware_and_consoles_are_those_that_are_known() -> None:
    known, efi = forms_of(LETTERS), forms_of(EFI_LETTERS)
    try:
        consoles = list(letters.of_consoles())
    except KubeferryError as error:
        or_skip(error)
    for font in (letters.of_bios(), letters.of_kernel(), *consoles):
        assert {letter: known.get(form) for letter, form in font.items()} == dict(zip(font, font, strict=True))
    shell = letters.of_efi()
    assert {letter: efi.get(form) for letter, form in shell.items()} == dict(zip(shell, shell, strict=True))
