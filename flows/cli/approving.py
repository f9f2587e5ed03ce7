"""The verb with which a person approves that machines are cut over: approve."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.asking import confirm, person, yes_option
from flows.cli.logs import logged
from flows.cli.options import (
    FILE,
    config_option,
    dry_run_option,
    json_option,
    machine_option,
    opened,
    plan_named,
    scope_of,
)
from flows.cli.outlook import outlooks
from flows.cli.output import print_json, print_table
from flows.cli.resuming import let_go_on
from kubeferry.documents import Approver, Config, Plan
from kubeferry.documents.signers import NAMESPACE, fingerprint, public_key
from kubeferry.errors import InputInvalid, Problem, TargetRefused
from kubeferry.journal import Journal
from kubeferry.life.approvals import Vote, asked_for
from kubeferry.life.decisions import Known, Scope
from kubeferry.life.states import fold
from kubeferry.outside import atomic, signatures
from kubeferry.steps import approving
from kubeferry.steps.approvals import unapproved
from kubeferry.steps.approving import Request
from kubeferry.words import counted, first_of, plain

if TYPE_CHECKING:  # the Kubernetes client takes its time
    from kubeferry.targets.kubevirt.api import Cluster
    from kubeferry.targets.kubevirt.identity import User

NAMED = 5
SMALL = 64 * 1024  # characters of a signature, a key or a token


@dataclass(frozen=True, slots=True)
class Way:
    """How it is to be known who approves."""

    how: Known
    key: Path | None = None
    kubeconfig: str | None = None
    context: str | None = None
    token: Path | None = None


@click.command()
@plan_named
@config_option
@click.option("--wave", help="The machines of this wave.")
@click.option("--app", help="The machines of this app.")
@machine_option
@click.option("--key", type=FILE, help="Sign with this private key, or with the .pub file of one that an agent has.")
@click.option(
    "--as",
    "how",
    type=click.Choice([str(one) for one in Known]),
    help="How it is known who approves; as the plan asks for, by default.",
)
@click.option("--kubeconfig", help="Your own login at a cluster, for --as kubernetes; KUBECONFIG or ~/.kube/config.")
@click.option("--context", help="The kubeconfig's context.")
@click.option("--token-file", type=FILE, help="A token of yours that was made for this approval alone.")
@click.option("--request", type=FILE, help="Write what is to be signed to this file, to sign it elsewhere.")
@click.option("--signature", type=FILE, help="FILE.sig of a FILE that --request wrote: approve what was signed.")
@click.option("--document", type=FILE, help="The file that --request wrote; by default the signature's, without .sig.")
@click.option("--withdraw", is_flag=True, help="Take back every approval of these machines.")
@click.option("--revoke", type=FILE, help="What was signed with this public key counts no more for the plan.")
@yes_option
@dry_run_option
@json_option
@logged
def approve(plan: Path | None, named: str | None, config: Path | None, **said: Any) -> None:
    """Approve that machines are cut over, by your signature, login or name; shows first what that is.

    What is approved are machines of this very plan, as they are shown: a changed plan is approved anew. Without --key
    it is signed elsewhere: --request FILE, `ssh-keygen -Y sign -n kubeferry -f KEY FILE` there, --signature FILE.sig.
    """
    frozen, settings, _ = opened(plan, named, config)
    approving.rule_of(frozen)
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        if not said["dry_run"]:
            journal.keep_plan(frozen)
        if said["revoke"]:
            _revoke(frozen, journal, said)
        elif said["withdraw"]:
            _withdraw(frozen, journal, scope_of(frozen, said["wave"], said["app"], said["machines"]), said)
        elif said["signature"]:
            _approve_signed(frozen, journal, said)
        elif said["request"]:
            _request(frozen, settings, journal, said)
        else:
            _approve(frozen, settings, journal, said)
        resumed = [] if said["dry_run"] else let_go_on(settings, journal)
        if not said["as_json"]:
            for name in resumed:
                click.echo(plain(f"{name} goes on in Prefect"))


def _approve_signed(plan: Plan, journal: Journal, said: dict[str, Any]) -> None:
    """By what was signed elsewhere."""
    document = said["document"] or Path(str(said["signature"]).removesuffix(".sig"))
    request = approving.brought(plan, _read(document, approving.LONGEST))
    signature = _read(said["signature"], SMALL)
    _ask(plan, journal, request, said)
    _tell(plan, journal, approving.signed(plan, journal, request, signature), said)


def _approve(plan: Plan, settings: Config, journal: Journal, said: dict[str, Any]) -> None:
    way = _way(plan, said)
    scope = Scope() if way.token else scope_of(plan, said["wave"], said["app"], said["machines"])
    if way.how is Known.KUBERNETES:
        _by_user(plan, settings, journal, scope, way, said)
        return
    who, approver = _approver(plan, way)
    request = _drawn(plan, settings, journal, scope, approver)
    _ask(plan, journal, request, said, who)
    if way.key:
        vote = approving.signed(plan, journal, request, signatures.sign(request.text, way.key, NAMESPACE))
    else:
        vote = approving.claimed(plan, journal, request, who)
    _tell(plan, journal, vote, said)


def _way(plan: Plan, said: dict[str, Any]) -> Way:
    """How it is to be known who approves. Raises UsageError where what that takes is not named."""
    cluster = said["kubeconfig"] or said["context"] or said["token_file"]
    by_option = Known.SIGNED if said["key"] else Known.KUBERNETES if cluster else approving.rule_of(plan).identity
    how = Known(said["how"] or by_option)
    if how is Known.SIGNED and not said["key"]:
        raise click.UsageError(
            "Name your key with --key FILE, or the .pub file of one that an agent has; or write what is to be signed "
            "with --request FILE."
        )
    if said["token_file"] and not said["document"]:
        raise click.UsageError("A token is for one document: name it with --document FILE; --request FILE writes it.")
    if (said["key"] and how is not Known.SIGNED) or (cluster and how is not Known.KUBERNETES):
        raise click.UsageError(f"Say one of them: --as {how}, or the options of another way.")
    return Way(how, said["key"], said["kubeconfig"], said["context"], said["token_file"])


def _approver(plan: Plan, way: Way) -> tuple[str, Approver | None]:
    """Who will approve, as far as that can be told before: of a key without its public half beside it only after."""
    rule = approving.rule_of(plan)
    if way.key is None:
        return person(), rule.named(person().partition(" on ")[0])
    key = _public(way.key)
    approver = rule.owner(key) if key else None
    if key and approver is None:
        what = f"it is {fingerprint(key)}, and no approver's of the plan"
        known = ", ".join(f"{one.name} ({fingerprint(each)})" for one in rule.approvers for each in one.keys)
        fix = f"Name one of: {known or 'none has a key'}."
        raise InputInvalid("nothing was signed", [Problem(f"--key {way.key}", what, fix)])
    return (approver.name if approver else f"the owner of {way.key}"), approver


def _public(key: Path) -> str:
    """The public half of a key, from its own file or from the one beside it; empty where there is none."""
    for path in (key, key.with_name(f"{key.name}.pub")):
        with contextlib.suppress(OSError, UnicodeDecodeError, ValueError):
            if path.stat().st_size <= SMALL:
                return public_key(path.read_text())
    return ""


def _by_user(plan: Plan, settings: Config, journal: Journal, scope: Scope, way: Way, said: dict[str, Any]) -> None:
    """By what an API server says: of the person's own login, or of a token that was handed over."""
    from kubeferry.targets.kubevirt import identity
    from kubeferry.targets.kubevirt.api import connect

    if way.token is None:
        with contextlib.closing(connect(way.kubeconfig, way.context)) as cluster:
            user = identity.myself(cluster)
            approver = approving.rule_of(plan).user(user.name, user.groups)
            request = _drawn(plan, settings, journal, scope, approver)
            _ask(plan, journal, request, said, user.name)
            # Asked once more, since it was said yes: what the API server's log holds is what was approved.
            user = _with_token(settings, cluster, identity.myself(cluster, request.digest), request)
    else:
        request = approving.brought(plan, _read(said["document"], approving.LONGEST))
        with contextlib.closing(connect(settings.target.kubeconfig, settings.target.context)) as reviewer:
            user = identity.of_token(reviewer, _read(way.token, SMALL), request.digest)
        _ask(plan, journal, request, said, user.name)
    _tell(plan, journal, approving.by_user(plan, journal, request, user), said)


def _with_token(settings: Config, cluster: Cluster, user: User, request: Request) -> User:
    """A service account proves it with a token for this document, too, where our own account may have it reviewed."""
    from kubeferry.targets.kubevirt import identity
    from kubeferry.targets.kubevirt.api import connect

    if settings.target.kind != "kubevirt":
        return user
    with contextlib.suppress(TargetRefused):
        if token := identity.token_for(cluster, user, request.digest):
            with contextlib.closing(connect(settings.target.kubeconfig, settings.target.context)) as reviewer:
                return identity.of_token(reviewer, token, request.digest)
    return user


def _drawn(plan: Plan, settings: Config, journal: Journal, scope: Scope, approver: Approver | None = None) -> Request:
    """The document, with all that can be shown of its machines."""
    histories = journal.histories(plan.digest)
    ahead = outlooks(plan, journal, histories, {name: fold(records) for name, records in histories.items()})
    projected = {name: one.projected.told() for name, one in ahead.items() if one.projected.is_known}
    return approving.drawn(plan, settings, journal, scope, approver, approving.Shown(projected))


def _request(plan: Plan, settings: Config, journal: Journal, said: dict[str, Any]) -> None:
    """Write the document that is to be signed elsewhere, and say how."""
    from kubeferry.targets.kubevirt.identity import audience_of

    scope, path = scope_of(plan, said["wave"], said["app"], said["machines"]), said["request"]
    request = _drawn(plan, settings, journal, scope)
    _show(plan, journal, request, said)
    if said["dry_run"]:
        return
    atomic.replace_text(path, request.text)
    audience = audience_of(request.digest)
    if said["as_json"]:
        print_json({"document": str(path), "digest": request.digest, "audience": audience, **_facts(request)})
        return
    click.echo(f"written to {path}; to sign it, anywhere:")
    click.echo(f"  ssh-keygen -Y sign -n {NAMESPACE} -f KEY {path}")
    click.echo(f"and back here: kubeferry approve --plan {plan.digest[:12]} --signature {path}.sig")
    click.echo(f"A token of Kubernetes for it has the audience {audience}: --document {path} --token-file TOKEN")


# --- taken back ------------------------------------------------------------------------------------------------------


def _withdraw(plan: Plan, journal: Journal, scope: Scope, said: dict[str, Any]) -> None:
    who, names = person(), first_of(scope.machines, NAMED)
    _sure(f"{who}: withdraw every approval of {names}", said)
    decision = approving.withdraw(plan, journal, scope.machines, who)
    if said["as_json"]:
        print_json({"withdrawn": list(scope.machines), "by": who, "at": decision.at})
        return
    click.echo(plain(f"withdrawn by {who}: the approvals of {names}. What was asked to stop already goes on."))


def _revoke(plan: Plan, journal: Journal, said: dict[str, Any]) -> None:
    key, who = _read(said["revoke"], SMALL), person()
    _sure(f"{who}: let nothing count that the key in {said['revoke']} has signed for this plan", said)
    decision = approving.revoke(plan, journal, key, who)
    told = str(decision.payload["fingerprint"])
    if said["as_json"]:
        print_json({"revoked": told, "by": who, "at": decision.at})
        return
    click.echo(plain(f"{told} is revoked by {who}: what it has signed counts no more for plan {plan.name}"))


def _sure(question: str, said: dict[str, Any]) -> None:
    """Ask; or, where only that was wanted, say what would be done, and end the verb with 0."""
    if said["dry_run"]:
        if said["as_json"]:
            print_json({"dryRun": True, "would": question})
        else:
            click.echo(plain(f"would be done: {question}"))
        raise click.exceptions.Exit(0)
    confirm(question, yes=said["yes"])


# --- what is shown and asked ------------------------------------------------------------------------------------


def _ask(plan: Plan, journal: Journal, request: Request, said: dict[str, Any], who: str = "") -> None:
    """Show what is approved, and ask. Ends the verb with 0 where only that was wanted."""
    _show(plan, journal, request, said)
    if said["dry_run"]:
        if said["as_json"]:
            print_json({"dryRun": True, **_facts(request)})
        raise click.exceptions.Exit(0)
    many = counted(len(request.approval.machines), "machine")
    confirm(f"{who and who + ': '}approve that {many} may be cut over", yes=said["yes"])


def _show(plan: Plan, journal: Journal, request: Request, said: dict[str, Any]) -> None:
    """What is approved, for a person."""
    if said["as_json"]:
        return
    approval, now = request.approval, datetime.fromisoformat(journal.time())
    click.secho(plain(f"plan {plan.name} ({plan.digest[:12]}): {request.scope}"), bold=True)
    click.echo(
        plain(f"it asks for {asked_for(approving.rule_of(plan))}; this approval counts until {approval.expires}")
    )
    rows = []
    for one in approval.machines:
        entry = plan.entry(one.name)
        target = f"{entry.namespace}/{entry.target_name}"
        rows.append(
            (
                one.name,
                target,
                approving.copied(one.synced_at, entry.mode, now),
                one.downtime or "not known",
                one.dry_run[:12],
            )
        )
    print_table(("machine", "target", "copied", "downtime", "dry run"), rows)
    click.echo(f"dry run of all: {approval.dry_run} (`kubeferry migrate --dry-run` lists its steps)")
    if request.left_out:
        click.secho(plain(f"left out, for others to approve: {first_of(request.left_out, NAMED)}"), fg="yellow")


def _tell(plan: Plan, journal: Journal, vote: Vote, said: dict[str, Any]) -> None:
    """What was recorded, and what is lacking still."""
    approval = vote.approval
    names = tuple(one.name for one in approval.machines) if approval else ()
    lacking = {name: why for name, why in unapproved(plan, journal, names).items() if why}
    if said["as_json"]:
        told = {"by": vote.person, "how": str(vote.decision.how), "proof": vote.proof, "at": vote.decision.at}
        print_json({"machines": list(names), **told, "expires": approval and approval.expires, "lacks": lacking})
        return
    click.secho(plain(f"{counted(len(names), 'machine')} approved by {vote.person} ({vote.proof})"), fg="green")
    for why, whose in _by_reason(lacking.items()):
        click.secho(plain(f"not enough yet for {first_of(whose, NAMED)}: {why}"), fg="yellow")


def _by_reason(lacking: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name, why in lacking:
        found.setdefault(why, []).append(name)
    return list(found.items())


def _facts(request: Request) -> dict[str, Any]:
    content: dict[str, Any] = request.approval.model_dump(mode="json", by_alias=True)
    return {"approval": content, "leftOut": list(request.left_out)}


def _read(path: Path, most: int) -> str:
    """A small file that somebody names. Raises InputInvalid."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            text = stream.read(most + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputInvalid("a file cannot be read", [Problem(str(path), reason, "Check the path.")]) from error
    if len(text) > most:
        raise InputInvalid("a file is too large", [Problem(str(path), f"it has over {most} signs", "Check the path.")])
    return text
