"""Observation: what was seen of a started target machine."""

from __future__ import annotations

from typing import ClassVar, Literal

from kubeferry.inside.said import Said
from kubeferry.model import Seconds, Value
from kubeferry.shapes import Document


class ProbeResult(Value):
    """`evidence` is what was seen, word for word where it is short; `seconds` from the start of the machine."""

    kind: str
    what: str
    ok: bool
    evidence: str = ""
    seconds: Seconds = 0


class Observation(Document):
    """What was seen of a started target machine. Only what was seen.

    `not_shown` lists what the manifest asks for and the place of the proof could not show. `seen` is what the place
    says of the running machine: its node, addresses, claims. `said` is what the system inside said of itself, to be
    compared with what it said at the source. `not_asked` are probes of the plan that cannot be asked there, and why:
    they neither passed nor failed.
    """

    KIND: ClassVar[str] = "Observation"

    kind: Literal["Observation"] = "Observation"
    machine: str
    started_at: str
    where: str
    accelerator: str = ""
    probes: tuple[ProbeResult, ...] = ()
    guest: dict[str, str] = {}
    said: Said | None = None
    seen: dict[str, str] = {}
    screenshot: str | None = None
    console_tail: str = ""
    first_answer_seconds: Seconds | None = None
    first_answer_at: str | None = None
    not_shown: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()
    versions: dict[str, str] = {}

    @property
    def passed(self) -> bool:
        """True when at least one probe ran and all of them passed."""
        return bool(self.probes) and all(probe.ok for probe in self.probes)
