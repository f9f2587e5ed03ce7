"""What a vSphere machine says and the model has no word for is told, none of it in silence."""

from __future__ import annotations

import pytest

from kubeferry.sources.vsphere.leftovers import machine_leftovers
from kubeferry.sources.vsphere.plain import MAX_TEXT, Plain, plain


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bootDelay": 5000}, {"boot/delay": "5000 ms"}),
        ({"bootRetryEnabled": True, "bootRetryDelay": 20_000}, {"boot/retry": "after 20000 ms"}),
        ({"networkBootProtocol": "ipv6"}, {"boot/network": "ipv6"}),
        ({"bootDelay": 0, "bootRetryEnabled": False, "bootRetryDelay": 10_000, "networkBootProtocol": "ipv4"}, {}),
    ],
)
def test_how_a_machine_waits_before_it_boots_is_told(options: Plain, told: dict[str, str]) -> None:
    facts = machine_leftovers({"config.bootOptions": options}, {})
    assert {fact.path: fact.value for fact in facts if fact.path.startswith("boot/")} == told


def test_a_text_that_is_cut_says_so() -> None:
    assert plain("n" * MAX_TEXT) == "n" * MAX_TEXT
    assert plain("n" * (MAX_TEXT + 1)) == "n" * (MAX_TEXT - 1) + "…"
