"""Rules about the proof: whether what the policy asks of the started copy can be answered at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mappings.rules.rule import CRITICAL, Case, Rule, when


def _no_probe(case: Case) -> Iterable[str]:
    return when(not case.choices.probes, "The policy asks no probe: nothing could prove that the copy runs.")


def _unheard_counter(case: Case) -> Iterable[str]:
    """A counter is compared with the source's last words; without them the probe can never pass."""
    paths = [probe.path for probe in case.choices.probes if probe.kind == "counter" and probe.path]
    for path in paths:
        if path not in case.choices.stop.last_words:
            yield f"The counter {path} is compared with the source's last words, and the policy does not ask for it."


def _agent_unsure(case: Case) -> Iterable[str]:
    """A copy whose agent never answers is taken back after minutes: better said before its source is stopped."""
    kinds = _kinds(case, THROUGH_AGENT)
    guest = case.machine.guest
    if not kinds or guest.agent_answers or (guest.agent_channel and guest.agent_answers is None):
        return
    why = "does not answer" if guest.agent_channel else "is not known to be there"
    why = "is not there" if guest.agent_channel is False else why
    yield f"A probe asks the guest's agent ({', '.join(kinds)}), which {why}: such a copy is taken back."


def _no_screen(case: Case) -> Iterable[str]:
    blind = _devices(case).get("autoattachGraphicsDevice") is False
    return when(bool(blind and _kinds(case, {"screen"})), "A probe looks at the screen, and the machine has none.")


def _no_card(case: Case) -> Iterable[str]:
    kinds = _kinds(case, THROUGH_CARDS)
    what = f"A probe goes through the network ({', '.join(kinds)}), and the machine has no card at the target."
    return when(bool(kinds and not _devices(case).get("interfaces")), what)


def _unseen_packets(case: Case) -> Iterable[str]:
    what = "A probe listens to what network cards send, and a cluster tells an ordinary account nothing of that."
    return when(bool(case.choices.packets is False and _kinds(case, {"packets"})), what)


def _never_rehearsed(case: Case) -> Iterable[str]:
    """What is copied after its stop has no copy while it runs; so has what shares disks."""
    cold = case.choices.mode == "cold" or bool(case.sharing.moves_with)
    asked = "for a rehearsal before the cutover" if _requires_rehearsal(case) else "that its app is rehearsed together"
    what = f"The policy asks {asked}, and the machine is copied after its stop: nothing of it can be rehearsed."
    return when((_requires_rehearsal(case) or case.choices.together) and cold, what)


def _rehearsed_alone(case: Case) -> Iterable[str]:
    """A cluster has no network for rehearsed machines, so what an app needs of all of them is not seen there."""
    what = "The policy asks that its app is rehearsed together, and the target rehearses each machine by itself: no"
    unseen = "machine reaches another one there, and nothing is asked of the app as a whole."
    return when(case.choices.together and case.choices.alone, f"{what} {unseen}")


def _rehearsed_unseen(case: Case) -> Iterable[str]:
    """A cluster gives a rehearsed machine no network, and nothing has said its last words yet."""
    left = {"counter"} | (THROUGH_CARDS if case.choices.packets is False else set())
    kinds = {probe.kind for probe in case.choices.probes}
    what = f"The policy asks for a rehearsal, in which none of its probes can be asked ({', '.join(sorted(kinds))})."
    return when(_requires_rehearsal(case) and bool(kinds) and kinds <= left, what)


def _requires_rehearsal(case: Case) -> bool:
    return case.choices.rehearsal is not None and case.choices.rehearsal.required


def _kinds(case: Case, among: set[str]) -> list[str]:
    return sorted({probe.kind for probe in (*case.choices.probes, *case.choices.app_probes)} & among)


def _devices(case: Case) -> dict[str, Any]:
    """The devices of the finished machine; none where the policy's patch has put something else in their place."""
    found: Any = case.manifest
    for key in ("spec", "template", "spec", "domain", "devices"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


THROUGH_AGENT = {"agent", "file", "counter"}
THROUGH_CARDS = {"http", "tcp", "packets"}
RULES = (
    Rule(
        "probe.agent-unsure",
        CRITICAL,
        "a probe that needs an agent which is not known to be there",
        "Choose probes that need none in the policy (`screen`, `tcp`, `http`, `serial`; `packets` for a folder as the "
        "target); or install qemu-guest-agent in the guest (under libvirt with its channel) and discover again; accept "
        "this where the source cannot tell of it.",
        _agent_unsure,
    ),
    Rule(
        "probe.none",
        CRITICAL,
        "a policy without a probe",
        "Give the machine at least one probe in the policy.",
        _no_probe,
        acceptable=False,
    ),
    Rule(
        "probe.counter-unheard",
        CRITICAL,
        "a counter probe whose file is not among the last words",
        "Add the file to `stop.lastWords` in the policy.",
        _unheard_counter,
        acceptable=False,
    ),
    Rule(
        "probe.no-screen",
        CRITICAL,
        "a probe of the screen of a machine without one",
        "Choose another probe (`serial`, `tcp`, `http`), or give the machine a display in the policy's `patch`.",
        _no_screen,
        acceptable=False,
    ),
    Rule(
        "probe.no-card",
        CRITICAL,
        "a probe through the network of a machine without a card",
        "Choose another probe (`screen`, `serial`), or give one of its cards a network in the policy.",
        _no_card,
        acceptable=False,
    ),
    Rule(
        "probe.packets-unseen",
        CRITICAL,
        "a probe of what network cards send, where the target cannot see it",
        "Choose `screen`, `tcp` or `http` in its place.",
        _unseen_packets,
        acceptable=False,
    ),
    Rule(
        "rehearsal.never",
        CRITICAL,
        "a rehearsal that is required of a machine of which nothing is copied ahead",
        "Move it with `mode: warm`, or set `rehearsal: {required: false}` for it, and `rehearsal: {together: false}` "
        "for its app.",
        _never_rehearsed,
        acceptable=False,
    ),
    Rule(
        "rehearsal.alone",
        CRITICAL,
        "an app that is to be rehearsed together, where the target rehearses each machine by itself",
        "Set `rehearsal: {together: false}` for the app, or accept this: each machine is rehearsed alone then. To see "
        "them together, plan the app for a folder on a host with QEMU (`kind: directory`) and rehearse it there.",
        _rehearsed_alone,
    ),
    Rule(
        "rehearsal.unseen",
        CRITICAL,
        "a rehearsal that is required, and can ask none of the probes",
        "Give it one that can be asked there (`agent`, `file`, `serial`, `screen`), or set "
        "`rehearsal: {required: false}` for it.",
        _rehearsed_unseen,
        acceptable=False,
    ),
)
