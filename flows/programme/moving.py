"""The flows that move: precopy, rehearse, cutover, commit, rollback. Each shows the run of this process, or begins one
here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort

from flows.following import Following
from flows.moves import Wanted
from flows.programme.approving import asked_first
from flows.programme.here import carried_out
from flows.programme.naming import run_name
from flows.programme.showing import called_off_before
from flows.struck import without_secrets
from kubeferry.errors import InputInvalid, Problem
from kubeferry.life.action_kinds import Goal


@flow(name="precopy", flow_run_name=run_name("precopy", "plan", "wave", "app"), persist_result=False)
def precopy(
    plan: str,
    config: str | None = None,
    digest: str | None = None,
    wave: str | None = None,
    app: str | None = None,
    machines: list[str] | None = None,
) -> State[Any]:
    """Copy running machines ahead: one round of what changed since the last one. Nothing stops any of them.

    For machines that the policy moves `warm`; others are left alone. `plan` is the name or digest of one that the
    journal holds, `digest` what it has to have; `wave`, `app` and `machines` narrow it; `config` is the configuration's
    path on the worker, which else is the one that KUBEFERRY_CONFIG names.
    """
    return carried_out(Goal.PRECOPY, _wanted(plan, config, digest, wave, app, machines))


@flow(name="cutover", flow_run_name=run_name("cutover", "plan", "wave", "app"), persist_result=False)
def cutover(
    plan: str,
    config: str | None = None,
    digest: str | None = None,
    wave: str | None = None,
    app: str | None = None,
    machines: list[str] | None = None,
    again: bool = False,
    out_of_order: str | None = None,
) -> State[Any]:
    """Do what a plan says, and prove it: what `kubeferry migrate` does. A run of the same goes on after any failure.

    **Sources are stopped.** A machine waits for those that it comes after, and goes back where its copy does not pass.
    What nobody has approved, where the plan asks for that, is asked for first: the run is suspended, with a form.
    Cancel stops at a safe point: who is in the midst of a cutover goes back, or is committed where it is proven.
    `again` takes up machines that were rolled back. `out_of_order` is the name of the person who says that the
    `machines` named move now, whatever they wait for; the journal has it. The others are as in `precopy`.
    """
    if out_of_order and not machines:
        problem = Problem("out_of_order", "no machine is named", "Name those to move in `machines`.")
        raise InputInvalid("everything out of order is no order", [problem])
    goal = Goal.MIGRATE_AGAIN if again else Goal.MIGRATE
    wanted = _wanted(plan, config, digest, wave, app, machines)
    if ended := asked_first(goal, wanted):
        return ended
    return carried_out(goal, wanted, out_of_order=out_of_order or "")


@flow(name="rollback", flow_run_name=run_name("rollback", "plan", "wave", "app"), persist_result=False)
def rollback(
    plan: str,
    config: str | None = None,
    digest: str | None = None,
    wave: str | None = None,
    app: str | None = None,
    machines: list[str] | None = None,
) -> State[Any]:
    """Stop the copies of machines and run their sources again.

    A wave, an app or machines have to be named. What the copies have written since they were started is lost.
    The parameters are as in `precopy`.
    """
    if not (wave or app or machines):
        problem = Problem(f"plan {plan}", "nothing of it is named", "Name a wave, an app or machines.")
        raise InputInvalid("everything goes back only by name", [problem])
    return carried_out(Goal.ROLLBACK, _wanted(plan, config, digest, wave, app, machines))


@flow(name="rehearse", flow_run_name=run_name("rehearse", "plan", "wave", "app"), persist_result=False)
def rehearse(
    plan: str,
    config: str | None = None,
    digest: str | None = None,
    wave: str | None = None,
    app: str | None = None,
    machines: list[str] | None = None,
) -> State[Any]:
    """Start a copy of what was copied ahead, isolated, ask the plan's probes, and remove all of it again.

    Over a throw-away layer of the copied disks, while the machines run on at their source. The parameters are as in
    `precopy`.
    """
    return carried_out(Goal.REHEARSE, _wanted(plan, config, digest, wave, app, machines))


@flow(name="commit", flow_run_name=run_name("commit", "plan", "wave", "app"), persist_result=False)
def commit(
    plan: str,
    config: str | None = None,
    digest: str | None = None,
    wave: str | None = None,
    app: str | None = None,
    machines: list[str] | None = None,
    by: str | None = None,
) -> State[Any]:
    """Say that machines which are watched have moved for good. Their probes are asked once more before.

    `by` is the name of the person who says so: whoever started this run claims it, and the journal has it as a claim.
    The other parameters are as in `precopy`.
    """
    return carried_out(
        Goal.COMMIT, _wanted(plan, config, digest, wave, app, machines), by=f"{by or 'nobody'} (claimed)"
    )


def show(run: Following) -> None:
    """Show a terminal's run from its beginning to its end, by the flow that it is. Raises what Prefect's client makes
    of a server that went away."""
    goal, plan = run.run.goal, run.run.plan
    since = datetime.now(UTC)
    others: dict[Goal, Flow[..., State[Any]]] = {
        Goal.PRECOPY: precopy,
        Goal.ROLLBACK: rollback,
        Goal.COMMIT: commit,
        Goal.REHEARSE: rehearse,
    }
    call = others.get(goal, cutover)
    more: dict[str, Any] = {"again": True} if goal is Goal.MIGRATE_AGAIN else {}
    try:
        call(
            plan=without_secrets(plan.name),
            config=without_secrets(str(run.config.resolve())),
            digest=plan.digest,
            machines=[without_secrets(name) for name in run.machines],
            return_state=True,
            **more,
        )
    except Abort as error:
        if not called_off_before(str(call.name), plan.digest, since):
            raise RuntimeError(f"Prefect does not let it begin: {error}") from error
        run.cancel()


def _wanted(
    plan: str,
    config: str | None,
    digest: str | None,
    wave: str | None,
    app: str | None,
    machines: list[str] | None,
) -> Wanted:
    return Wanted(plan, config or "", digest or "", wave or "", app or "", tuple(machines or ()))
