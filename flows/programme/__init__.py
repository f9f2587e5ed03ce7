"""The flows of a programme, at module level, with parameters in words: an operator's page, a schedule and a worker run
the very ones that the command line runs.

    asking     discover, assess, plan: each leaves in the journal what the next one takes
    moving     precopy, rehearse, cutover, commit, rollback: they show the run of this process, or begin one (`here`)
    handing    the machines of a run, handed out to other workers;  taking: machine, which is such a one
    approving  what a cutover asks a person before it begins;  forms: the form that it shows; pure
    waiting    runs that wait for an approval, and those that need not any more
    closing    release, report;  caring: caretake
    showing    a run as flows, from what is told of it;  machines: one machine as a subflow, its steps as tasks
    endings    how a run and a machine ended, as the name of a state;  rows: the table of a wave; both pure
    texts      pages about a machine and a run, as Markdown; pure
    artifacts  where those stand in Prefect: one a wave and run, updated in place
    kept       documents from the journal, or from a file;  naming: what runs are called

The keys of artifacts hold the plan's digest, so that no plan writes over another one's.
"""

from __future__ import annotations

FLOWS: dict[str, str] = {
    "discover": "flows.programme.asking.discover",
    "assess": "flows.programme.asking.assess",
    "plan": "flows.programme.asking.plan",
    "precopy": "flows.programme.moving.precopy",
    "rehearse": "flows.programme.moving.rehearse",
    "cutover": "flows.programme.moving.cutover",
    "machine": "flows.programme.taking.machine",
    "commit": "flows.programme.moving.commit",
    "rollback": "flows.programme.moving.rollback",
    "release": "flows.programme.closing.release",
    "report": "flows.programme.closing.report",
    "caretake": "flows.programme.caring.caretake",
}
"""Where each flow that can be deployed is found."""


def verb_of(goal: str) -> str:
    """The flow that takes machines to a goal."""
    return "cutover" if goal.startswith("migrate") else goal
