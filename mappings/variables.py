"""The claim on which KubeVirt keeps a machine's UEFI variables, made before it starts, with those of the source on it.

KubeVirt takes any claim that is labelled with the machine's name, else it makes one of 10 MiB (v1.9, backend-storage).
It mounts the folder `nvram` of it, and reads the file that is named after the machine.
"""

from __future__ import annotations

from typing import Any

from kubeferry.documents import KeptVariables
from kubeferry.model import Machine
from mappings.choices import Choices
from mappings.firmware import carries
from mappings.marks import labels, origin
from mappings.names import Names, dns_label
from mappings.quantities import MIB, format_bytes

LABEL = "persistent-state-for"
SIZE_BYTES = 10 * MIB


def kept_variables(machine: Machine, choices: Choices, names: Names) -> KeptVariables | None:
    """Where the machine's variables go; None where they do not."""
    if not carries(machine, choices):
        return None
    claim = dns_label(f"{LABEL}-{names.machine}")
    return KeptVariables(claim=claim, file=f"nvram/{names.machine}_VARS.fd")


def variables_claim(machine: Machine, choices: Choices, names: Names, kept: KeptVariables) -> dict[str, Any]:
    """The claim as KubeVirt would make it, by the name and label that all its versions find it by."""
    state = choices.state
    spec: dict[str, Any] = {
        "accessModes": [state.access_mode if state else "ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": format_bytes(max(SIZE_BYTES, (state and state.minimum_bytes) or 0))}},
    }
    if state is not None and state.storage_class is not None:
        spec["storageClassName"] = state.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": kept.claim,
            "namespace": choices.namespace,
            "labels": labels(machine, choices, names) | {LABEL: names.machine},
            "annotations": origin(machine),
        },
        "spec": spec,
    }
