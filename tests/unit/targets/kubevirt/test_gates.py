"""What a machine may need that not every version of KubeVirt gives, by version and by what is switched."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.targets.kubevirt.checks import apis

DRIVE = {"domain": {"devices": {"disks": [{"name": "sdb", "cdrom": {"bus": "sata"}}]}}}
VIDEO = {"domain": {"devices": {"video": {"type": "vga"}}}}
PANIC = {"domain": {"devices": {"panicDevices": [{"model": "isa"}]}}}


def told(make: Any, template: dict[str, Any], version: str, **developer: list[str]) -> list[str]:
    found = make.kubevirt(developerConfiguration=developer)
    facts = make.facts(kubevirts=make.seen(found | {"status": found["status"] | {"observedKubeVirtVersion": version}}))
    request = make.request(make.entry(template=template))
    return [one.what for one in apis.concerns(facts, request) if one.id == "kubevirt.gate-off"]


@pytest.mark.parametrize(
    ("template", "version", "taken"),
    [
        (DRIVE, "v1.5.2", False),
        (DRIVE, "v1.6.0", False),
        (DRIVE, "v1.8.3", False),
        (DRIVE, "v1.9.0", True),
        (DRIVE, "a-build-by-hand", True),
        (VIDEO, "v1.5.2", False),
        (VIDEO, "v1.6.0", False),
        (VIDEO, "v1.7.0", True),
        (PANIC, "v1.6.0", False),
        (PANIC, "v1.7.0", True),
    ],
)
def test_what_a_version_takes_without_being_asked(
    make: Any, template: dict[str, Any], version: str, taken: bool
) -> None:
    assert (told(make, template, version) == []) is taken


def test_a_gate_that_is_switched_on_opens_and_one_that_is_switched_off_shuts(make: Any) -> None:
    assert told(make, DRIVE, "v1.6.0", featureGates=["DeclarativeHotplugVolumes"]) == []
    (why,) = told(make, DRIVE, "v1.9.0", disabledFeatureGates=["DeclarativeHotplugVolumes"])
    assert "feature gate DeclarativeHotplugVolumes is off" in why


def test_before_it_is_known_no_gate_helps(make: Any) -> None:
    (why,) = told(make, DRIVE, "v1.5.2", featureGates=["DeclarativeHotplugVolumes"])
    assert "v1.5.2 knows none" in why


def test_a_drive_with_a_medium_needs_no_gate(make: Any) -> None:
    medium = {"volumes": [{"name": "sdb", "persistentVolumeClaim": {"claimName": "web-vda"}}]}
    assert told(make, DRIVE | medium, "v1.6.0") == []
