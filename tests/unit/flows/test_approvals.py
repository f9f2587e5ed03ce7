"""Approvals from end to end: real keys and signatures of ssh-keygen and an agent, the command line, a real journal."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import asking
from kubeferry.config import read_config
from kubeferry.documents import Approval, Plan, load, text_of
from kubeferry.journal import Journal
from kubeferry.life import tries
from kubeferry.life.approvals import digest_of_text
from kubeferry.life.decisions import Decided, DecisionKind, Known, Scope
from kubeferry.model import Power
from kubeferry.outside import signatures
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget
from tests.api_server import ACCOUNT, USERS, ApiServer, login, serving
from tests.needs import needs
from tests.unit.flows.conftest import running_machines

pytestmark = needs("ssh-keygen", "ssh-agent", "ssh-add")

Command = Callable[..., tuple[int, str, str]]
NAMES = ("alpha", "beta", "gamma")
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
MORE
machines:
  alpha: {wave: wave-1}
  beta: {wave: wave-1}
  gamma: {wave: wave-2}
"""


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Private keys, their public halves beside them."""
    folder = tmp_path_factory.mktemp("keys")
    for name, kind in {"ann": "ed25519", "bob": "ecdsa", "eve": "ed25519"}.items():
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", folder / name], check=True)
    return {name: folder / name for name in ("ann", "bob", "eve")}


def public(key: Path) -> str:
    return key.with_name(f"{key.name}.pub").read_text().strip()


class Estate:
    """Three machines that run, in two waves; ann and bob may approve, by their keys."""

    def __init__(self, kubeferry: Command, folder: Path, keys: dict[str, Path]) -> None:
        self.kubeferry, self.folder, self.keys = kubeferry, folder, keys
        self.source = MemorySource("lab", folder / "source")
        running_machines(self.source, folder, NAMES)
        kubeferry("discover")
        self.planned("{identity: signed}")

    def planned(self, approval: str, approvers: str | None = None, more: str = "") -> None:
        listed = (
            approvers
            or f"[{{name: ann, key: {public(self.keys['ann'])}}}, {{name: bob, key: {public(self.keys['bob'])}}}]"
        )
        text = f"approval: {approval}\napprovers: {listed}\n{more}"
        (self.folder / "policy.yaml").write_text(POLICY.replace("MORE", text))
        (self.folder / "plan.yaml").unlink(missing_ok=True)
        code, _out, err = self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
        assert code == 0, err

    @property
    def plan(self) -> Plan:
        return load(self.folder / "plan.yaml", Plan)

    def journal(self) -> Journal:
        return Journal.open(read_config(self.folder / "kubeferry.yaml").journal)

    def approve(self, *arguments: str) -> tuple[int, str, str]:
        return self.kubeferry("approve", "plan.yaml", *arguments)

    def signed(self, who: str, *arguments: str) -> None:
        code, out, err = self.approve(*(arguments or ("--wave", "wave-1")), "--key", str(self.keys[who]))
        assert code == 0, out + err

    def record(self, text: str, signature: str = "", **more: Any) -> None:
        """Written into the journal past the command line, as somebody with its password can."""
        plan = self.plan
        what = {"kind": DecisionKind.APPROVED, "scope": Scope(machines=NAMES), "by": "ann", "how": Known.SIGNED} | more
        with self.journal() as journal:
            journal.keep_plan(plan)
            journal.decide(plan.digest, Decided(payload={"document": text, "signature": signature}, **what))

    def document(self, **changes: Any) -> Approval:
        """One for alpha, as it is drawn now, with these changes."""
        code, _out, err = self.approve("--request", "request.json", "-m", "alpha")
        assert code == 0, err
        drawn = Approval.model_validate_json((self.folder / "request.json").read_text())
        return drawn.model_copy(update=changes)

    def signature(self, text: str, who: str = "ann", namespace: str = "kubeferry") -> str:
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.keys[who])]
        return subprocess.run(argv, input=text, text=True, capture_output=True, check=True).stdout

    def lacks(self) -> dict[str, str]:
        told = json.loads(self.kubeferry("status", "plan.yaml", "--json")[1].splitlines()[-1])
        lacking: dict[str, str] = told["approval"]["lacks"]
        return lacking

    def off(self) -> set[str]:
        return {one.name for one in self.source.discover().machines if self.source.power(one) is Power.OFF}


@pytest.fixture
def shop(
    kubeferry: Command, estate: Path, no_server: None, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Estate:
    monkeypatch.setattr(tries, "DELAYS_SECONDS", [])
    return Estate(kubeferry, estate, keys)


# --- the straight way --------------------------------------------------------------------------------------------


def test_a_wave_that_is_not_approved_is_held_back_and_moves_once_it_is(shop: Estate) -> None:
    code, out, err = shop.kubeferry("migrate", "plan.yaml")
    assert code == 2
    assert "nothing was begun: these machines are not approved" in err
    assert f"`kubeferry approve --plan {shop.plan.digest[:12]} --wave wave-1 --key KEY`" in err
    assert "total: 3 machines (3 not begun, 3 held back)" in out
    assert shop.off() == set()
    shop.signed("ann")
    code, out, _err = shop.kubeferry("migrate", "plan.yaml")
    assert code == 2
    assert shop.off() == {"alpha", "beta"}
    assert "it is held back: it is not approved: the plan asks for one approval, signed" in out
    with shop.journal() as journal:
        kinds = [str(one.event.kind) for one in journal.events(shop.plan.digest, "alpha")]
        approved = next(one.event for one in journal.events(shop.plan.digest, "alpha") if one.event.kind == "approved")
        decision = journal.decisions(shop.plan.digest)[0]
    assert kinds[:3] == ["planned", "approved", "cutover-begun"]
    assert (approved.by, approved.decisions) == ("ann (signed)", (decision.digest,))  # type: ignore[union-attr]
    assert "signed with SHA256:" in approved.note  # type: ignore[union-attr]


def test_status_names_what_is_waited_for_and_the_exact_command(shop: Estate) -> None:
    out = shop.kubeferry("status", "plan.yaml")[1]
    assert "held back: it is not approved: the plan asks for one approval, signed" in out
    typed = re.findall(r"`(kubeferry approve .*?)`", out)
    assert typed == [f"kubeferry approve plan.yaml --wave wave-{n} --key KEY" for n in (1, 2)]
    words = [str(shop.keys["bob"]) if word == "KEY" else word for word in typed[1].split()[1:]]
    assert shop.kubeferry(*words)[0] == 0
    out = shop.kubeferry("status", "plan.yaml")[1]
    assert re.search(r"approved by bob \(signed with SHA256:\S+\) 20\S+Z: wave wave-2, until 20", out)
    assert "--wave wave-2" not in out


def test_what_is_shown_is_what_is_signed(shop: Estate) -> None:
    code, out, _err = shop.approve("--wave", "wave-1", "--key", str(shop.keys["ann"]), "--dry-run")
    assert code == 0
    assert re.search(r"alpha +default/alpha +after its stop +not known +[0-9a-f]{12}", out)
    with shop.journal() as journal:
        assert journal.decided_plans() == []
    told = json.loads(shop.approve("--wave", "wave-1", "--key", str(shop.keys["ann"]), "--json")[1].splitlines()[-1])
    assert (told["by"], told["how"], told["machines"], told["lacks"]) == ("ann", "signed", ["alpha", "beta"], {})
    with shop.journal() as journal:
        approval = Approval.model_validate_json(journal.decisions(shop.plan.digest)[0].payload["document"])
    assert (approval.plan, approval.wave) == (shop.plan.digest, "wave-1")
    dry = json.loads(shop.kubeferry("migrate", "plan.yaml", "--dry-run", "--json")[1].splitlines()[-1])
    assert {one["machine"]: one["digest"] for one in dry if one["machine"] != "gamma"} == {
        one.name: one.dry_run for one in approval.machines
    }


def test_the_dry_run_s_digest_is_the_same_each_time_and_after_rounds(shop: Estate) -> None:
    shop.planned("{identity: signed}", more="mode: warm\n")

    def digests() -> list[str]:
        told = json.loads(shop.kubeferry("migrate", "plan.yaml", "--dry-run", "--json")[1].splitlines()[-1])
        return [one["digest"] for one in told]

    before = digests()
    assert len(set(before)) == 3
    waiting = shop.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--dry-run")[1]
    assert re.search("held back: .*approv", waiting)
    assert "downtime projected: " in waiting  # what is approved is seen before it is
    assert shop.kubeferry("precopy", "plan.yaml")[0] == 0, "copying ahead needs no approval"
    assert digests() == before
    out = shop.approve("-m", "alpha", "--key", str(shop.keys["ann"]))[1]
    assert re.search(r"alpha +default/alpha +\d+ s ago", out)
    assert shop.kubeferry("precopy", "plan.yaml")[0] == 0
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0
    assert shop.off() == {"alpha"}


def test_a_key_in_an_agent_signs_by_its_public_half(
    shop: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "only.pub"
    alone.write_text(public(shop.keys["bob"]))
    code, _out, err = shop.approve("--wave", "wave-1", "--key", str(alone))
    assert code == 2
    assert "nothing was signed" in err
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(shop.keys["bob"])], check=True, capture_output=True)
        code, out, err = shop.approve("--wave", "wave-1", "--key", str(alone))
    finally:
        agent.terminate()
        agent.communicate()
    assert code == 0, err
    assert "2 machines approved by bob (signed with SHA256:" in out


def test_a_key_with_a_passphrase_is_never_asked_for_on_a_command_line(shop: Estate, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked], check=True)
    shop.planned("{identity: signed}", f"[{{name: ann, key: {public(locked)}}}]")
    asks = tmp_path / "asks"
    asks.write_text("#!/bin/sh\necho secret\n")
    asks.chmod(0o700)
    os.environ.pop("SSH_AUTH_SOCK", None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSH_ASKPASS", str(asks))
        patched.setenv("SSH_ASKPASS_REQUIRE", "force")
        assert shop.approve("-m", "alpha", "--key", str(locked))[0] == 0


def test_it_is_signed_elsewhere_and_brought_back(shop: Estate) -> None:
    code, out, _err = shop.approve("--wave", "wave-1", "--request", "request.json")
    assert code == 0
    assert "ssh-keygen -Y sign -n kubeferry -f KEY request.json" in out
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "kubeferry", "-f", str(shop.keys["bob"]), "request.json"]
    subprocess.run(argv, cwd=shop.folder, check=True, capture_output=True)
    code, out, err = shop.approve("--signature", "request.json.sig")
    assert code == 0, err
    assert "2 machines approved by bob" in out
    assert set(shop.lacks()) == {"gamma"}


def test_four_eyes_are_those_of_two_persons(shop: Estate, tmp_path: Path) -> None:
    second = tmp_path / "second"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", second], check=True)
    ann = f"{{name: ann, keys: [{public(shop.keys['ann'])}, {public(second)}], roles: [owner]}}"
    bob = f"{{name: bob, key: {public(shop.keys['bob'])}}}"
    shop.planned("{identity: signed, count: 2, roles: [owner]}", f"[{ann}, {bob}]")
    shop.signed("ann")
    out = shop.approve("--wave", "wave-1", "--key", str(second))[1]
    assert "not enough yet for alpha, beta" in out
    assert "and 1 is there (ann)" in out
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 2
    shop.signed("bob")
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0


def test_who_is_asked_as_owner_has_to_be_among_them(shop: Estate) -> None:
    ann = f"{{name: ann, key: {public(shop.keys['ann'])}, roles: [owner]}}"
    shop.planned("{identity: signed, roles: [owner]}", f"[{ann}, {{name: bob, key: {public(shop.keys['bob'])}}}]")
    shop.signed("bob")
    assert "nobody who is asked as owner is among them" in shop.lacks()["alpha"]
    shop.signed("ann")
    assert "alpha" not in shop.lacks()


def test_an_allowed_signers_file_in_the_policy_says_who_may(shop: Estate) -> None:
    lines = f'ann {public(shop.keys["ann"])}\n  bob namespaces="kubeferry" {public(shop.keys["bob"])}\n'
    shop.planned("{identity: signed}", f"|\n  {lines}")
    assert [one.name for one in shop.plan.approval.approvers] == ["ann", "bob"]  # type: ignore[union-attr]
    shop.signed("bob")
    assert "alpha" not in shop.lacks()


def test_a_name_is_enough_where_the_plan_says_so(shop: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.planned("{identity: claimed, count: 2}", "[{name: ann}, {name: bob}]")
    for who, code in (("ann on one", 0), ("ann on two", 0), ("eve on one", 2)):
        monkeypatch.setattr(asking, "person", lambda who=who: who)
        monkeypatch.setattr("flows.cli.approving.person", lambda who=who: who)
        assert shop.approve("--wave", "wave-1")[0] == code, who
    assert "and 1 is there (ann)" in shop.lacks()["alpha"]
    monkeypatch.setattr("flows.cli.approving.person", lambda: "bob on one")
    assert shop.approve("--wave", "wave-1")[0] == 0
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0


def test_an_approval_that_was_withdrawn_is_none_however_often_it_comes_back(shop: Estate) -> None:
    shop.signed("ann")
    with shop.journal() as journal:
        payload = journal.decisions(shop.plan.digest)[0].payload
    assert shop.approve("--withdraw", "-m", "alpha")[0] == 0
    assert set(shop.lacks()) == {"alpha", "gamma"}
    shop.record(payload["document"], payload["signature"])
    assert "that of ann was withdrawn" in shop.lacks()["alpha"]
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 2
    assert shop.off() == set()
    shop.signed("ann")
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0
    code, _out, err = shop.approve("--withdraw", "-m", "gamma")
    assert code == 2
    assert "none of them has been approved" in err


def test_a_dry_run_takes_nothing_back(shop: Estate) -> None:
    shop.signed("ann")
    for words in (("--withdraw", "-m", "alpha"), ("--revoke", str(shop.keys["ann"].with_name("ann.pub")))):
        for more in ((), ("--json",)):
            code, out, err = shop.approve(*words, "--dry-run", *more)
            assert (code, err) == (0, "")
            assert "would" in out
    with shop.journal() as journal:
        assert len(journal.decisions(shop.plan.digest)) == 1


def test_a_changed_plan_is_approved_anew_and_says_so(shop: Estate) -> None:
    shop.signed("ann")
    old = shop.plan.digest
    shop.planned("{identity: signed}", more="labels: {number: two}\n")
    assert set(shop.lacks()) == set(NAMES)
    out = shop.kubeferry("status", "plan.yaml")[1]
    assert "of wave wave-1 by ann (signed) of 20" in out
    assert f"is of plan lab ({old[:12]}), not of this one ({shop.plan.digest[:12]}): it is void here" in out
    assert shop.kubeferry("migrate", "plan.yaml")[0] == 2


def test_out_of_order_is_no_way_around_an_approval(shop: Estate) -> None:
    code, _out, err = shop.kubeferry("migrate", "plan.yaml", "-m", "alpha", "--out-of-order")
    assert code == 2
    assert "these machines are not approved" in err
    assert shop.off() == set()


def test_a_plan_that_asks_for_none_has_nothing_to_approve(shop: Estate) -> None:
    (shop.folder / "policy.yaml").write_text(POLICY.replace("MORE", ""))
    (shop.folder / "plan.yaml").unlink()
    shop.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
    assert shop.plan.approval is None
    code, _out, err = shop.approve("--wave", "wave-1")
    assert code == 2
    assert "there is nothing to approve" in err
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name what is meant"),
        (("--wave", "wave-1"), "Name your key"),
        (("--wave", "wave-3", "--key", "KEY"), "the plan has no such wave"),
        (("--app", "shop", "--key", "KEY"), "the plan has no such app"),
        (("-m", "nobody", "--key", "KEY"), "these machines are not meant"),
        (("--wave", "wave-2", "-m", "alpha", "--key", "KEY"), "these machines are not meant"),
        (("--wave", "wave-1", "--key", "KEY", "--as", "claimed"), "Say one of them"),
        (("--wave", "wave-1", "--token-file", "KEY"), "A token is for one document"),
        (("--signature", "nothing.sig"), "a file cannot be read"),
        (("--revoke", "plan.yaml"), "the key cannot be revoked"),
        (("--wave", "wave-1", "--as", "claimed"), "is claimed, and the plan asks for one approval, signed"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_recorded(
    shop: Estate, arguments: tuple[str, ...], said: str
) -> None:
    words = [str(shop.keys["ann"]) if word == "KEY" and arguments[-1] != "claimed" else word for word in arguments]
    if arguments == ():
        words = ["--key", str(shop.keys["ann"])]
    code, _out, err = shop.approve(*words)
    assert code == 2
    assert said in err
    with shop.journal() as journal:
        assert journal.decisions(shop.plan.digest) == []


# --- users of Kubernetes -----------------------------------------------------------------------------------------


@pytest.fixture
def cluster(shop: Estate) -> Iterator[ApiServer]:
    with serving() as server:
        shop.planned(
            "{identity: kubernetes}",
            "[{name: ann, users: [ann@example.org]}, {name: robot, users: ['ACCOUNT']}]".replace("ACCOUNT", ACCOUNT),
        )
        yield server


def test_a_login_at_a_cluster_says_who_approves(
    shop: Estate, cluster: ApiServer, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = shop.approve("--wave", "wave-1", "--kubeconfig", str(login(shop.folder, cluster, "ann-s")))
    assert code == 0, err
    place = cluster.url.removeprefix("http://")
    assert f"2 machines approved by ann (user ann@example.org of {place}, as its API server said then)" in out
    assert set(shop.lacks()) == {"gamma"}
    with shop.journal() as journal:
        (decision,) = journal.decisions(shop.plan.digest)
    assert (decision.how, decision.payload["review"]) == (Known.KUBERNETES, "self")
    document = digest_of_text(decision.payload["document"])
    assert [document in path for path, _body in cluster.asked] == [False, True], "the log has it once it was said yes"
    monkeypatch.setenv("KUBECONFIG", str(login(shop.folder, cluster, "pipeline-s")))
    code, _out, err = shop.approve("--wave", "wave-2")
    assert code == 2
    assert "it is by no approver of the plan" in err
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0
    assert shop.kubeferry("report", "plan.yaml")[0] == 0
    (told,) = json.loads((shop.folder / "report.json").read_text())["decisions"]
    assert told["proof"].endswith("this rests on the word of who wrote the journal")


def test_a_service_account_s_token_is_reviewed_by_the_pipeline_s_own_account(shop: Estate, cluster: ApiServer) -> None:
    config = shop.folder / "kubeferry.yaml"
    before, pipeline = config.read_text(), login(shop.folder, cluster, "pipeline-s")
    config.write_text(before.replace("kind: memory, path: target", f"kind: kubevirt, kubeconfig: {pipeline}"))
    for may in (False, True):
        cluster.may_review = may
        code, _out, err = shop.approve(
            "--wave", "wave-1", "--kubeconfig", str(login(shop.folder, cluster, "account-s"))
        )
        assert code == 0, err
    with shop.journal() as journal:
        reviews = [one.payload["review"] for one in journal.decisions(shop.plan.digest)]
    assert reviews == ["self", "token"]


def test_a_token_that_somebody_hands_over_is_for_one_document(shop: Estate, cluster: ApiServer) -> None:
    config = shop.folder / "kubeferry.yaml"
    pipeline = login(shop.folder, cluster, "pipeline-s")
    config.write_text(
        config.read_text().replace("kind: memory, path: target", f"kind: kubevirt, kubeconfig: {pipeline}")
    )
    told = json.loads(shop.approve("--wave", "wave-1", "--request", "request.json", "--json")[1].splitlines()[-1])
    cluster.made["handed"] = (USERS["ann-s"], [told["audience"]])
    (shop.folder / "token").write_text("handed\n")
    words = ("--document", "request.json", "--token-file", "token")
    assert shop.approve(*words)[0] == 0
    assert set(shop.lacks()) == {"gamma"}
    shop.approve("--wave", "wave-2", "--request", "request.json")
    code, _out, err = shop.approve(*words)
    assert code == 2
    assert "the token is not good for this approval" in err
    assert set(shop.lacks()) == {"gamma"}
    with shop.journal() as journal:
        assert "handed" not in json.dumps([one.payload for one in journal.decisions(shop.plan.digest)])


# --- hostile -----------------------------------------------------------------------------------------------------


def test_a_signature_for_something_else_is_none(shop: Estate) -> None:
    text = text_of(shop.document())
    shop.record(text, shop.signature(text, namespace="git"))
    assert "that of ann has a signature that is not good" in shop.lacks()["alpha"]


def test_an_edited_document_is_not_what_was_signed(shop: Estate) -> None:
    document = shop.document()
    signature = shop.signature(text_of(document))
    wider = document.model_copy(
        update={"machines": (*document.machines, document.machines[0].model_copy(update={"name": "gamma"}))}
    )
    shop.record(text_of(wider), signature)
    assert "has a signature that is not good" in shop.lacks()["gamma"]
    shop.record(text_of(document).rstrip(), signature)
    assert "alpha" in shop.lacks(), "not by a byte"
    shop.record(text_of(document), signature)
    assert set(shop.lacks()) == {"beta", "gamma"}


def test_a_key_of_nobody_s_approves_nothing(shop: Estate) -> None:
    text = text_of(shop.document())
    shop.record(text, shop.signature(text, "eve"), by="ann")
    assert "which is no approver's key" in shop.lacks()["alpha"]
    code, _out, err = shop.approve("--wave", "wave-1", "--key", str(shop.keys["eve"]))
    assert code == 2
    assert "no approver's of the plan. Name one of: ann (SHA256:" in err


def test_another_s_signature_does_not_speak_for_one(shop: Estate) -> None:
    """Bob's signature under a decision by ann is bob's: persons are counted by their keys."""
    shop.planned("{identity: signed, count: 2}")
    text = text_of(shop.document())
    for who in ("ann", "bob"):
        shop.record(text, shop.signature(text, "bob"), by=who)
    assert "and 1 is there (bob)" in shop.lacks()["alpha"]


def test_a_signature_of_another_plan_is_none_of_this_one(shop: Estate) -> None:
    text = text_of(shop.document(plan="0" * 64))
    shop.record(text, shop.signature(text))
    assert "that of ann is of another plan (000000000000)" in shop.lacks()["alpha"]
    (shop.folder / "other.json").write_text(text)
    (shop.folder / "other.json.sig").write_text(shop.signature(text))
    code, _out, err = shop.approve("--signature", "other.json.sig")
    assert code == 2
    assert "the document is of another plan" in err


def test_a_key_that_was_revoked_since_approves_nothing_any_more(shop: Estate) -> None:
    shop.signed("ann")
    assert "alpha" not in shop.lacks()
    assert shop.approve("--revoke", str(shop.keys["ann"].with_name("ann.pub")))[0] == 0
    assert "which was revoked" in shop.lacks()["alpha"]
    code, _out, err = shop.approve("--wave", "wave-1", "--key", str(shop.keys["ann"]))
    assert code == 2
    assert "which was revoked" in err


def test_who_may_approve_some_machines_approves_no_others(shop: Estate) -> None:
    ann = f"{{name: ann, key: {public(shop.keys['ann'])}, machines: [al*]}}"
    shop.planned("{identity: signed}", f"[{ann}, {{name: bob, key: {public(shop.keys['bob'])}}}]")
    out = shop.approve("--wave", "wave-1", "--key", str(shop.keys["ann"]))[1]
    assert "left out, for others to approve: beta" in out
    assert set(shop.lacks()) == {"beta", "gamma"}
    text = text_of(shop.document(machines=(shop.document().machines[0].model_copy(update={"name": "beta"}),)))
    shop.record(text, shop.signature(text))
    assert "that of ann is by somebody who may not approve this machine" in shop.lacks()["beta"]
    code, _out, err = shop.approve("--wave", "wave-2", "--key", str(shop.keys["ann"]))
    assert code == 2
    assert "ann may approve none of gamma" in err


def test_the_same_approval_again_is_one(shop: Estate) -> None:
    shop.planned("{identity: signed, count: 2}")
    shop.signed("ann")
    with shop.journal() as journal:
        payload = journal.decisions(shop.plan.digest)[0].payload
    for by in ("ann", "bob"):
        shop.record(payload["document"], payload["signature"], by=by)
    assert "and 1 is there (ann)" in shop.lacks()["alpha"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"at": "2025-01-01T00:00:00Z", "expires": "2025-01-02T00:00:00Z"}, "that of ann ran out 2025-01-02"),
        ({"at": "2099-01-01T00:00:00Z", "expires": "2099-01-02T00:00:00Z"}, "a clock is wrong"),
        ({"expires": "2099-01-02T00:00:00Z"}, "longer than the plan lets it"),
    ],
)
def test_an_approval_has_its_time(shop: Estate, changes: dict[str, str], said: str) -> None:
    text = text_of(shop.document(**changes))
    shop.record(text, shop.signature(text))
    assert said in shop.lacks()["alpha"]
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 2


def test_what_would_be_done_otherwise_than_it_was_shown_is_not_approved(
    shop: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.signed("ann")
    capable = dataclasses.replace(MemoryTarget.capabilities, keeps_running=True)
    monkeypatch.setattr(MemoryTarget, "capabilities", capable)
    code, out, _err = shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")
    assert code == 2
    assert "that of ann is of a dry run that said something else" in out
    assert shop.off() == set()
    shop.signed("ann")
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"kind": "Approval"}', "[1, 2]", "\udcff"])
def test_a_document_that_is_none_counts_for_nothing(shop: Estate, text: str) -> None:
    shop.record(text.encode(errors="replace").decode(), "nonsense")
    assert "cannot be read" in shop.kubeferry("status", "plan.yaml")[1]
    assert set(shop.lacks()) == set(NAMES)
    assert shop.kubeferry("report", "plan.yaml")[0] == 0


def test_nobody_verified_is_not_good(shop: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ssh-keygen nothing moves, and the report says that nothing was verified."""
    shop.signed("ann")
    signatures.wrong_with.cache_clear()
    monkeypatch.setenv("PATH", str(shop.folder))
    code, _out, err = shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")
    assert code == 2
    assert "openssh-client" in err
    assert shop.kubeferry("report", "plan.yaml")[0] == 0
    assert "nobody has verified it" in (shop.folder / "report.md").read_text()


# --- the report --------------------------------------------------------------------------------------------------


@pytest.fixture
def reported(shop: Estate) -> Callable[[], dict[str, Any]]:
    def write() -> dict[str, Any]:
        assert shop.kubeferry("report", "plan.yaml")[0] == 0
        told: dict[str, Any] = json.loads((shop.folder / "report.json").read_text())
        return told

    return write


def test_the_report_says_who_approved_how_that_is_known_and_what_they_saw(
    shop: Estate, reported: Callable[[], dict[str, Any]]
) -> None:
    shop.signed("ann")
    assert shop.kubeferry("migrate", "plan.yaml", "-m", "alpha")[0] == 0
    (one,) = reported()["decisions"]
    assert (one["by"], one["how"], one["what"], one["counts"]) == ("ann", "signed", "approved", True)
    assert re.match(r"signed with SHA256:\S+; the signature was verified again for this report", one["proof"])
    assert one["about"] == "wave wave-1 (alpha and beta)"
    assert one["shown"][1].startswith("alpha: not copied yet, dry run ")
    page = (shop.folder / "report.html").read_text()
    assert "What people decided" in page
    assert "the signature was verified again for this report" in page
    assert "approved by ann (signed)" in page


def test_the_report_does_not_believe_a_forged_signature(shop: Estate, reported: Callable[[], dict[str, Any]]) -> None:
    text = text_of(shop.document())
    shop.record(text, shop.signature(text, namespace="git"))
    (one,) = reported()["decisions"]
    assert one["counts"] is False
    assert "counts for nothing: it has a signature that is not good" in one["proof"]
