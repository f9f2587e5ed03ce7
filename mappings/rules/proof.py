"""Rules about the proof: whether what the policy asks of the started copy can be answered at all."""

from __future__ import annotations

from collections.abc import Iterable

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
    kinds = sorted({probe.kind for probe in case.choices.probes} & THROUGH_AGENT)
    guest = case.machine.guest
    if not kinds or guest.agent_answers or (guest.agent_channel and guest.agent_answers is None):
        return
    why = "does not answer" if guest.agent_channel else "is not known to be there"
    why = "is not there" if guest.agent_channel is False else why
    yield f"A probe asks the guest's agent ({', '.join(kinds)}), which {why}: such a copy is taken back."


THROUGH_AGENT = {"agent", "file", "counter"}
RULES = (
    Rule(
        "probe.agent-unsure",
        CRITICAL,
        "a probe that needs an agent which is not known to be there",
        "Choose probes that need none (`tcp`, `http`, `serial`) in the policy; or install qemu-guest-agent in the "
        "guest (under libvirt with its channel) and discover again; accept this where the source cannot tell of it.",
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
)
