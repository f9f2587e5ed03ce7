"""The labels and annotations that tell what an object is, where it came from, and that kubeferry made it."""

from __future__ import annotations

from kubeferry.model import Machine
from mappings.choices import Choices
from mappings.names import LABEL_VALUE, Names

OURS = "kubeferry.io/"
MANAGED_BY = "app.kubernetes.io/managed-by"
# The API server refuses an object whose annotations are larger than 256 KiB together.
_TEXT_LIMIT = 16 * 1024


def labels(machine: Machine, choices: Choices, names: Names) -> dict[str, str]:
    """Labels to select by; the policy's own come on top, but never in place of ours."""
    ours = {MANAGED_BY: "kubeferry", "kubeferry.io/machine": names.machine}
    if machine.source and LABEL_VALUE.fullmatch(machine.source):
        ours["kubeferry.io/source"] = machine.source
    return choices.labels | ours


def origin(machine: Machine) -> dict[str, str]:
    """Which machine of the source this is, in the source's own words."""
    return {"kubeferry.io/machine-id": machine.id, "kubeferry.io/machine-name": machine.name}


def described(machine: Machine) -> dict[str, str]:
    """`origin`, and what the source tells people about the machine."""
    told = {
        "kubeferry.io/title": machine.title,
        "kubeferry.io/description": machine.description,
        "kubeferry.io/guest-os": machine.guest.os_id,
    }
    return origin(machine) | {key: value[:_TEXT_LIMIT] for key, value in told.items() if value}
