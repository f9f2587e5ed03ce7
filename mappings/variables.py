"""The claim on which KubeVirt keeps a machine's UEFI variables and what its TPM holds, made before it starts, with
those of the source on it.

KubeVirt takes any claim that is labelled with the machine's name, else it makes one of 10 MiB (v1.9, backend-storage).
It mounts the folder `nvram` of it, and reads the file that is named after the machine; and the folder `swtpm` where
libvirt in the machine's pod keeps the state of TPMs (`rendervolumes.go`), in a folder for the machine's UUID: libvirt
sets a new one up only where that is empty.
"""

from __future__ import annotations

from typing import Any

from kubeferry.documents import KeptTpm, KeptVariables
from kubeferry.images.tpm import FILE
from kubeferry.model import Machine
from mappings.choices import Choices
from mappings.firmware import carries
from mappings.marks import labels, origin
from mappings.names import Names, dns_label
from mappings.quantities import MIB, format_bytes
from mappings.tpm import why_not_carried

LABEL = "persistent-state-for"
SIZE_BYTES = 10 * MIB


def state_claim_name(machine: str) -> str:
    """What the claim of a machine of this name is called."""
    return dns_label(f"{LABEL}-{machine}")


def kept_variables(machine: Machine, choices: Choices, names: Names) -> KeptVariables | None:
    """Where the machine's variables go; None where they do not."""
    if not carries(machine, choices):
        return None
    return KeptVariables(claim=state_claim_name(names.machine), file=f"nvram/{names.machine}_VARS.fd")


def kept_tpm(machine: Machine, choices: Choices, name: str, vm: dict[str, Any]) -> KeptTpm | None:
    """Where it goes, by the finished manifest; None where it does not."""
    domain = vm["spec"]["template"]["spec"]["domain"]
    persistent = (domain.get("devices", {}).get("tpm") or {}).get("persistent")
    uuid = (domain.get("firmware") or {}).get("uuid")
    if machine.tpm is None or why_not_carried(machine, choices) or not (persistent and uuid):
        return None
    return KeptTpm(claim=state_claim_name(name), file=f"swtpm/{uuid}/tpm2/{FILE}")


def state_claim(machine: Machine, choices: Choices, names: Names) -> dict[str, Any]:
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
            "name": state_claim_name(names.machine),
            "namespace": choices.namespace,
            "labels": labels(machine, choices, names) | {LABEL: names.machine},
            "annotations": origin(machine),
        },
        "spec": spec,
    }
