"""What a network card has sent, from captures as QEMU writes them: a system's frames, and firmware's."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kubeferry.documents import Probe
from kubeferry.targets.directory import frames, local_access
from kubeferry.targets.directory.local_access import LocalAccess
from kubeferry.targets.guest import probes

CARD = bytes.fromhex("525400123456")
EVERYBODY = b"\xff" * 6


def frame(kind: int, content: bytes, *, tag: int | None = None) -> bytes:
    tagged = b"" if tag is None else struct.pack(">HH", frames.VLAN, tag)
    return EVERYBODY + CARD + tagged + struct.pack(">H", kind) + content


def datagram(port: int, content: bytes, *, protocol: int = 17, options: bytes = b"") -> bytes:
    head = bytes([0x45 + len(options) // 4]) + bytes(8) + bytes([protocol]) + bytes(10) + options
    return head + struct.pack(">HHHH", 68, port, 8 + len(content), 0) + content


def dhcp(vendor: bytes | None = None) -> bytes:
    said = b"" if vendor is None else bytes([60, len(vendor)]) + vendor
    return bytes(236) + b"\x63\x82\x53\x63" + b"\x35\x01\x01" + b"\0" + said + b"\xff"


def capture(*sent: bytes) -> bytes:
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1024, 1)
    return head + b"".join(struct.pack("=IIII", 1, 2, len(one), len(one)) + one for one in sent)


ARP = frame(0x0806, bytes(28))
IPV6 = frame(0x86DD, bytes(60))
DHCP = frame(0x0800, datagram(67, dhcp(b"udhcp 1.35.0")))
PXE = frame(0x0800, datagram(67, dhcp(b"PXEClient:Arch:00000:UNDI:002001")))
WEB_BOOT = frame(0x0800, datagram(67, dhcp(b"HTTPClient:Arch:00016")))


@pytest.mark.parametrize(
    ("sent", "seen", "words"),
    [
        ((), False, "nothing was sent"),
        ((ARP,), True, "1 frame sent: ARP"),
        ((DHCP, ARP), True, "2 frames sent: DHCP"),
        ((frame(0x0800, datagram(67, dhcp())),), True, "1 frame sent: DHCP"),
        ((frame(0x0800, datagram(67, b"short")),), True, "1 frame sent: DHCP"),
        ((frame(0x0800, datagram(67, dhcp(b"x"), options=bytes(4))),), True, "1 frame sent: DHCP"),
        ((frame(0x0800, datagram(53, b"?")),), True, "1 frame sent: IPv4"),
        ((frame(0x0800, datagram(0, b"", protocol=1)),), True, "1 frame sent: IPv4"),
        ((frame(0x0806, bytes(28), tag=12),), True, "1 frame sent: ARP"),
        ((IPV6, IPV6), False, "2 frames sent: nothing that shows a system"),
        ((frame(0x88CC, b"lldp"),), False, "1 frame sent: nothing that shows a system"),
        ((b"short", frame(0x0800, b"short")), False, "2 frames sent: nothing that shows a system"),
        # Who boots from the network asks for an address, too, and then for its server's.
        ((PXE, ARP), False, "2 frames sent: only what firmware asks a network"),
        ((WEB_BOOT, ARP), False, "2 frames sent: only what firmware asks a network"),
        ((PXE, ARP, DHCP), True, "3 frames sent: DHCP"),
    ],
)
def test_what_a_system_sends_is_told_from_what_firmware_sends(sent: tuple[bytes, ...], seen: bool, words: str) -> None:
    assert frames.sign_of(capture(*sent)) == (seen, words)


@pytest.mark.parametrize("end", range(1, 40))
def test_what_is_not_written_to_its_end_yet_is_no_frame(end: int) -> None:
    whole = capture(ARP)
    assert frames.sign_of(whole[:-end]) == (False, "nothing was sent")


def test_what_is_no_capture_holds_nothing() -> None:
    assert frames.sign_of(b"\n" * 200) == (False, "nothing was sent")
    assert frames.sign_of(b"") == (False, "nothing was sent")


# --- as a probe ------------------------------------------------------------------------------------------------------


def ask(*captures: Path) -> tuple[probes.Answer, int]:
    """The answer to the probe, and how often the captures were ended."""
    ended: list[bool] = []
    way = LocalAccess(
        Path("no agent"),
        None,
        {},
        lambda: 0.0,
        lambda: None,
        captures=captures,
        end_captures=lambda: ended.append(True),
    )
    return probes.attempt(probes.question(Probe(kind="packets"), way, {}), 1.0), len(ended)


def test_of_several_cards_one_that_sends_is_enough_and_then_nothing_more_is_written(tmp_path: Path) -> None:
    silent, sends = tmp_path / "card0.pcap", tmp_path / "card1.pcap"
    silent.write_bytes(capture(IPV6))
    sends.write_bytes(capture())
    answer, ended = ask(silent, sends, tmp_path / "gone")
    assert (answer.ok, answer.final, ended) == (False, False, 0)
    assert answer.evidence == "1 frame sent: nothing that shows a system; nothing was sent"
    sends.write_bytes(capture(DHCP))
    answer, ended = ask(silent, sends, tmp_path / "gone")
    assert (answer.ok, answer.evidence, ended) == (True, "card 1: 1 frame sent: DHCP", 1)


def test_a_card_that_sends_without_end_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_access, "CAPTURE_LIMIT_BYTES", 1000)
    chatty = tmp_path / "card0.pcap"
    chatty.write_bytes(capture(*[IPV6] * 100))
    answer, ended = ask(chatty)
    assert (answer.ok, ended) == (False, 1)


def test_a_machine_without_a_card_fails_at_once() -> None:
    answer, _ = ask()
    assert (answer.ok, answer.final) == (False, True)
