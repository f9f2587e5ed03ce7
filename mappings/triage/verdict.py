"""The place that signs come to: where any speaks for staying it stays, where one speaks for a container and none for a
VM it is a candidate for that; everything else moves as it is."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.documents.triage import Place, Reason, Triage
from kubeferry.model import Machine
from mappings.choices import Choices
from mappings.traffic import Traffic
from mappings.triage.sandbox import sandbox_of
from mappings.triage.services import services
from mappings.triage.signs import SIGNS, linux, role

_AS_IT_IS = "Nothing that is known speaks for another place: it moves as it is."
_ORDER: tuple[Place, ...] = ("stay", "vm", "container")


def triage(machine: Machine, choices: Choices, traffic: Traffic) -> Triage:
    """Where the machine fits, each reason from a fact of the inventory."""
    reasons = tuple(
        Reason(id=sign.id, speaks_for=sign.speaks_for, what=what, fact=fact)
        for sign in SIGNS
        for what, fact in sign.find(machine)
    )
    spoken = {one.speaks_for for one in reasons}
    place = next((one for one in _ORDER if one in spoken), "vm")
    if not reasons:
        reasons = (Reason(id="vm.as-it-is", speaks_for="vm", what=_AS_IT_IS, fact=""),)
    return Triage(
        place=place,
        reasons=reasons,
        unknown=tuple(_unknown(machine)),
        sandbox=sandbox_of(machine, choices, traffic),
    )


def _unknown(machine: Machine) -> Iterator[str]:
    """What would decide, and the inventory does not say."""
    if not (machine.guest.os_id or machine.guest.os_name):
        yield "which system it runs"
    elif linux(machine)[0] is None:
        yield "whether its system is a Linux"
    if services(machine) is None:
        yield "on which ports it serves: no filter of the source limits them to single ones"
    if role(machine) is None:
        yield "what it is for: no tag of it says its role, service, function or tier"
    yield "what runs in it, and where that keeps its state: no source looks inside"
