"""The mark as a tag of the instance."""

from __future__ import annotations

from typing import Any

from kubeferry.marks import KEY

TAG = "kubeferry.io/stopped"


def text_of(instance: dict[str, Any]) -> str | None:
    """The tag's value; None where it is not there."""
    return next((str(one.get("Value", "")) for one in instance.get("Tags", []) if one.get("Key") == TAG), None)


def told_apart(tags: dict[str, str]) -> dict[str, str]:
    """An instance's tags as a machine's metadata: what its owner wrote, and our mark under the key of all sources."""
    return {KEY if key == TAG else key: value for key, value in tags.items()}


def take_away(ec2: Any, instance: dict[str, Any]) -> list[str]:
    """What was taken away, in words."""
    if text_of(instance) is None:
        return []
    ec2.delete_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": TAG}])
    return ["mark"]
