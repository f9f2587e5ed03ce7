"""What carries frames between machines that are rehearsed together, with sockets in the place of QEMU's."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.targets.directory import switch
from kubeferry.targets.directory.devices import Wire

ONE, OTHER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
EVERYBODY = b"\xff" * 6


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: a socket's path holds no more than 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


def a_wire(folder: Path, machine: str) -> Wire:
    ends = [(folder / f"{machine}{end}", folder / f"{machine}{end}.far") for end in "cw"]
    return Wire(0, "198.18.0.0/24", "198.18.0.15", "", *ends)


@contextlib.contextmanager
def plugged(folder: Path, group: list[Path], machine: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The card and the user-mode network of a machine, as QEMU holds them."""
    wire = a_wire(folder, machine)
    with contextlib.ExitStack() as opened:
        ends = []
        for own, _far in (wire.card, wire.service):
            end = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            end.settimeout(5)
            end.bind(str(own))
            ends.append(end)
        switch.plug(group, machine, [wire])
        switch.plug(group, machine, [wire])  # which changes nothing
        for end, (_own, far) in zip(ends, (wire.card, wire.service), strict=True):
            end.connect(str(far))
        yield ends[0], ends[1]


def nothing(end: socket.socket) -> bool:
    end.settimeout(0.2)
    try:
        end.recv(100)
    except TimeoutError:
        return True
    return False


def carriers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "carries frames"]


def test_frames_go_where_they_belong_and_the_thread_ends_with_the_last_machine(folder: Path) -> None:
    group = [folder / "a", folder / "b"]
    with plugged(folder, group, "a") as (card, service), plugged(folder, group, "b") as (other, other_service):
        hello = EVERYBODY + ONE + b"\x08\x06hello"
        card.send(hello)
        assert other.recv(100) == hello
        assert service.recv(100) == hello
        answer = ONE + OTHER + b"\x08\x06here"
        other.send(answer)
        assert card.recv(100) == answer
        offer = EVERYBODY + b"\x52\x55\0\0\0\0" + b"\x08\0offer"
        other_service.send(offer)
        assert other.recv(100) == offer
        assert nothing(card)
        assert nothing(other_service), "it hears no card but its own, and that has sent nothing to all"
        switch.unplug(group[1], "b")
        card.settimeout(5)
        card.send(hello)
        assert service.recv(100) == hello
        switch.unplug(group[0], "a")
        for thread in carriers():
            thread.join(5)
        assert carriers() == []


def test_a_machine_that_takes_nothing_holds_up_nobody(folder: Path) -> None:
    group = [folder / "a", folder / "b", folder / "c"]
    with (
        plugged(folder, group, "a") as (card, _),
        plugged(folder, group, "b") as (_slow, _),
        plugged(folder, group, "c") as (quick, _),
    ):
        for number in range(2000):
            card.send(EVERYBODY + ONE + b"\x08\0" + number.to_bytes(2, "big"))
            assert quick.recv(100)[-2:] == number.to_bytes(2, "big")
        for machine, path in zip("abc", group, strict=True):
            switch.unplug(path, machine)
