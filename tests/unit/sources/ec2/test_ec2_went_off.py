"""How an instance went off, by what EC2 says of it."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.sources import WentOff
from kubeferry.sources.ec2.power import went_off


@pytest.mark.parametrize(
    ("instance", "found"),
    [
        ({}, WentOff()),
        (
            {
                "StateTransitionReason": "User initiated (2026-11-29 10:44:39 GMT)",
                "StateReason": {"Code": "Client.UserInitiatedShutdown", "Message": "…"},
            },
            WentOff(at="2026-11-29T10:44:39+00:00", asked=True),
        ),
        (
            {"StateTransitionReason": "", "StateReason": {"Code": "Client.InstanceInitiatedShutdown"}},
            WentOff(by="its own system, which EC2 was not asked to stop"),
        ),
        ({"StateTransitionReason": "Server.ScheduledStop: Stopped due to scheduled retirement"}, WentOff()),
    ],
)
def test_an_instance_says_whether_its_stop_was_asked_for_and_when(instance: dict[str, Any], found: WentOff) -> None:
    assert went_off(instance) == found
