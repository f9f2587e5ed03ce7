"""Who may approve that machines are cut over, as policy and plan say it; and what a person approves, as a document that
is signed."""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from kubeferry.documents.base import canonical_json, content_of
from kubeferry.documents.signers import public_key, signers_in
from kubeferry.shapes import Document, Value

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}$")]
Role = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]

DAY = 86400


class Approver(Value):
    """A person who may approve: by `keys` of OpenSSH (the lines of .pub files), as one of Kubernetes' `users`, or by
    the name that somebody claims. `groups` of Kubernetes let in each of their users, who count by their own names.

    Only for `apps` and `machines` (patterns of the shell) where some are said: what fits either. `roles` are what the
    person is asked as.
    """

    name: Name
    keys: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_key(cls, given: Any) -> Any:
        """`key` for one that has one."""
        if isinstance(given, dict) and "key" in given and "keys" not in given:
            return {**{name: value for name, value in given.items() if name != "key"}, "keys": [given["key"]]}
        return given

    @field_validator("keys")
    @classmethod
    def _whole_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(public_key(key) for key in keys)

    def may(self, machine: str, app: str = "") -> bool:
        """Whether this machine, which belongs to this app, is one to approve."""
        if not self.apps and not self.machines:
            return True
        return any(fnmatchcase(app, one) for one in self.apps if app) or any(
            fnmatchcase(machine, one) for one in self.machines
        )


def approvers_of(given: Any) -> Any:
    """A list of approvers, where an ALLOWED SIGNERS file (ssh-keygen(1)) stands for one, or its lines among others."""
    listed = given.splitlines() if isinstance(given, str) else given
    if not isinstance(listed, list | tuple):
        return given
    found: list[Any] = []
    for one in listed:
        found += [{"name": name, "keys": [key]} for name, key in signers_in(one)] if isinstance(one, str) else [one]
    return _by_name(found)


def _by_name(given: list[Any]) -> list[Any]:
    """Lines of one person are one person."""
    found: dict[str, Any] = {}
    rest: list[Any] = []
    for one in given:
        plain = isinstance(one, dict) and set(one) == {"name", "keys"} and isinstance(one["keys"], list)
        if plain and one["name"] in found:
            known = found[one["name"]]
            known["keys"] = [*known["keys"], *one["keys"]]
        elif plain:
            found[one["name"]] = dict(one)
            rest.append(found[one["name"]])
        else:
            rest.append(one)
    return rest


class ApprovalPolicy(Value):
    """That machines are cut over only once persons have approved it, and how those are known.

    `claimed`: by a name that somebody says is his. `signed`: by a signature with a key of the approver's. `kubernetes`:
    by credentials that an API server has named. `count`: so many different persons. `roles`: each of these is among
    what they are asked as. An approval counts for `expires_seconds`.
    """

    identity: Literal["claimed", "signed", "kubernetes"] = "claimed"
    count: Annotated[int, Field(ge=1, le=10)] = 1
    roles: tuple[Role, ...] = ()
    expires_seconds: Annotated[int, Field(ge=60, le=365 * DAY)] = 7 * DAY


def one_person_each(approvers: tuple[Approver, ...]) -> tuple[Approver, ...]:
    """The approvers. Raises ValueError where two of them have one name, key or user: four eyes would be two."""
    for what in ("name", "keys", "users"):
        seen: dict[str, str] = {}
        for approver in approvers:
            said = getattr(approver, what)
            for one in (said,) if isinstance(said, str) else said:
                if one in seen:
                    whose = f"{seen[one]} and {approver.name}" if seen[one] != approver.name else approver.name
                    raise ValueError(f"{one} stands for two approvers ({whose}): each is one person")
                seen[one] = approver.name
    return approvers


Approvers = Annotated[tuple[Approver, ...], BeforeValidator(approvers_of), AfterValidator(one_person_each)]


class PlannedApproval(ApprovalPolicy):
    """The same with those who may, frozen in a plan: its digest covers them."""

    approvers: Approvers = ()

    def owner(self, key: str) -> Approver | None:
        """Whose key it is, `KIND BASE64`."""
        return next((one for one in self.approvers if key in one.keys), None)

    def named(self, name: str) -> Approver | None:
        """The approver of this name."""
        return next((one for one in self.approvers if one.name == name), None)

    def user(self, name: str, groups: tuple[str, ...]) -> Approver | None:
        """Who a user of Kubernetes is; with no name of its own, as one of a group."""
        named = next((one for one in self.approvers if name in one.users), None)
        if named:
            return named
        group = next((one for one in self.approvers if set(one.groups) & set(groups)), None)
        if group is None:
            return None
        return group.model_copy(update={"name": name})


class ApprovedMachine(Value):
    """One machine as it was shown to who approves: `dry_run` is the digest of what would be done with it, `synced_at`
    when its newest round was durable (empty where it is copied after its stop), `downtime` what was projected."""

    name: str
    dry_run: str
    synced_at: str = ""
    downtime: str = ""


class Approval(Document):
    """What a person approves: these machines of this plan, as shown, from `at` to `expires` (UTC, ISO 8601). Its text
    is canonical JSON and a line end; that text is what is signed."""

    KIND: ClassVar[str] = "Approval"

    kind: Literal["Approval"] = "Approval"
    plan: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    plan_name: str = ""
    wave: str = ""
    app: str = ""
    machines: Annotated[tuple[ApprovedMachine, ...], Field(min_length=1)]
    dry_run: str
    at: str
    expires: str

    @field_validator("at", "expires")
    @classmethod
    def _in_a_zone(cls, at: str) -> str:
        if datetime.fromisoformat(at).tzinfo is None:
            raise ValueError("a time without a zone")
        return at

    @property
    def begins(self) -> datetime:
        return datetime.fromisoformat(self.at)

    @property
    def ends(self) -> datetime:
        return datetime.fromisoformat(self.expires)

    def machine(self, name: str) -> ApprovedMachine | None:
        """The machine as it was shown."""
        return self.by_name.get(name)

    @cached_property
    def by_name(self) -> dict[str, ApprovedMachine]:
        """Its machines: a run asks for one after the other, of thousands."""
        return {one.name: one for one in self.machines}


def text_of(approval: Approval) -> str:
    """What is signed: always the same text for the same approval."""
    return canonical_json(content_of(approval)) + "\n"
