"""Every concern that a look at a cluster can bring: one table, so that an id has one severity and one meaning. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kubeferry.model import Concern, Severity

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True)
class Known:
    """One concern: `about` says in half a sentence what it is about."""

    id: str
    severity: Severity
    about: str


KNOWN = {
    one.id: one
    for one in (
        Known("cluster.kind-missing", CRITICAL, "The cluster does not serve a kind that the plan needs"),
        Known("cluster.version-old", CRITICAL, "The cluster is older than what movers' Jobs need"),
        Known("cluster.not-checked", INFO, "Something of the cluster may not be looked at, so nothing is said of it"),
        Known("cluster.permission-missing", CRITICAL, "The account may not do what the migration does"),
        Known("kubevirt.missing", CRITICAL, "There is no KubeVirt object"),
        Known("kubevirt.not-deployed", CRITICAL, "KubeVirt is not deployed"),
        Known("kubevirt.degraded", WARNING, "KubeVirt says of itself that it is degraded"),
        Known("kubevirt.gate-off", CRITICAL, "A feature gate that a machine needs is off"),
        Known("kubevirt.version-old", CRITICAL, "KubeVirt is older than any that machines are made for"),
        Known("kubevirt.version-new", INFO, "KubeVirt is newer than any that was tried"),
        Known("kubevirt.bridge-forbidden", CRITICAL, "Bridging on the pod's network is not permitted"),
        Known("kubevirt.binding-missing", CRITICAL, "A binding plugin that the plan names is not registered"),
        Known("kubevirt.machine-type", CRITICAL, "KubeVirt does not take the machine type"),
        Known("instancetype.missing", CRITICAL, "An instance type that the plan names is not there"),
        Known("instancetype.expanded", CRITICAL, "KubeVirt writes instance types and preferences into machines"),
        Known("instancetype.changed", WARNING, "An instance type gives something else than when it was planned"),
        Known("instancetype.smaller", WARNING, "An instance type gives less than the machine had"),
        Known("preference.missing", CRITICAL, "A preference that the plan names is not there"),
        Known("cdi.not-deployed", CRITICAL, "CDI is needed and not deployed"),
        Known("namespace.missing", CRITICAL, "A namespace of the plan is not there"),
        Known("namespace.terminating", CRITICAL, "A namespace of the plan is being deleted"),
        Known("namespace.pod-security", CRITICAL, "The namespace's pod security refuses the machines' pods"),
        Known("namespace.user-range", CRITICAL, "The namespace takes other users than the movers'"),
        Known(
            "namespace.constraint-not-checked", INFO, "Whether the movers' account may be that user is not looked at"
        ),
        Known("name.taken", CRITICAL, "An object of that name is there, and it is another machine's or nobody's"),
        Known("name.clash", CRITICAL, "Two machines of the plan would have one name"),
        Known("name.going", WARNING, "An object of that name is being deleted"),
        Known("claim.unfit", CRITICAL, "A claim that is there cannot take the disk"),
        Known("network.missing", CRITICAL, "A network attachment definition is not there"),
        Known("runtime-class.missing", CRITICAL, "A runtime class that the configuration names is not there"),
        Known("priority-class.missing", CRITICAL, "A priority class that a machine or the movers name is not there"),
        Known("storage.class-missing", CRITICAL, "A storage class that the plan names is not there"),
        Known("storage.no-default-class", CRITICAL, "A claim names no class, and there is no default one"),
        Known("storage.modes-unusual", WARNING, "The class's profile does not tell of such volumes"),
        Known("storage.modes-unknown", INFO, "Nothing is known of the volumes that a class makes"),
        Known("storage.no-filesystem", CRITICAL, "The class makes no file systems, and movers need a small one"),
        Known("storage.state-cramped", CRITICAL, "The movers' state claim is too small for the disks, and cannot grow"),
        Known("storage.static", INFO, "Volumes of a class are made by hand"),
        Known("storage.binds-at-once", INFO, "Volumes of a class are placed before the machine's node is chosen"),
        Known("quota.exceeded", CRITICAL, "The plan needs more than a namespace's quota leaves"),
        Known("quota.limits-unset", WARNING, "A quota asks for limits that the machines' pods may not have"),
        Known("quota.limit-missing", CRITICAL, "A quota asks for a limit that no machine's pod has"),
        Known("limit-range.exceeded", CRITICAL, "A claim or a pod is larger or smaller than the namespace allows"),
        Known("limit-range.throttles", WARNING, "A namespace's default limit gives a guest less than its processors"),
        Known("node.none-fits", CRITICAL, "No node can run the machine or its movers"),
        Known("node.little-room", WARNING, "All machines together ask for more than all nodes have"),
        Known("mover.tpm-owner", CRITICAL, "KubeVirt could not use the state of a TPM that movers of this user write"),
        Known("mover.image-nowhere", WARNING, "The movers' image is never pulled, and no node says that it has it"),
        Known("mover.image-unqualified", WARNING, "The movers' image names no registry"),
        Known("mover.secret-not-checked", INFO, "Whether a Secret is there is not looked at"),
        Known("probe.packets-untold", CRITICAL, "A probe listens to network cards, of which a cluster does not tell"),
        Known("upload.too-large", CRITICAL, "A disk is larger than what may be uploaded"),
        Known("upload.not-warm", CRITICAL, "A machine is to move warm, which uploads cannot"),
        Known("upload.no-proxy", CRITICAL, "Nobody tells the address of CDI's upload proxy"),
        Known("upload.limits", INFO, "What uploads cannot do"),
    )
}


def concern(identity: str, what: str, fix: str) -> Concern:
    """A concern of the table. Raises KeyError for an id that is not in it."""
    return Concern(id=identity, severity=KNOWN[identity].severity, what=what, fix=fix)


def not_checked(what: str, why: str) -> Concern:
    """Something that we may not look at: nothing is said of it, for good or bad."""
    fix = "Apply what `kubeferry manifests --namespace NAMESPACE` prints, or have its administrator look."
    return concern("cluster.not-checked", f"{what} cannot be looked at: {why}", fix)
