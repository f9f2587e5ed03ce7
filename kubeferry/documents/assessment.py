"""Assessment: what would become of one machine, told before anything moves. Predictions are ranges with what they rest
on; what nobody knows yet is None, and nothing stands in for it."""

from __future__ import annotations

from typing import Any, Literal

import yaml

from kubeferry.documents import AttachedDisk, Hook, PlannedDisk, Probe
from kubeferry.documents.triage import Triage
from kubeferry.documents.yaml_text import to_yaml
from kubeferry.model import Bytes, Carried, Concern, Power, Seconds, Severity, Value

Verdict = Literal["ready", "ready-with-warnings", "incomplete", "blocked", "excluded"]

SIZE_UNKNOWN = "disk.size-unknown"
UNSIZED = frozenset({SIZE_UNKNOWN, "disk.untold"})
"""The concerns of disks of which nobody knows the size: they are in no manifest yet."""


class CopyEstimate(Value):
    """A range, never a point, and what it rests on. Without the disks of which nobody knows the size."""

    low_bytes: Bytes
    high_bytes: Bytes
    low_seconds: Seconds
    high_seconds: Seconds
    assumptions: tuple[str, ...]


class ExpectedDowntime(Value):
    """How long nobody answers, as far as that can be said before the first copy: `none` for a machine that is off,
    `whole-copy` for one that is stopped before it is copied, `last-delta` for one that is copied while it runs.

    Seconds are of the part that is known, None where none is; `why` says what that part is, and what comes on top.
    """

    kind: Literal["none", "whole-copy", "last-delta"]
    low_seconds: Seconds | None = None
    high_seconds: Seconds | None = None
    why: str


class Card(Value):
    """One network card and where it is plugged in at the target: `network` is empty where it is not there, and `why`
    says why. `mac` is the address that it has at the source, `keeps_mac` whether it has it there, too."""

    card: str
    source: str
    model: str | None = None
    mac: str | None = None
    network: str = ""
    joined: str = ""
    becomes: str = ""
    keeps_mac: bool = False
    why: str = ""


class Answer(Value):
    """One way to settle something: what it means, and the lines of the policy that say it. Words in `fill` stand for
    what only a person knows, and are to be replaced."""

    means: str
    policy: str
    fill: tuple[str, ...] = ()


ACCEPT = "accept it"
"""What the answer means that settles a concern by accepting it."""


class OpenDecision(Value):
    """A concern that nobody has settled, all that it says of the machine, and the ways to settle it by policy; none
    where only the source can."""

    id: str
    severity: Severity
    what: tuple[str, ...]
    fix: str
    answers: tuple[Answer, ...] = ()


def policy_lines(said: dict[str, Any]) -> str:
    """A piece of a policy as it is written. Names that could turn a line round, or hide in it, are spelled out."""
    text = to_yaml(said)
    shown = all(line.isprintable() for line in text.split("\n"))
    return text if shown else str(yaml.safe_dump(said, sort_keys=False, width=110))


class Assessment(Value):
    """One machine as it would arrive. `manifests` are what a plan would hold, a draft if it is blocked; `decided` says
    which rule of the policy made which choice, `chosen` what that is, `made_for` which KubeVirt the manifests are for
    and who said so. `decisions` are what is open; what was accepted, and what is only good to know, is in `concerns`.

    `app` is the one that it belongs to, `owner` who answers for it, `wave` the one that the policy gives it, and
    `after` are all machines that it waits for; `moves_with` those that it shares disks with. `window` is the one that
    it is stopped in, None for any time, and `budget_seconds` how long it may be down, None for no bound: by the policy,
    whether or not a plan takes the machine. `triage`: where it fits, as far as facts say.
    """

    name: str
    target_name: str
    namespace: str
    verdict: Verdict
    run_strategy: str
    manifests: tuple[dict[str, Any], ...]
    disks: tuple[PlannedDisk, ...]
    attached: tuple[AttachedDisk, ...] = ()
    carried: tuple[Carried, ...]
    concerns: tuple[Concern, ...]
    estimate: CopyEstimate
    decided: dict[str, str] = {}
    chosen: dict[str, Any] = {}
    made_for: str = ""
    app: str | None = None
    owner: str | None = None
    wave: str | None = None
    window: str | None = None
    budget_seconds: Seconds | None = None
    after: tuple[str, ...] = ()
    moves_with: tuple[str, ...] = ()
    power: Power = Power.UNKNOWN
    mode: Literal["cold", "warm"] = "cold"
    downtime: ExpectedDowntime | None = None
    cards: tuple[Card, ...] = ()
    probes: tuple[Probe, ...] = ()
    hooks: tuple[Hook, ...] = ()
    forced: bool = False
    decisions: tuple[OpenDecision, ...] = ()
    triage: Triage | None = None

    @property
    def unsized(self) -> int:
        """How many disks are of unknown size: they are in no manifest yet."""
        return sum(concern.id in UNSIZED for concern in self.concerns)
