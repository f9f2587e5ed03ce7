"""What is seen of a started machine: probes, what its agent and its node say, its screen and its console."""

from __future__ import annotations

import base64
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from kubeferry.documents import Entry, Observation
from kubeferry.errors import KubeferryError, TargetRefused
from kubeferry.outside import stopping
from kubeferry.targets.guest import probes
from kubeferry.targets.guest.agent import printable
from kubeferry.targets.guest.screen.pictures import MAGIC
from kubeferry.targets.kubevirt.api import Cluster
from kubeferry.targets.kubevirt.guest_access import GuestAccess
from kubeferry.targets.kubevirt.kinds import CLAIM, INSTANCE, KUBEVIRT, NODE, VIRTUAL_MACHINE
from kubeferry.targets.kubevirt.said import said

PICTURE_LIMIT_BYTES = 1024 * 1024
CONSOLE_LINES = 40
APPEAR_SECONDS = 30.0
POLL_SECONDS = 0.5

Object = dict[str, Any]


def observe(cluster: Cluster, entry: Entry, last_words: dict[str, str]) -> Observation:
    """Run the entry's probes and tell what was seen. A machine that does not come up fails its probes, with KubeVirt's
    own words as the evidence. Raises TargetRefused for a machine that is not started."""
    instance = appeared(cluster, entry)
    started_at = str(instance["metadata"]["creationTimestamp"])
    access = GuestAccess(cluster, entry, time.monotonic() - _age(started_at))
    answers = probes.run(entry.probes, access, last_words)
    access.died()
    first = min((answer.seconds for answer in answers if answer.ok), default=None)
    console = _console(access)
    node = str(access.instance().get("status", {}).get("nodeName") or "")
    kept = _kept(access)
    return Observation(
        machine=entry.name,
        started_at=started_at,
        where=f"KubeVirt, {entry.namespace}/{entry.target_name}" + (f" on node {node}" if node else ""),
        accelerator=_accelerator(cluster, node),
        probes=answers,
        guest=_guest(kept or {}),
        said=said(access, entry, kept),
        seen=_seen(cluster, entry, access),
        screenshot=_screenshot(access),
        console_tail="\n".join(console.splitlines()[-CONSOLE_LINES:]),
        first_answer_seconds=first,
        first_answer_at=None if first is None else _later(started_at, first),
        versions=_versions(cluster),
    )


def appeared(cluster: Cluster, entry: Entry) -> Object:
    """The instance; KubeVirt needs a moment to make it after the start."""
    limit = time.monotonic() + APPEAR_SECONDS
    while True:
        stopping.check()
        there = cluster.get(INSTANCE, entry.target_name, entry.namespace)
        if there is not None:
            return there
        machine = cluster.get(VIRTUAL_MACHINE, entry.target_name, entry.namespace)
        status = (machine or {}).get("status", {})
        asked = status.get("stateChangeRequests") or status.get("printableStatus") in {"Starting", "Provisioning"}
        if machine is None or not asked or time.monotonic() > limit:
            said = [str(one.get("message")) for one in status.get("conditions") or [] if one.get("message")]
            raise TargetRefused(
                "the machine is not started",
                why="; ".join(said) or str(status.get("printableStatus") or "it is not in the cluster"),
                fix="Start it first.",
                machine=entry.name,
            )
        stopping.pause(POLL_SECONDS)


# --- one thing each --------------------------------------------------------------------------------------------------


def _kept(access: GuestAccess) -> Object | None:
    """What KubeVirt keeps of the agent's answers; None where none answers."""
    with contextlib.suppress(KubeferryError):
        return access.guest(5.0)
    return None


def _guest(kept: Object) -> dict[str, str]:
    """What the agent says of its system; empty where none answers."""
    system = kept.get("os") or {}
    facts = {
        "hostname": kept.get("hostname"),
        "os": system.get("prettyName") or system.get("name"),
        "kernel": system.get("kernelRelease"),
        "agent": kept.get("guestAgentVersion"),
        "timezone": kept.get("timezone"),
    }
    return {key: printable(str(value), 200) for key, value in facts.items() if value}


def _seen(cluster: Cluster, entry: Entry, access: GuestAccess) -> dict[str, str]:
    """What the cluster says of the running machine, and of the claims that it runs from."""
    status = access.instance().get("status", {})
    pod = access.pod()
    addresses = [
        f"{one.get('name')} {one.get('ipAddress') or 'no address'} ({one.get('mac')})"
        for one in status.get("interfaces") or []
    ]
    claims = {
        f"claim {claim}": _claim_words(cluster.get(CLAIM, claim, entry.namespace))
        for claim in [*(one.claim for one in entry.disks), *(one.claim for one in entry.attached or ())]
    }
    seen = {
        "node": str(status.get("nodeName") or ""),
        "phase": str(status.get("phase") or ""),
        "pod": f"{entry.namespace}/{pod['metadata']['name']}" if pod else "",
        "interfaces": ", ".join(addresses),
        "live migration": live_migration(status.get("conditions") or []),
        **claims,
    }
    return {key: value for key, value in seen.items() if value}


def live_migration(conditions: list[Object]) -> str:
    """Whether it can leave its node while it runs, with KubeVirt's reason where not; empty where that is not known."""
    found = next((one for one in conditions if one.get("type") == "LiveMigratable"), None)
    if found is None:
        return ""
    why = printable(": ".join(str(found[part]) for part in ("reason", "message") if found.get(part)))
    return "possible" if found.get("status") == "True" else f"not possible: {why}"


def _claim_words(claim: Object | None) -> str:
    if claim is None:
        return "is not there"
    spec, status = claim["spec"], claim.get("status", {})
    holds = (status.get("capacity") or {}).get("storage", "unknown size")
    return f"{spec.get('volumeMode')}, {holds}, class {spec.get('storageClassName')}, volume {spec.get('volumeName')}"


def _screenshot(access: GuestAccess) -> str | None:
    """The screen as a data URI; None where there is none to take."""
    with contextlib.suppress(KubeferryError):
        picture = access.screen()
        if picture.startswith(MAGIC) and len(picture) <= PICTURE_LIMIT_BYTES:
            return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
    return None


def _console(access: GuestAccess) -> str:
    with contextlib.suppress(KubeferryError):
        lines = (access.console() or "").splitlines()
        return "\n".join(line for line in map(printable, lines[-4 * CONSOLE_LINES :]) if line)
    return ""


def _accelerator(cluster: Cluster, node: str) -> str:
    """Whether the node's processor runs the guest. Unknown where that cannot be seen."""
    with contextlib.suppress(KubeferryError):
        for kubevirt in cluster.list(KUBEVIRT):
            developer = kubevirt["spec"].get("configuration", {}).get("developerConfiguration", {})
            there = cluster.get(NODE, node) if node else None
            kvm = (there or {}).get("status", {}).get("allocatable", {}).get("devices.kubevirt.io/kvm", "0")
            if kvm != "0":
                return "kvm"
            return "tcg" if developer.get("useEmulation") else ""
    return ""


def _versions(cluster: Cluster) -> dict[str, str]:
    with contextlib.suppress(KubeferryError):
        versions = {"Kubernetes": cluster.version()}
        for kubevirt in cluster.list(KUBEVIRT):
            versions["KubeVirt"] = str(kubevirt.get("status", {}).get("observedKubeVirtVersion") or "unknown")
        return versions
    return {}


def _age(started_at: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started_at)).total_seconds())


def _later(moment: str, seconds: float) -> str:
    later = datetime.fromisoformat(moment).astimezone(UTC) + timedelta(seconds=seconds)
    return later.isoformat(timespec="milliseconds")
