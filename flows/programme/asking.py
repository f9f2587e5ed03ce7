"""The flows that ask and decide: discover, assess, plan. What each finds stands in the journal for the next one, and on
pages in Prefect for people. None of them changes a source or a target."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

from prefect import flow

from flows.assessing import offer_of, write_assessments
from flows.inventories import as_one
from flows.programme.artifacts import Shelf, artifact_key, page, plan_key
from flows.programme.kept import FILES, given, keep, settings_of
from flows.programme.naming import run_name
from flows.programme.texts import plain, plan_page
from flows.struck import strike_logs, struck_errors
from kubeferry.config import pick_source
from kubeferry.documents import Config, Inventory, Plan, Policy
from kubeferry.documents.assessment import Assessment
from kubeferry.journal import Journal
from kubeferry.outside.clock import now
from kubeferry.steps import discover as asked
from kubeferry.words import counted
from mappings import assessment as assessing
from mappings.assessment import render_assessment_markdown, render_summary_markdown
from mappings.plan import make_plan


@flow(name="discover", flow_run_name=run_name("discover", "source"), persist_result=False)
def discover(source: str | None = None, config: str | None = None) -> Inventory:
    """Ask a source about its machines, and keep the inventory in the journal.

    Nothing is changed at the source. `source` is one of the configuration's, or an estate of several, and not needed
    where there is one only; `config` is the configuration's path on the worker, which else is the one that
    KUBEFERRY_CONFIG names.
    """
    strike_logs()
    with struck_errors():
        settings = settings_of(config)
        name = pick_source(settings, source)
        inventory = asked.discover(settings, name)
        keep(settings, name, inventory)
    about = f"{counted(len(inventory.machines), 'machine')} of {inventory.source}"
    Shelf().table(artifact_key("inventory", name), _machines(inventory), about)
    return inventory


@flow(name="assess", flow_run_name=run_name("assess", "inventory"), persist_result=False)
def assess(
    inventory: str | list[str], policy: str | None = None, out: str | None = None, config: str | None = None
) -> tuple[Assessment, ...]:
    """Say what would happen to each machine of an inventory: a page for each, for the owner of its app.

    Touches neither source nor target, but asks the configuration's target what there is to choose from. `inventory` and
    `policy` are names or digests of documents that the journal keeps, or files; several inventories are taken as one of
    an estate, and without a policy its defaults count.
    `out` is a folder of the worker's for pages and manifests.
    """
    strike_logs()
    shelf = Shelf()
    with struck_errors():
        named = _several(inventory)
        settings = settings_of(config) if config or not all(one.endswith(FILES) for one in named) else None
        facts = _facts(named, settings)
        choices = given(Policy, policy, settings) if policy else Policy()
        offer = offer_of(Path(config) if config else None)
        write = partial(write_assessments, out=Path(out)) if out else assessing.assess
        found = write(facts, choices, offer=offer)
    pages = {one.name: artifact_key("assess", facts.source, one.name) for one in found}
    for one in found:
        shelf.markdown(pages[one.name], render_assessment_markdown(one), f"{one.name}: {one.verdict}")
    links = "\n".join(f"- [{one.name}]({page(pages[one.name])}): {one.verdict}" for one in found)
    summary = f"{render_summary_markdown(found)}\n\n## Pages\n\n{links}\n"
    shelf.markdown(artifact_key("assess", facts.source), summary, f"{counted(len(found), 'machine')} of {facts.source}")
    return found


@flow(name="plan", flow_run_name=run_name("plan", "inventory"), persist_result=False)
def plan(
    inventory: str | list[str], policy: str | None = None, name: str | None = None, config: str | None = None
) -> dict[str, object]:
    """Decide everything about the machines of an inventory, and keep the plan in the journal for review.

    Nothing is moved by it: `kubeferry deploy --plan DIGEST` makes the deployments that do. `inventory` and `policy` are
    names or digests of documents that the journal keeps, or files, and several inventories are taken as one of an
    estate; `name` is the plan's, else that of the inventory's source or estate.
    """
    strike_logs()
    with struck_errors():
        settings = settings_of(config)
        facts = _facts(_several(inventory), settings)
        choices = given(Policy, policy, settings) if policy else Policy()
        offer = offer_of(Path(config) if config else None)
        made = make_plan(facts, choices, name=name or facts.source, created_at=now("seconds"), offer=offer)
        with contextlib.closing(Journal.open(settings.journal)) as journal:
            journal.keep_plan(made)
    Shelf().markdown(plan_key("plan", made.digest), plan_page(made), f"{made.name}: {_amount(made)}")
    return {"plan": made.name, "digest": made.digest, "machines": len(made.entries), "excluded": made.excluded}


def _amount(made: Plan) -> str:
    return f"{counted(len(made.entries), 'machine')} in {counted(len(made.waves), 'wave')}"


def _machines(inventory: Inventory) -> list[dict[str, object]]:
    return [
        {
            "machine": plain(machine.name),
            "power": machine.power.value,
            "firmware": machine.firmware.kind.value,
            "vCPU": machine.cpu.vcpus,
            "memory MiB": machine.memory.size_bytes >> 20,
            "disks": len(machine.data_disks),
            "NICs": len(machine.nics),
        }
        for machine in inventory.machines
    ]


def _several(inventory: str | list[str]) -> list[str]:
    return [inventory] if isinstance(inventory, str) else inventory


def _facts(named: list[str], settings: Config | None) -> Inventory:
    """The inventory of these, which are as one."""
    return as_one({one: given(Inventory, one, settings) for one in named}, settings)
