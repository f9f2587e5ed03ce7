"""Which approvals count for which machine: claimed ones, so that nothing but the counting is looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import Approval, ApprovedMachine, Approver, OutlinedEntry, PlannedApproval, text_of
from kubeferry.life.approvals import counting, lacks, seals, votes
from kubeferry.life.decisions import Decided, Decision, DecisionKind, Known, Scope, lifted

PLAN = "a" * 64
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
PERSONS = ("ann", "bob", "cid", "dot")


def entry(name: str) -> OutlinedEntry:
    told = {"name": name, "target_name": name, "namespace": "n", "disks": (), "manifests": ()}
    return OutlinedEntry.model_validate({**told, "machine": {"id": name, "source": "lab"}})


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


def approval(*machines: str, begins: float = 0, ends: float = 60, plan: str = PLAN) -> Approval:
    named = tuple(ApprovedMachine(name=name, dry_run="d") for name in machines)
    return Approval(plan=plan, machines=named, dry_run="d", at=at(begins), expires=at(ends))


def decision(number: int, by: str, given: Approval, *, recorded: float = 0, how: Known = Known.CLAIMED) -> Decision:
    what = Decided(kind=DecisionKind.APPROVED, by=by, how=how, payload={"document": text_of(given)})
    return Decision(PLAN, number, at(recorded), what, f"digest {number}")


def rule(**more: object) -> PlannedApproval:
    return PlannedApproval.model_validate({"expires_seconds": 3600, **more})


@given(st.permutations([(who, number) for who in PERSONS for number in range(2)]), st.integers(1, 5))
def test_persons_are_counted_and_not_approvals_in_whatever_order(said: list[tuple[str, int]], count: int) -> None:
    decisions = [decision(number, who, approval("web")) for number, (who, _) in enumerate(said, start=1)]
    for seen in range(len(said) + 1):
        given_ = votes(rule(count=count), PLAN, decisions[:seen], {})
        persons = {who for who, _ in said[:seen]}
        assert (lacks(rule(count=count), given_, entry("web"), NOON) == "") == (len(persons) >= count)
        assert {vote.person for vote in counting(given_, entry("web"), NOON)} == persons


@given(st.integers(-30, 120), st.integers(0, 60), st.integers(-10, 10))
def test_an_approval_counts_within_its_time_and_not_from_the_future(now: int, length: int, ahead: int) -> None:
    given_ = votes(rule(), PLAN, [decision(1, "ann", approval("web", begins=ahead, ends=ahead + length))], {})
    good = ahead <= 5 and now < ahead + length
    assert (lacks(rule(), given_, entry("web"), NOON + timedelta(minutes=now)) == "") == good


@given(st.lists(st.sampled_from(["a", "b", "c"]), unique=True), st.lists(st.sampled_from(["a", "b", "c"]), unique=True))
def test_each_machine_is_approved_by_who_named_it_and_may(named: list[str], mine: list[str]) -> None:
    asked = rule(approvers=[{"name": "ann", "machines": mine or ["none"]}])
    given_ = votes(asked, PLAN, [decision(1, "ann on host", approval(*named))] if named else [], {})
    approved = {name for name in "abc" if not lacks(asked, given_, entry(name), NOON)}
    assert approved == set(named) & set(mine)


def test_apps_and_machines_of_an_approver_add_up() -> None:
    ann = Approver(name="ann", apps=("shop*",), machines=("db*",))
    assert ann.may("db01", "wiki")
    assert ann.may("web", "shop-eu")
    assert not ann.may("web", "wiki")
    assert not ann.may("web", "")
    assert Approver(name="ann").may("web")


def test_a_signature_that_nobody_verified_is_not_good() -> None:
    asked = rule(identity="signed", approvers=[{"name": "ann"}])
    one = decision(1, "ann", approval("web"), how=Known.SIGNED)
    assert "is not signed" in votes(asked, PLAN, [one], {})[0].void
    assert seals(asked, [one]) == {}


def test_what_is_known_less_well_than_is_asked_for_does_not_count() -> None:
    for identity, how in (("signed", Known.CLAIMED), ("signed", Known.KUBERNETES), ("kubernetes", Known.SIGNED)):
        asked = rule(identity=identity, approvers=[{"name": "ann", "users": ["ann"]}])
        assert "and the plan asks for" in votes(asked, PLAN, [decision(1, "ann", approval("web"), how=how)], {})[0].void


def test_users_of_a_group_are_persons_of_their_own() -> None:
    asked = rule(
        identity="kubernetes",
        count=2,
        approvers=[{"name": "team", "groups": ["ops"]}, {"name": "ann", "users": ["a@x"]}],
    )
    found = []
    for number, (user, groups) in enumerate(
        [("a@x", ["ops"]), ("b@x", ["ops"]), ("b@x", ["ops"]), ("e@x", ["dev"])], 1
    ):
        payload = {"document": text_of(approval("web")), "user": user, "groups": groups, "server": "cluster:6443"}
        what = Decided(kind=DecisionKind.APPROVED, by="whoever", how=Known.KUBERNETES, payload=payload)
        found.append(Decision(PLAN, number, at(0), what, str(number)))
    given_ = votes(asked, PLAN, found, {})
    assert [(one.person, one.void) for one in given_] == [
        *(("ann", ""), ("b@x", ""), ("b@x", "")),
        ("e@x", "is by no approver of the plan"),
    ]
    assert given_[0].proof == "user a@x of cluster:6443, as its API server said then"
    assert lacks(asked, given_, entry("web"), NOON) == ""
    assert "and 1 is there" in lacks(asked, given_[1:3], entry("web"), NOON)


def test_the_newest_lift_of_a_wave_counts() -> None:
    def lift(wave: str, minutes: float) -> Decision:
        return Decision(PLAN, 1, at(minutes), Decided(kind=DecisionKind.STOP_LIFTED, scope=Scope(wave=wave), by="ann"))

    assert lifted([lift("one", 1), lift("two", 2), lift("one", 3)]) == {"one": at(3), "two": at(2)}
