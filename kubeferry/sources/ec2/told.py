"""What was asked of EC2 about one instance, before anybody reads it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Told:
    """What was asked about one instance. What was not asked, or not answered, is empty or None: unknown.

    `kind` is its instance type, `volumes`, `subnets` and `groups` are by id, `addresses` its elastic ones. `members`
    says how many interfaces are in a group, by its id, as far as that was asked. `user_data` says whether there is any,
    `console` what it printed.
    """

    instance: dict[str, object]
    region: str | None = None
    account: str | None = None
    kind: dict[str, object] | None = None
    image: dict[str, object] | None = None
    volumes: dict[str, dict[str, object]] = field(default_factory=dict)
    subnets: dict[str, dict[str, object]] = field(default_factory=dict)
    groups: dict[str, dict[str, object]] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)
    addresses: tuple[dict[str, object], ...] = ()
    user_data: bool | None = None
    console: str | None = None
