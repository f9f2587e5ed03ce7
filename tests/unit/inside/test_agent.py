"""The guest agent's answers, as they come and as a hostile guest makes them up."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest

from kubeferry.inside import agent
from kubeferry.inside.said import CARDS, MOUNTS, CardSaid, MountSaid

INTERFACES = [
    {"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": [{"ip-address": "127.0.0.1"}]},
    {
        "name": "ens3",
        "hardware-address": "52:54:00:AA:00:01",
        "ip-addresses": [
            {"ip-address-type": "ipv6", "ip-address": "fe80::5054:ff:feaa:1", "prefix": 64},
            {"ip-address-type": "ipv6", "ip-address": "2001:DB8::7", "prefix": 64},
            {"ip-address-type": "ipv4", "ip-address": "192.0.2.7", "prefix": 24},
        ],
    },
    {"name": "docker0", "hardware-address": "02:42:00:00:00:01"},
]
FILE_SYSTEMS = [
    {"name": "vdb1", "mountpoint": "/srv", "type": "xfs", "used-bytes": 1, "total-bytes": 2**30, "disk": []},
    {"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": []},
]


class Told:
    """An agent with these answers; what it is asked is kept."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        self.asked: list[tuple[str, dict[str, object]]] = []

    def __call__(self, command: str, **arguments: object) -> Any:
        self.asked.append((command, arguments))
        answer = self.answers.get(command)
        return next(answer) if isinstance(answer, Iterator) else answer


def test_cards_with_their_addresses() -> None:
    assert agent.cards(INTERFACES) == (
        CardSaid(name="ens3", mac="52:54:00:aa:00:01", addresses=("192.0.2.7", "2001:db8::7")),
        CardSaid(name="docker0", mac="02:42:00:00:00:01"),
    )


def test_the_loopback_of_windows_is_no_card_and_its_macs_are_read() -> None:
    told = [
        {"name": "Loopback Pseudo-Interface 1", "ip-addresses": [{"ip-address": "127.0.0.1"}]},
        {"name": "Ethernet", "hardware-address": "52-54-00-AA-00-01", "ip-addresses": []},
    ]
    assert agent.cards(told) == (CardSaid(name="Ethernet", mac="52:54:00:aa:00:01"),)


def test_mounts_in_order() -> None:
    assert agent.mounts(FILE_SYSTEMS) == (
        MountSaid(where="/", kind="ext4"),
        MountSaid(where="/srv", kind="xfs", size_bytes=2**30),
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"zone": "CET", "offset": 3600}, "CET, UTC+01:00"),
        ({"offset": -12600}, "UTC-03:30"),
        ({"zone": "UTC", "offset": 0}, "UTC, UTC+00:00"),
        ({"zone": "CET"}, None),
        (None, None),
        ([], None),
    ],
)
def test_time_zones(answer: object, words: str | None) -> None:
    assert agent.zone(answer) == words


def test_a_clock_that_is_ahead() -> None:
    moments = iter([1000.0, 1000.4])
    assert agent.clock_ahead(Told(guest_get_time=1_060_200_000_000), now=lambda: next(moments)) == 60.0


def test_an_answer_that_took_long_says_nothing_of_the_clock() -> None:
    moments = iter([1000.0, 1009.0])
    assert agent.clock_ahead(Told(guest_get_time=1_004_500_000_000), now=lambda: next(moments)) is None


def test_services_are_asked_of_systemd() -> None:
    printed = base64.b64encode(b"active\nfailed\n").decode()
    told = Told(
        guest_exec={"pid": 7},
        guest_exec_status=chain([{"exited": False}], repeat({"exited": True, "exitcode": 3, "out-data": printed})),
    )
    assert agent.states(told, ("nginx.service", "cron")) == {"nginx.service": "active", "cron": "failed"}
    command, arguments = told.asked[0]
    assert (command, arguments["path"], arguments["arg"]) == (
        "guest-exec",
        "systemctl",
        ["is-active", "--", "nginx.service", "cron"],
    )


class Starting:
    """The agent of a system whose services come one after the other: what it says at each look at them."""

    def __init__(self, *looks: str, up_after: int) -> None:
        self.looks, self.up_after = list(looks), up_after
        self.seen, self.told = 0, ""

    def __call__(self, command: str, **arguments: Any) -> Any:
        if command == "guest-exec" and "is-active" in arguments["arg"]:
            self.told = self.looks[min(self.seen, len(self.looks) - 1)]
            self.seen += 1
        elif command == "guest-exec":
            self.told = "starting" if self.seen < self.up_after else "degraded"
        return {"pid": 7, "exited": True, "out-data": base64.b64encode(self.told.encode()).decode()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses; time passes in them only."""
    pauses: list[float] = []
    monkeypatch.setattr(agent.stopping, "pause", pauses.append)
    monkeypatch.setattr(agent.time, "monotonic", lambda: sum(pauses))
    return pauses


def test_services_of_a_system_that_still_starts_are_waited_for(clock: list[float]) -> None:
    """Its agent answers before most of them are there."""
    system = Starting("inactive active", "activating active", "active active", "failed active", up_after=9)
    assert agent.states(system, ("nginx", "cron")) == {"nginx": "active", "cron": "active"}
    assert system.seen == 3


def test_a_service_that_is_not_there_once_the_system_is_up_is_not_waited_for(clock: list[float]) -> None:
    system = Starting("inactive", up_after=2)
    assert agent.states(system, ("nginx",)) == {"nginx": "inactive"}
    assert system.seen == 2


def test_a_system_that_never_gets_up_is_not_waited_for_forever(clock: list[float]) -> None:
    system = Starting("activating", up_after=10**6)
    assert agent.states(system, ("nginx",)) == {"nginx": "activating"}
    assert sum(clock) == agent.STARTED_SECONDS


@pytest.mark.parametrize(
    "answers",
    [
        {},  # the agent runs no programs
        {"guest_exec": {"pid": 7}, "guest_exec_status": {"exited": True, "exitcode": 1}},
        {"guest_exec": {"pid": 7}, "guest_exec_status": {"exited": True, "out-data": "?"}},
        {"guest_exec": {"pid": 7}, "guest_exec_status": {"exited": True, "out-data": "YWN0aXZlIGFjdGl2ZQ=="}},
        {"guest_exec": {"pid": "x"}},
    ],
)
def test_services_that_cannot_be_asked_are_not_told(answers: dict[str, Any]) -> None:
    assert agent.states(Told(**answers), ("nginx",)) == {}


def test_no_service_no_program() -> None:
    told = Told()
    agent.said(told)
    assert "guest-exec" not in [command for command, _arguments in told.asked]


HOSTILE: list[object] = [
    None,
    1,
    "x",
    [],
    {},
    [None, 1, "x", []],
    [{}],
    [{"name": 1, "mountpoint": [], "ip-addresses": 5}],
    True,
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_what_a_guest_makes_up_is_taken_for_nothing(answer: object) -> None:
    names = ("guest-get-host-name", "guest-network-get-interfaces", "guest-get-fsinfo", "guest-get-timezone")
    more = ("guest-get-time", "guest-exec", "guest-exec-status")
    told = agent.said(Told(**{name.replace("-", "_"): answer for name in (*names, *more)}), ("nginx",))
    assert told.hostname is None
    assert told.mounts == ()
    assert told.time_zone is None
    assert told.services == {}


def test_what_is_kept_is_bounded_and_plain() -> None:
    many = [{"name": f"e{n}", "hardware-address": "02:00:00:00:00:01", "ip-addresses": []} for n in range(10_000)]
    assert len(agent.cards(many)) == CARDS
    assert len(agent.mounts([{"mountpoint": f"/{n}"} for n in range(10_000)])) == MOUNTS
    evil = agent.cards([{"name": "\x1b[31m" + "x" * 5000, "hardware-address": "\ud800"}])[0]
    assert "\x1b" not in evil.name
    assert len(evil.name) <= agent.WORD_LIMIT
    evil.model_dump_json()
