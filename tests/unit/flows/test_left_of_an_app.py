"""An app that is rehearsed together, and moves one by one: what becomes of those that are left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.journal import Journal
from tests.clocks import Clock
from tests.unit.flows.nights import Night

POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
mode: warm
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
apps: {shop: {members: [db, web], order: [[db], [web]], rehearsal: {together: true}}}
"""


@pytest.fixture
def app(kubeferry: Callable[..., tuple[int, str, str]], estate: Path, no_server: None) -> Night:
    return Night(kubeferry, estate, ("db", "web"), POLICY)


def ok(night: Night, *arguments: str) -> Any:
    code, out, err = night.kubeferry(*arguments)
    assert code == 0, out + err
    return out + err


def test_the_last_machine_of_an_app_is_rehearsed_by_itself_and_may_move(app: Night, clock: Clock) -> None:
    app.planned("rehearsal: {required: true, maxAgeSeconds: 600}\n")
    ok(app, "precopy", "plan.yaml", "--rehearse")
    ok(app, "migrate", "plan.yaml", "-m", "db")
    clock.ahead += 3600
    code, _out, err = app.kubeferry("migrate", "plan.yaml", "-m", "web")
    assert (code, "kubeferry rehearse" in err) == (2, True)
    ok(app, "precopy", "plan.yaml", "-m", "web")
    assert "together" not in ok(app, "rehearse", "plan.yaml", "-m", "web", "--dry-run")
    assert "db too" not in ok(app, "rehearse", "plan.yaml", "-m", "web")
    newest = app.state.rehearsal
    assert newest is not None
    assert newest.together == ()
    ok(app, "migrate", "plan.yaml", "-m", "web")


def test_two_that_are_left_of_three_are_rehearsed_together_and_nobody_asks_the_app(
    kubeferry: Callable[..., tuple[int, str, str]], estate: Path, no_server: None
) -> None:
    members = "members: [db, cache, web], probes: [{kind: agent, machine: web}]"
    order = "order: [[db], [cache], [web]]"
    app = Night(
        kubeferry,
        estate,
        ("db", "cache", "web"),
        POLICY.replace("members: [db, web]", members).replace("order: [[db], [web]]", order),
    )
    ok(app, "precopy", "plan.yaml")
    ok(app, "migrate", "plan.yaml", "-m", "db")
    told = ok(app, "rehearse", "plan.yaml")
    assert "not rehearsed: it is committed" in told, told
    for name in ("cache", "web"):
        newest = app.state_of(name).rehearsal
        assert newest is not None
        assert (newest.together, newest.app_observed) == (("cache", "web"), None)
        assert app.state_of(name).rehearsed is not None
    assert app.state_of("db").rehearsal is None


def test_nightly_rounds_of_what_is_left_of_an_app_do_not_fail_each_night(app: Night) -> None:
    app.planned("rehearsal: {eachRound: true}\n")
    ok(app, "precopy", "plan.yaml")
    ok(app, "migrate", "plan.yaml", "-m", "db")
    told = ok(app, "precopy", "plan.yaml")
    assert "not rehearsed: db has moved, and `kubeferry rehearse` takes what is left of app shop" in told, told


def test_one_that_somebody_has_in_hand_costs_the_others_no_round(app: Night) -> None:
    app.planned("rehearsal: {eachRound: true}\n")
    with Journal.open(app.config.journal) as journal:
        journal.keep_plan(app.plan)
        with journal.lease(app.plan.digest, "web"):
            code, out, err = app.kubeferry("precopy", "plan.yaml")
    assert (code, "not rehearsed: web was not copied" in out + err) == (2, True), out + err
    assert [len(app.state_of(name).rounds) for name in app.names] == [1, 0]
