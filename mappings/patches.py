"""The user's own changes to a finished VirtualMachine: JSON merge patches (RFC 7396) and operations (RFC 6902).

They may say anything about the machine but what it is: its name, its namespace, its kind, the labels by which kubeferry
knows it, and the claims that hold its disks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonpatch
import jsonpointer

from kubeferry.model import Concern, Severity
from mappings.marks import OURS

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_SHOWN = 8


def patched(
    manifest: dict[str, Any], patches: tuple[dict[str, Any], ...]
) -> tuple[dict[str, Any], tuple[Concern, ...]]:
    """The manifest with all patches applied, in their order, and what to know of it: what they changed; or, critical,
    why they cannot be applied, and then the manifest is as it was."""
    if not patches:
        return manifest, ()
    try:
        made = _applied(manifest, patches)
    except ValueError as wrong:
        return manifest, (_concern(CRITICAL, "policy.patch-refused", f"The policy's patch is refused: {wrong}."),)
    paths = sorted({one["path"] for one in jsonpatch.make_patch(manifest, made)})
    if not paths:
        return made, (_concern(WARNING, "policy.patch-idle", "The policy's patch changes nothing."),)
    shown = ", ".join(paths[:_SHOWN]) + (" …" if len(paths) > _SHOWN else "")
    return made, (_concern(INFO, "policy.patched", f"The policy's patch changes {shown}."),)


def _concern(severity: Severity, name: str, what: str) -> Concern:
    return Concern(id=name, severity=severity, what=what, fix="Correct or remove `patch` in the policy.")


def _applied(manifest: dict[str, Any], patches: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(manifest)
    for number, patch in enumerate(patches, start=1):
        try:
            made = jsonpatch.apply_patch(made, [patch]) if "op" in patch else merge(made, patch)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
            raise ValueError(f"number {number} cannot be applied ({error})") from error
    if taken := [what for what, of in _IDENTITY.items() if of(made) != of(manifest)]:
        raise ValueError(f"it would change {' and '.join(taken)}")
    return made


def merge(content: Any, patch: Any) -> Any:
    """RFC 7396, section 2: mappings are merged, null removes, anything else takes the place of what was there."""
    if not isinstance(patch, dict):
        return patch
    made = dict(content) if isinstance(content, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merge(made.get(key), value)
    return made


def _metadata(manifest: Any) -> dict[str, Any]:
    found = manifest.get("metadata") if isinstance(manifest, dict) else None
    return found if isinstance(found, dict) else {}


def _known_by(manifest: Any) -> dict[tuple[str, str], Any]:
    """Our marks on the machine, and on the template of its pods."""
    return {
        (place, key): value
        for place, metadata in (("", _metadata(manifest)), ("template", _metadata(_template(manifest))))
        for kind in ("labels", "annotations")
        for key, value in (metadata.get(kind) or {}).items()
        if key.startswith(OURS)
    }


def _template(manifest: Any) -> Any:
    spec = manifest.get("spec") if isinstance(manifest, dict) else None
    return spec.get("template") if isinstance(spec, dict) else None


def _claims(manifest: Any) -> Any:
    """What holds the machine's disks, by volume."""
    try:
        volumes = manifest["spec"]["template"]["spec"]["volumes"]
        return {
            one["name"]: source
            for one in volumes
            for kind in ("persistentVolumeClaim", "dataVolume")
            if (source := one.get(kind)) is not None
        }
    except (KeyError, TypeError, AttributeError):
        return None


def _kind(manifest: Any) -> Any:
    return (manifest.get("apiVersion"), manifest.get("kind")) if isinstance(manifest, dict) else None


def _name(manifest: Any) -> Any:
    return _metadata(manifest).get("name"), _metadata(manifest).get("namespace")


_IDENTITY: dict[str, Callable[[Any], Any]] = {
    "its kind": _kind,
    "its name or namespace": _name,
    "the marks of kubeferry.io": _known_by,
    "the claims of its disks": _claims,
}
