"""Hooks of a policy, as a plan has them: the last word counts, an app's are run by one of its machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kubeferry.documents import (
    AppPolicy,
    Hook,
    HookPhase,
    Inventory,
    MachinePolicy,
    Match,
    Plan,
    PlannedHook,
    Policy,
    PolicyRule,
)
from kubeferry.documents.plan import content_of, is_whole
from lab.machines import a_disk, a_machine
from mappings.plan import make_plan

P = HookPhase


def hook(phase: HookPhase, name: str = "one", **more: Any) -> Hook:
    return Hook(name=name, on=phase, **({"kind": "command", "argv": ("true",)} | more))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    return path


def planned(image: Path, policy: Policy, *names: str) -> Plan:
    machines = tuple(a_machine(name, a_disk(image)) for name in names)
    inventory = Inventory(source="lab", source_kind="memory", observed_at="", machines=machines)
    return make_plan(inventory, policy, name="estate", created_at="")


def whose(plan: Plan) -> dict[str, list[str]]:
    return {
        entry.name: [f"{one.on} {'app ' if one.of_app else ''}{one.name}" for one in entry.hooks or ()]
        for entry in plan.entries
    }


def test_the_last_word_counts_and_a_plan_without_any_says_nothing(image: Path) -> None:
    policy = Policy(
        hooks=(hook(P.BEFORE_STOP, "all"),),
        rules=(PolicyRule(match=Match(name="db*"), hooks=(hook(P.AFTER_STOP, "rule"),)),),
        machines={"web": MachinePolicy(hooks=())},
    )
    assert whose(planned(image, policy, "crm", "db", "web")) == {
        "crm": ["before-stop all"],
        "db": ["after-stop rule"],
        "web": [],
    }
    plain = planned(image, Policy(), "web")
    assert "hooks" not in content_of(plain.entries[0])
    assert is_whole(plain)


def test_an_app_that_moves_as_one_has_each_hook_once_where_its_phase_begins_or_ends(image: Path) -> None:
    app = AppPolicy(
        members=("*",), order=(("db*",), ("web*",)), together=True, hooks=tuple(hook(phase, "app") for phase in P)
    )
    policy = Policy(
        apps={"shop": app}, machines={"web1": MachinePolicy(hooks=(hook(P.BEFORE_STOP), hook(P.AFTER_START)))}
    )
    assert whose(planned(image, policy, "db1", "db2", "web1", "web2")) == {
        "db1": [],
        "db2": ["after-stop app app"],
        "web1": ["before-stop app app", "before-stop one", "after-start one"],
        "web2": ["after-start app app", "after-commit app app", "after-rollback app app"],
    }


def test_machines_of_an_app_that_move_alone_have_its_hooks_each_beside_their_own(image: Path) -> None:
    app = AppPolicy(members=("*",), hooks=(hook(P.BEFORE_STOP), hook(P.AFTER_COMMIT)))
    policy = Policy(apps={"shop": app}, hooks=(hook(P.BEFORE_STOP), hook(P.AFTER_COMMIT)))
    found = whose(planned(image, policy, "db", "web"))
    assert found["db"] == found["web"]
    assert found["db"] == ["before-stop app one", "before-stop one", "after-commit one", "after-commit app one"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "command"}, "needs argv"),
        ({"kind": "http"}, "needs either url, or urlEnv"),
        ({"kind": "http", "url": "https://lb.example", "urlEnv": "LB"}, "needs either url, or urlEnv"),
        ({"kind": "http", "url": "http://lb.example"}, "is not encrypted"),
        ({"kind": "http", "url": "https://u:p@lb.example"}, "carries a login"),
        ({"kind": "http", "url": "https://lb.example/?token=abcdef"}, "carries a secret"),
        ({"kind": "http", "url": "https://lb.example", "headersEnv": {"Host": "X"}}, "is set by kubeferry"),
        ({"kind": "http", "url": "https://lb.example", "argv": ["x"]}, "has no argv"),
        ({"kind": "command", "argv": ["x"], "tokenEnv": "T"}, "has no token_env"),
        ({"kind": "guest", "argv": ["x"], "on": "after-stop"}, "no system runs"),
        ({"kind": "command", "argv": ["x"], "timeoutSeconds": 0}, "greater than 0"),
    ],
)
def test_what_means_nothing_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Hook.model_validate({"name": "x", "on": "before-stop"} | given)


def test_two_of_one_name_and_phase_are_refused() -> None:
    twice = (hook(P.AFTER_STOP), hook(P.AFTER_STOP))
    for make in (lambda: Policy(hooks=twice), lambda: MachinePolicy(hooks=twice), lambda: AppPolicy(hooks=twice)):
        with pytest.raises(ValidationError, match="two hooks after-stop are called one"):
            make()
    assert PlannedHook(**hook(P.AFTER_STOP).model_dump(), of_app=True).of_app
