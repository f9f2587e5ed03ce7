"""A deployed cutover that nobody has approved, on a real server: its run is suspended, shows a form, and takes no
answer but to what was shown."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.deploying.wanted import WAITS
from kubeferry.model import Power
from tests.runs.test_deployments import Prefect, deployed, in_memory, prefect, working

__all__ = ["deployed", "in_memory", "prefect"]  # fixtures


class Forms(Prefect):
    """The forms of runs, as a browser fills them in."""

    def asked(self, run_id: str, seconds: float = 60) -> str:
        """What the form shows, once the run is suspended."""
        limit = time.monotonic() + seconds
        while (state := self.state(run_id))["name"] != "Suspended":
            assert state["type"] not in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}, state["message"]
            assert time.monotonic() < limit, state["message"]
            time.sleep(0.5)
        while time.monotonic() < limit:
            kept = self.ask(
                f"/flow_runs/{run_id}/input/filter",
                {"prefix": state["state_details"]["run_input_keyset"]["description"]},
            )
            if kept:
                return str(json.loads(kept[0]["value"]))
            time.sleep(0.3)
        raise AssertionError("it has no form")

    def answer(self, run_id: str, **answer: Any) -> Any:
        """What the button *Submit* does."""
        return self.ask(f"/flow_runs/{run_id}/resume", {"run_input": answer})


@pytest.fixture
def forms(server: str) -> Forms:
    return Forms(server)


def decisions(small: Any, plan: Any) -> list[tuple[str, str, str]]:
    with small.journal() as journal:
        return [(str(one.kind), one.by.partition(" on ")[0], str(one.how)) for one in journal.decisions(plan.digest)]


def told_that_it_waits(forms: Forms, run_id: str) -> bool:
    """Whether the run has said itself that it is suspended, with the tag that the automation looks for."""
    of_run = {"any_resource": {"id": [f"prefect.flow-run.{run_id}"]}, "event": {"name": [WAITS]}}
    limit = time.monotonic() + 20
    while not (found := forms.ask("/events/filter", {"filter": of_run})["events"]) and time.monotonic() < limit:
        time.sleep(0.3)
    return any("prefect.tag.journal:" in one["prefect.resource.id"] for event in found for one in event["related"])


@pytest.mark.timeout(300)
def test_a_cutover_asks_and_an_answer_is_for_what_was_shown(in_memory: Any, deployed: Any, forms: Forms) -> None:
    """The form itself is filled in by a browser in `test_days`; here is what is wrong with answers."""
    in_memory.policy(approval={"identity": "claimed"}, approvers=[{"name": "ann"}, {"name": "bob"}])
    plan = deployed("--policy", "policy.yaml")
    with working(forms.url, in_memory.folder, "kubeferry"):
        moving = forms.start("cutover/lab")
        assert "- **db**: planned, copied after its stop; downtime not known; at any time" in forms.asked(moving)
        until = datetime.fromisoformat(forms.state(moving)["state_details"]["pause_timeout"])
        assert until > datetime.now(UTC) + timedelta(days=6), "nobody answers within an hour"
        assert told_that_it_waits(forms, moving), "who looks for dead runs would call it one"
        assert forms.answer(moving, decision="approve")["status"] == "REJECT", "a name is missing"
        assert forms.answer(moving, name="eve", decision="approve")["status"] == "REJECT", "she may not"
        assert forms.answer(moving, name="ann", decision="yes")["status"] == "REJECT"
        second = forms.end(forms.start("cutover/lab", machines=["db"]))
        assert (second["name"], moving in second["message"]) == ("Held", True), "it is asked for once"
        in_memory.policy(approval={"identity": "claimed"}, approvers=[{"name": "ann"}])
        changed = deployed("--policy", "policy.yaml")
        forms.answer(moving, name="ann", decision="approve")
        state = forms.end(moving)
        assert (state["type"], state["name"]) == ("CANCELLED", "Void")
        assert f"plan lab was changed since, and is {changed.digest[:12]} now" in state["message"]
        assert decisions(in_memory, plan) == decisions(in_memory, changed) == []
    assert [in_memory.power(name) for name in ("db", "web")] == [Power.RUNNING, Power.RUNNING]
