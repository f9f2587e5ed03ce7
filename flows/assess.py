"""The flow `assess`: a dry run per app, each page an artifact that its owner can read in the UI."""

from __future__ import annotations

import hashlib
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.assessing import offer_of, write_assessments
from flows.struck import strike_logs, struck_errors, without_secrets
from kubeferry.documents import Inventory, Policy, load
from kubeferry.documents.assessment import Assessment
from mappings.assessment import render_assessment_markdown


@flow(name="assess", flow_run_name="assess {inventory_path}", persist_result=False)
def assess_flow(
    inventory_path: str, policy_path: str | None, out: str, config_path: str | None = None
) -> tuple[Assessment, ...]:
    """Assess every machine of an inventory. Asks nobody anything, but with a configuration its target for classes."""
    strike_logs()
    with struck_errors():
        policy = load(Path(policy_path), Policy) if policy_path else Policy()
        offer = offer_of(Path(config_path) if config_path else None)
        assessments = write_assessments(load(Path(inventory_path), Inventory), policy, Path(out), offer=offer)
    for assessment in assessments:
        create_markdown_artifact(
            key=artifact_key("assess", assessment.target_name),
            markdown=without_secrets(render_assessment_markdown(assessment)),
            description=without_secrets(f"{assessment.name}: {assessment.verdict}"),
        )
    return assessments


def artifact_key(kind: str, name: str) -> str:
    """A key that Prefect accepts (lower case letters, digits, dashes), stable for the name."""
    plain = name.replace(".", "-")
    return f"{kind}-{plain}" if plain == name else f"{kind}-{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
