"""Uploads in words: the DataVolume that takes one, the request for a token, where to send, how far it got. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from kubeferry.documents import Entry, MoverResult, TargetConfig
from kubeferry.targets.kubevirt.kinds import DATA_VOLUME, UPLOAD_TOKEN_REQUEST

PATH = "/v1beta1/upload"
# A claim of a class that waits for its first consumer is bound at once: the upload's pod is not the machine's.
BIND = "cdi.kubevirt.io/storage.bind.immediate.requested"
# On the DataVolume: bytes may have been sent to it, so that it cannot be sent to again.
BEGUN = "kubeferry.io/upload-begun"
# On the claim: what the mover said of the upload that filled it.
FILLED = "kubeferry.io/uploaded"
READY = "UploadReady"
OVER = frozenset({"Succeeded", "Failed"})

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proxy:
    """CDI's upload proxy: the address to post to, and its authorities as PEM where CDI tells them."""

    url: str
    authorities: str | None = None


def data_volume(claim: Object) -> Object:
    """The DataVolume that makes this claim and takes an upload into it. `pvc`, not `storage`: the claim's size is
    decided, and CDI would add to it."""
    metadata = claim["metadata"]
    annotations = (metadata.get("annotations") or {}) | {BIND: ""}
    return {
        "apiVersion": DATA_VOLUME.api_version,
        "kind": DATA_VOLUME.name,
        "metadata": metadata | {"annotations": annotations},
        "spec": {"source": {"upload": {}}, "pvc": claim["spec"]},
    }


def token_request(namespace: str, claim: str) -> Object:
    return {
        "apiVersion": UPLOAD_TOKEN_REQUEST.api_version,
        "kind": UPLOAD_TOKEN_REQUEST.name,
        "metadata": {"name": claim, "namespace": namespace},
        "spec": {"pvcName": claim},
    }


def proxy_of(config: TargetConfig, cdi_configs: list[Object]) -> Proxy | None:
    """Where to send: what the configuration says, else what CDI says; None where neither does."""
    status = (cdi_configs[0].get("status") or {}) if cdi_configs else {}
    told = config.upload_url or str(status.get("uploadProxyURL") or "")
    if not told:
        return None
    url = told if "://" in told else f"https://{told}"
    if url.count("/") <= 2 or url.endswith("/"):
        url = url.rstrip("/") + PATH
    return Proxy(url, _pem(str(status.get("uploadProxyCA") or "")))


def _pem(text: str) -> str | None:
    """Certificates as PEM, whether they came as such or in base64."""
    if not text or "-----BEGIN" in text:
        return text or None
    try:
        return base64.b64decode(text, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None


def is_fresh(volume: Object | None) -> bool:
    """Whether nothing was sent to a DataVolume yet, and it can still be."""
    if volume is None or volume["metadata"].get("deletionTimestamp"):
        return False
    if "upload" not in (volume.get("spec") or {}).get("source", {}):
        return False
    return BEGUN not in (volume["metadata"].get("annotations") or {}) and phase_of(volume) not in OVER


def made_for(claim: Object, there: Object | None, wanted: Object) -> bool:
    """Whether a claim was made by the DataVolume that is there, which is the one that we want, and is not marked so."""
    if there is None:
        return False
    marks = wanted["metadata"]["labels"].items()
    ours = marks <= (there["metadata"].get("labels") or {}).items()
    owners = [one.get("uid") for one in claim["metadata"].get("ownerReferences") or []]
    unmarked = not marks <= (claim["metadata"].get("labels") or {}).items()
    return ours and unmarked and there["metadata"].get("uid") in owners


def phase_of(volume: Object | None) -> str:
    return str(((volume or {}).get("status") or {}).get("phase") or "")


def said_of(volume: Object | None) -> str:
    """What CDI says of a DataVolume that does not get on."""
    if volume is None:
        return "it is gone"
    conditions = (volume.get("status") or {}).get("conditions") or []
    told = [str(one["message"]) for one in conditions if one.get("message")]
    return "; ".join([f"it is {phase_of(volume) or 'without a phase'}", *dict.fromkeys(told)])


def filled_by(claim: Object | None) -> MoverResult | None:
    """The upload that filled a claim; None where none of ours did, or nobody can read what is said of it."""
    said = ((claim or {}).get("metadata", {}).get("annotations") or {}).get(FILLED)
    try:
        return MoverResult.model_validate_json(said) if said else None
    except ValueError:
        return None


def objections(config: TargetConfig, entry: Entry) -> list[str]:
    """Why a machine cannot be uploaded, in words: disks that are too large, deltas."""
    limit = config.upload_limit_bytes
    warm = ["it is to move warm, and uploads take no deltas"] if entry.mode == "warm" else []
    return warm + [
        f"disk {planned.disk} has {planned.size_bytes} bytes, and {limit} is the most for an upload"
        for planned in entry.disks
        if planned.size_bytes > limit
    ]
