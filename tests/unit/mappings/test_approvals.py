"""Who may approve, as a plan freezes it, and policies that nobody could satisfy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Inventory, Plan, Policy, digest_of, dump, outline, parse
from kubeferry.errors import InputInvalid
from kubeferry.model import Machine
from mappings.plan import make_plan

Build = Callable[..., Machine]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJf8aFpYgFEm4IzJdtQ0rUq9FmFv7nHvbp0dPrEvj5h"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFyIgmC4uqVSyQ+rTsgfQ/Yd0DHUOv4fXqEOTuDR8Qxf"


@pytest.fixture
def plan(machine: Build) -> Callable[..., Plan]:
    def make(**policy: Any) -> Plan:
        facts = Inventory(source="lab", source_kind="libvirt", observed_at="", machines=(machine(name="web"),))
        return make_plan(facts, Policy.model_validate(policy), name="p", created_at="2026-11-24T02:00:00Z")

    return make


def test_a_plan_that_asks_for_no_approval_is_the_plan_that_it_was(plan: Callable[..., Plan]) -> None:
    assert plan().approval is None
    assert "approval" not in dump(plan())


def test_the_digest_covers_who_may_approve_and_how_many_have_to(plan: Callable[..., Plan]) -> None:
    ann, bob = {"name": "ann", "key": KEY}, {"name": "bob", "key": OTHER}
    asked = {"identity": "signed"}
    plans = [
        plan(),
        plan(approval=asked, approvers=[ann]),
        plan(approval=asked, approvers=[ann, bob]),
        plan(approval=asked, approvers=[ann, {**bob, "machines": ["web"]}]),
        plan(approval={**asked, "count": 2}, approvers=[ann, bob]),
        plan(approval={**asked, "expiresSeconds": 60}, approvers=[ann, bob]),
    ]
    assert len({one.digest for one in plans}) == len(plans)
    again = parse(dump(plans[-1]), Plan)
    assert again == plans[-1]
    assert digest_of(again, without=("digest",)) == again.digest
    assert outline(again).approval == again.approval


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"approvers": [{"name": "ann"}]}, "no approval is asked for"),
        ({"approval": {"identity": "signed"}}, "0 approvers with a key are named"),
        ({"approval": {"identity": "signed"}, "approvers": [{"name": "ann"}]}, "0 approvers with a key are named"),
        ({"approval": {"identity": "kubernetes"}, "approvers": [{"name": "ann"}]}, "user or group of Kubernetes are"),
        ({"approval": {"count": 2}, "approvers": [{"name": "ann"}]}, "1 approver is named"),
        ({"approval": {"roles": ["owner"]}}, "as owner, and 0 approvers are named"),
        (
            {"approval": {"roles": ["owner"]}, "approvers": [{"name": "ann", "roles": ["ops"]}]},
            "none is asked as owner",
        ),
    ],
)
def test_what_nobody_could_satisfy_is_refused(plan: Callable[..., Plan], policy: dict[str, Any], said: str) -> None:
    with pytest.raises(InputInvalid, match="the policy does not fit") as caught:
        plan(**policy)
    assert said in str(caught.value)
    assert "`approvers`" in str(caught.value)


def test_machines_that_nobody_may_approve_are_named(plan: Callable[..., Plan]) -> None:
    with pytest.raises(InputInvalid, match="nobody could approve the plan") as caught:
        plan(approval={"identity": "signed"}, approvers=[{"name": "ann", "key": KEY, "machines": ["db*"]}])
    assert "policy approvers of web: of those who may approve, 0 approvers with a key are named" in str(caught.value)


@pytest.mark.parametrize(
    "policy",
    [
        {"approval": {}},
        {"approval": {"count": 2}},
        {"approval": {"identity": "kubernetes", "count": 3}, "approvers": [{"name": "ops", "groups": ["ops"]}]},
        {"approval": {"identity": "signed"}, "approvers": f"ann {KEY}"},
    ],
)
def test_what_can_be_satisfied_is_taken(plan: Callable[..., Plan], policy: dict[str, Any]) -> None:
    assert plan(**policy).approval is not None
