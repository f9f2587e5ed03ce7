"""The plan's manifests as files that GitOps tools read: one file an object, a kustomization for each machine and one
for all. They are written as they stand in the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubeferry.documents import Entry, to_yaml
from kubeferry.targets.directory.layout import MachineFolder, TargetFolder, write, write_yaml


def files(entry: Entry) -> dict[str, str]:
    """File name to content for each manifest, and `../kustomization.yaml`'s resources in their order."""
    return {_file_name(manifest): to_yaml(manifest) for manifest in entry.manifests}


def changes(entry: Entry, folder: MachineFolder) -> list[tuple[str, Path, str | None]]:
    """What differs between the plan and the folder: (created, changed, unchanged or removed; path; content)."""
    wanted = {folder.manifests / name: text for name, text in files(entry).items()}
    names = [f"manifests/{path.name}" for path in wanted]
    wanted[folder.kustomization] = to_yaml(kustomization(names))
    found = [(_change(path, text), path, text) for path, text in wanted.items()]
    stale = sorted(set(folder.manifests.glob("*.yaml")) - wanted.keys()) if folder.manifests.is_dir() else []
    return [*found, *(("removed", path, None) for path in stale)]


def put(folder: MachineFolder, found: list[tuple[str, Path, str | None]]) -> None:
    """Carry the changes out. The kustomization is written last of all, so that it never names a missing file."""
    folder.manifests.mkdir(parents=True, exist_ok=True)
    for change, path, text in sorted(found, key=lambda item: item[1] == folder.kustomization):
        if text is not None and change != "unchanged":
            write(path, text)
    for path in (path for _, path, text in found if text is None):
        path.unlink(missing_ok=True)


def list_machines(target: TargetFolder) -> None:
    """Write the kustomization that names every machine with manifests, under the target's lock."""
    with target.locked():
        names = sorted(path.parent.name for path in target.machines.glob("*/kustomization.yaml"))
        write_yaml(target.kustomization, kustomization([f"machines/{name}" for name in names]))


def kustomization(resources: list[str]) -> dict[str, Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}


def _file_name(manifest: dict[str, Any]) -> str:
    name = str((manifest.get("metadata") or {}).get("name", "unnamed"))
    return f"{manifest.get('kind', 'object')}-{name}.yaml".lower().replace("/", "-")


def _change(path: Path, text: str) -> str:
    try:
        return "unchanged" if path.read_text(encoding="utf-8") == text else "changed"
    except (FileNotFoundError, UnicodeDecodeError):
        return "changed" if path.exists() else "created"
