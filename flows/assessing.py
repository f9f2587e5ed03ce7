"""What an assessment leaves on disk: a page per machine for the owner of the app, and the manifests beside it.

OUT/README.md              every machine with its verdict
OUT/MACHINE/README.md      what will happen, what changes, what is lost, what to do
OUT/MACHINE/manifests/     the objects that would be created, in the order of creation
OUT/MACHINE/assessment.json  the same for programs
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import yaml

from kubeferry.config import read_config
from kubeferry.documents import Inventory, Offer, Policy
from kubeferry.targets import open_target
from mappings.assessment import Assessment, assess, page_folders, render_assessment_markdown, render_summary_markdown
from mappings.storage import UNASKED


def offer_of(config: Path | None) -> Offer:
    """What the configuration's target has to choose from; without a configuration nobody is asked."""
    if config is None:
        return UNASKED
    with contextlib.closing(open_target(read_config(config).target)) as target:
        return target.offer()


def write_assessments(
    inventory: Inventory, policy: Policy, out: Path, *, offer: Offer = UNASKED
) -> tuple[Assessment, ...]:
    """Assess every machine and write the pages. Asks neither source nor target anything."""
    assessments = assess(inventory, policy, offer=offer)
    out.mkdir(parents=True, exist_ok=True)
    folders = page_folders(assessments)
    for assessment in assessments:
        _write_one(assessment, out / folders[assessment.name])
    (out / "README.md").write_text(render_summary_markdown(assessments), encoding="utf-8")
    return assessments


def _write_one(assessment: Assessment, folder: Path) -> None:
    manifests = folder / "manifests"
    manifests.mkdir(parents=True, exist_ok=True)
    for stale in manifests.glob("*.yaml"):
        stale.unlink()
    for number, manifest in enumerate(assessment.manifests):
        (manifests / f"{number:02}-{_file_name(manifest)}.yaml").write_text(
            yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    (folder / "README.md").write_text(render_assessment_markdown(assessment), encoding="utf-8")
    (folder / "assessment.json").write_text(assessment.model_dump_json(by_alias=True, indent=1), encoding="utf-8")


def _file_name(manifest: dict[str, object]) -> str:
    metadata = manifest.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return re.sub(r"[^a-z0-9.-]+", "-", f"{manifest.get('kind', 'object')}-{name}".lower())
