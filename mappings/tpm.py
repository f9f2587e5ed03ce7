"""Whether what a machine's TPM holds goes with it."""

from __future__ import annotations

from kubeferry.model import Machine, Tpm
from mappings.choices import Choices
from mappings.firmware import target_uuid


def why_not_carried(machine: Machine, choices: Choices) -> str:
    """Why what the machine's TPM holds does not go with it; empty where it does, or it has none."""
    if machine.tpm is None:
        return ""
    if not choices.keep_tpm:
        return "the policy leaves it behind"
    return _source_has_none(machine.tpm) or _target_has_no_place(machine, choices)


def _source_has_none(tpm: Tpm) -> str:
    if tpm.backend == "passthrough":
        return "a chip of the host keeps it"
    if tpm.backend != "emulator" or tpm.state is None:
        return "the source does not hand it over"
    if tpm.version not in {None, "2.0"}:
        return "it is no TPM 2.0, as the target's is"
    return "it is encrypted with a key that only the source's hypervisor has" if tpm.encrypted else ""


def _target_has_no_place(machine: Machine, choices: Choices) -> str:
    if choices.state is None:
        return "the target was not asked, or has no room for it"
    if not choices.state.carries:
        return "this target has none put there before the first start"
    return "" if target_uuid(machine) and machine.data_disks else "nothing of this machine names its place there"
