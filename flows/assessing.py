"""What an assessment leaves on disk: a page per machine for the owner of the app, and the manifests beside it.

OUT/index.html             every app and machine with its verdict, to be filtered
OUT/app-APP.html           one app: order, what is open, window, room, how it is proven and goes back
OUT/MACHINE/index.html     one machine: the same, with what changes and is lost, and its manifests
OUT/README.md              every machine with its verdict
OUT/MACHINE/README.md      what will happen, what changes, what is lost, what to do
OUT/MACHINE/manifests/     the objects that would be created, in the order of creation
OUT/MACHINE/assessment.json  the same for programs
OUT/.kubeferry-pages.json  what of all that we wrote: what is not current any more goes with the next assessment, and
                           nothing else
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from kubeferry.config import read_config
from kubeferry.documents import Inventory, Offer, Plan, Policy, to_yaml
from kubeferry.documents.assessment import Assessment
from kubeferry.errors import InputInvalid
from kubeferry.outside import owned
from kubeferry.outside.owned import Text
from kubeferry.targets import open_target
from mappings.apps import apps_of
from mappings.assessment import assess, page_folders, render_assessment_markdown, render_summary_markdown
from mappings.plan import make_plan
from mappings.storage import UNASKED
from reports.assessed.estate import Member, Said, build_estate
from reports.assessed.pages import html_pages

LIST = ".kubeferry-pages.json"


def offer_of(config: Path | None) -> Offer:
    """What the configuration's target has to choose from; without a configuration nobody is asked."""
    if config is None:
        return UNASKED
    with contextlib.closing(open_target(read_config(config).target)) as target:
        return target.offer()


def write_assessments(
    inventory: Inventory, policy: Policy, out: Path, *, offer: Offer = UNASKED
) -> tuple[Assessment, ...]:
    """Assess every machine and write the pages; those that an earlier assessment has left of machines that are not in
    this one are gone. Asks neither source nor target anything."""
    assessments = assess(inventory, policy, offer=offer)
    folders = page_folders(assessments)
    plan, problems = _planned(inventory, policy, offer)
    estate = build_estate(
        inventory,
        assessments,
        folders,
        plan=plan,
        problems=problems,
        room=offer.room,
        said=Said(apps_of(policy, inventory.machines), policy.windows or {}),
    )
    pages: dict[str, Text] = {"README.md": partial(render_summary_markdown, assessments)}
    for assessment in assessments:
        pages |= {f"{folders[assessment.name]}/{name}": text for name, text in _pages(assessment)}
    pages |= dict(html_pages(estate, _manifests))
    owned.replace_files(out, pages, LIST, unlisted=_unlisted(out, pages))
    return assessments


def _planned(inventory: Inventory, policy: Policy, offer: Offer) -> tuple[Plan | None, tuple[str, ...]]:
    """The plan that would be made, for its waves, or why there would be none."""
    try:
        return make_plan(inventory, policy, name="assessed", created_at=inventory.observed_at, offer=offer), ()
    except InputInvalid as invalid:
        return None, tuple(map(str, invalid.problems))


def _pages(assessment: Assessment) -> Iterator[tuple[str, Text]]:
    """The files of one machine, by their place in its folder."""
    yield "README.md", partial(render_assessment_markdown, assessment)
    yield "assessment.json", partial(assessment.model_dump_json, by_alias=True, indent=1)
    for name, manifest in _named(assessment):
        yield name, partial(to_yaml, manifest)


def _manifests(member: Member) -> Iterator[tuple[str, str, str]]:
    for name, manifest in _named(member.told):
        yield name, f"{manifest['kind']} {manifest['metadata']['name']}", to_yaml(manifest)


def _named(assessment: Assessment) -> Iterator[tuple[str, dict[str, Any]]]:
    """The manifests, each with its file in the machine's folder."""
    for number, manifest in enumerate(assessment.manifests):
        yield f"manifests/{number:02}-{_file_name(manifest)}.yaml", manifest


def _unlisted(out: Path, pages: Mapping[str, Text]) -> frozenset[str]:
    """What an earlier version, which kept no list, has left beside the manifests that are written now."""
    folders = {(out / name).parent for name in pages if PurePosixPath(name).parent.name == "manifests"}
    return frozenset(path.relative_to(out).as_posix() for folder in folders for path in folder.glob("*.yaml"))


def _file_name(manifest: dict[str, object]) -> str:
    metadata = manifest.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return re.sub(r"[^a-z0-9.-]+", "-", f"{manifest.get('kind', 'object')}-{name}".lower())
