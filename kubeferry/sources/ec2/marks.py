"""The mark of a stop as a tag of the instance, and as another one what people read at one that has moved."""

from __future__ import annotations

from typing import Any

from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.marks import KEY, MOVED

TAG, MOVED_TAG = "kubeferry.io/stopped", "kubeferry.io/moved"
MOST = 256  # characters of a tag's value
_KEYS = {TAG: KEY, MOVED_TAG: MOVED}


def text_of(instance: dict[str, Any], tag: str = TAG) -> str | None:
    """The tag's value; None where it is not there."""
    return next((str(one.get("Value", "")) for one in instance.get("Tags", []) if one.get("Key") == tag), None)


def told_apart(tags: dict[str, str]) -> dict[str, str]:
    """An instance's tags as a machine's metadata: what its owner wrote, and our marks under the keys of all sources."""
    return {_KEYS.get(key, key): value for key, value in tags.items()}


def take_away(ec2: Any, instance: dict[str, Any]) -> list[str]:
    """What was taken away, in words."""
    if text_of(instance) is None:
        return []
    ec2.delete_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": TAG}])
    return ["mark"]


def write_notes(ec2: Any, instance: dict[str, Any], notes: str | None, was: str | None, machine: str) -> None:
    """Let the tag for people say this instead of what it said. Raises SourceUnavailable where it says something else
    now, SourceRefused for what no tag holds."""
    if text_of(instance, MOVED_TAG) != was:
        raise SourceUnavailable("its tag for people changes", fix="Run the same again.", machine=machine)
    if notes is None:
        ec2.delete_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": MOVED_TAG}])
        return
    if len(notes) > MOST:
        fix = f"Shorten the tag {MOVED_TAG}, or remove it."
        raise SourceRefused(f"its tag {MOVED_TAG} would be too long", fix=fix, machine=machine)
    ec2.create_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": MOVED_TAG, "Value": notes}])
