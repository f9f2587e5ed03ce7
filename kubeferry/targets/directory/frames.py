"""What a network card of a guest has sent, from a capture of it: whether a system sent it; pure.

Firmware that boots from a network sends too. It says so when it asks for an address (DHCP, vendor class `PXEClient` or
`HTTPClient`), and then only a request without these words is a system's: ARP that follows may be the firmware's own.
IPv6 never counts, since UEFI speaks it before it boots anything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

FILE_HEAD, FRAME_HEAD = 24, 16
MAGIC = 0xA1B2C3D4
KEPT_BYTES = 1024
"""Of each frame: enough for what DHCP says of itself."""
ARP, IPV4, VLAN = 0x0806, 0x0800, 0x8100
DHCP_SERVER, DHCP_MAGIC, VENDOR_CLASS = 67, b"\x63\x82\x53\x63", 60
NETWORK_BOOTS = (b"PXEClient", b"HTTPClient")

Sort = Literal["network boot", "DHCP", "ARP", "IPv4"]


def sign_of(capture: bytes) -> tuple[bool, str]:
    """Whether a capture (pcap) holds something that a system has sent; what it holds, in words."""
    count, sorts = 0, []
    for frame in _frames(capture):
        count += 1
        if (sort := _sort(frame)) is not None:
            sorts.append(sort)
    if "network boot" in sorts:
        return "DHCP" in sorts, _words(count, "DHCP" if "DHCP" in sorts else "only what firmware asks a network")
    return bool(sorts), _words(count, sorts[0] if sorts else "nothing that shows a system")


def _words(count: int, what: str) -> str:
    return f"{count} frame{'' if count == 1 else 's'} sent: {what}" if count else "nothing was sent"


def _frames(capture: bytes) -> Iterator[bytes]:
    """The frames of a capture, as QEMU writes it; one that is not written to its end yet is left out."""
    if len(capture) < FILE_HEAD or struct.unpack_from("=I", capture)[0] != MAGIC:
        return
    at = FILE_HEAD
    while at + FRAME_HEAD <= len(capture):
        kept = struct.unpack_from("=I", capture, at + 8)[0]
        frame = capture[at + FRAME_HEAD : at + FRAME_HEAD + kept]
        if len(frame) < kept:
            return
        yield frame
        at += FRAME_HEAD + kept


def _sort(frame: bytes) -> Sort | None:
    kind, at = int.from_bytes(frame[12:14], "big"), 14
    if kind == VLAN:
        kind, at = int.from_bytes(frame[16:18], "big"), 18
    if kind == ARP:
        return "ARP"
    if kind != IPV4 or len(frame) < at + 20:
        return None
    datagram = frame[at + (frame[at] & 15) * 4 :]
    if frame[at + 9] != 17 or int.from_bytes(datagram[2:4], "big") != DHCP_SERVER:
        return "IPv4"
    return "network boot" if _vendor(datagram[8:]).startswith(NETWORK_BOOTS) else "DHCP"


def _vendor(message: bytes) -> bytes:
    """The vendor class of a DHCP message (RFC 2132), empty where it names none."""
    options = message[240:] if message[236:240] == DHCP_MAGIC else b""
    while len(options) > 1 and options[0] != 255:
        if options[0] == 0:
            options = options[1:]
            continue
        if options[0] == VENDOR_CLASS:
            return options[2 : 2 + options[1]]
        options = options[2 + options[1] :]
    return b""
