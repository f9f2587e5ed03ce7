"""How a domain is stopped.

The domain is a double: it takes requests or refuses them, and goes down some looks later. It has no guest and no QEMU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import libvirt
import pytest

from kubeferry.documents import StopPolicy
from kubeferry.sources.libvirt import shutdown

AGENT, BUTTON = libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
SHORT = StopPolicy(agent_seconds=0.1, acpi_seconds=0.1)


@dataclass
class Domain:
    """`refuses` are the ways that raise; `down_by` is the one that the guest follows, `looks` after it was asked."""

    refuses: frozenset[int] = frozenset()
    down_by: int = -1
    looks: int = 1
    code: int = libvirt.VIR_ERR_AGENT_UNRESPONSIVE
    asked: list[int] = field(default_factory=list)

    def shutdownFlags(self, way: int) -> int:
        self.asked.append(way)
        if way in self.refuses:
            error = libvirt.libvirtError("End of file from agent socket")
            error.err = (self.code, 0, "", 0, "", None, None, 0, 0)
            raise error
        return 0

    def isActive(self) -> int:
        if self.down_by in self.asked:
            self.looks -= 1
        return int(self.looks >= 0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "POLL_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("domain", "how"),
    [
        (Domain(down_by=AGENT), "agent"),
        (Domain(refuses=frozenset({AGENT}), down_by=BUTTON), "acpi"),
        (Domain(down_by=BUTTON), "acpi"),
        # It heard its agent, and was gone before that could answer, and before QEMU took the button.
        (Domain(refuses=frozenset({AGENT, BUTTON}), down_by=AGENT, looks=5), "agent"),
        (Domain(refuses=frozenset({AGENT}), down_by=AGENT, looks=5), "acpi"),
        (Domain(refuses=frozenset({AGENT, BUTTON})), None),
        (Domain(), None),
    ],
)
def test_a_machine_that_goes_down_is_seen_to_whatever_failed_in_asking_it(domain: Any, how: str | None) -> None:
    assert shutdown.stop(domain, SHORT) == how


def test_what_stopped_it_is_no_agent_where_there_is_none() -> None:
    domain: Any = Domain(refuses=frozenset({AGENT, BUTTON}), down_by=BUTTON, code=libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED)
    assert shutdown.stop(domain, SHORT) == "acpi"


@pytest.mark.parametrize(
    ("code", "how"),
    [(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "acpi"), (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "forced")],
)
def test_the_plug_is_not_pulled_on_a_guest_that_may_have_heard_its_agent(code: int, how: str) -> None:
    """It has the agent's time; one without an agent has not."""
    domain: Any = Domain(refuses=frozenset({AGENT}), down_by=AGENT, looks=10, code=code)
    domain.destroyFlags = domain.destroy = lambda *_: setattr(domain, "looks", -1)
    assert shutdown.stop(domain, StopPolicy(agent_seconds=5, acpi_seconds=0, force=True)) == how
