"""What can speak against a plan in a cluster: one change to a good cluster or a good machine, and its concern."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import KeptTpm, Probe, SizedBy
from kubeferry.model import Severity
from kubeferry.targets.kubevirt import preflight
from kubeferry.targets.kubevirt.binding import REQUIRED
from kubeferry.targets.kubevirt.checks import rights
from kubeferry.targets.kubevirt.checks.facts import Facts, Request, Seen
from kubeferry.targets.kubevirt.checks.told import KNOWN
from kubeferry.targets.kubevirt.claims import state_claim
from kubeferry.targets.kubevirt.instancetypes import type_of

Make = Any
Case = tuple[Facts, Request]
Change = Callable[[Make], Case]
UNSEEN = Seen(why="nodes is forbidden")
RESTRICTED = {"metadata": {"name": "apps", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
OTHERS = {"name": "web-vda", "labels": {"app.kubernetes.io/managed-by": "helm"}}
OURS = {
    "name": "web-vda",
    "labels": {"app.kubernetes.io/managed-by": "kubeferry", "kubeferry.io/source": "lab"},
    "annotations": {"kubeferry.io/machine-id": "id-web"},
}
SMALL = {"volumeMode": "Block", "storageClassName": "fast", "resources": {"requests": {"storage": "1Mi"}}}
PROFILE = {"virtualMachineInstanceProfile": {"customProfile": {"runtimeDefaultProfile": True}}}


def plugged(network: str) -> dict[str, Any]:
    return {"networks": [{"name": "net0", "multus": {"networkName": network}}]}


def volumes(make: Make) -> Case:
    entry = make.entry()
    volume = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "web-vda"},
        "spec": {},
    }
    return make.facts(), make.request(entry.model_copy(update={"manifests": (*entry.manifests, volume)}))


def without(make: Make, version: str) -> Facts:
    facts: Facts = make.facts()
    return dataclasses.replace(facts, served={key: kinds for key, kinds in facts.served.items() if key != version})


def by_quota(hard: dict[str, Any], used: dict[str, Any] | None = None, **spec: Any) -> Change:
    return lambda m: (m.facts(place={"quotas": m.seen(m.quota(hard, used, **spec))}), m.request())


def a_limit(kind: str, **bounds: Any) -> dict[str, Any]:
    return {"metadata": {"name": "limits"}, "spec": {"limits": [{"type": kind, **bounds}]}}


def by_users(text: str, **movers: Any) -> Change:
    """A namespace of OpenShift's, which takes these users."""
    found = {"metadata": {"name": "apps", "annotations": {"openshift.io/sa.scc.uid-range": text}}}
    return lambda m: (m.facts(place={"namespace": m.seen(found)}), m.request(movers=movers))


def by_limits(kind: str, **bounds: Any) -> Change:
    return lambda m: (m.facts(place={"limits": m.seen(a_limit(kind, **bounds))}), m.request())


def silent_by_limits(default: dict[str, Any] | None = None, **bounds: Any) -> Change:
    """Limits of whole pods, and defaults of containers, for a machine of which no console's log is kept."""
    quiet = {"domain": {"devices": {"logSerialConsole": False}}}
    ranges = [a_limit("Pod", **bounds), *([a_limit("Container", default=default)] if default else [])]
    return lambda m: (m.facts(place={"limits": m.seen(*ranges)}), m.request(m.entry(template=quiet)))


def by_claim(metadata: dict[str, Any]) -> Change:
    found = {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": SMALL}
    return lambda m: (m.facts(place={"claims": m.seen(found)}), m.request())


def by_state_claim(size: str) -> Change:
    def change(m: Make) -> Case:
        claim = state_claim(m.entry(), m.entry().manifests[0])
        claim["spec"]["resources"]["requests"]["storage"] = size
        return m.facts(place={"claims": m.seen(claim)}), m.request()

    return change


def by_node(**change: Any) -> Change:
    return lambda m: (m.facts(nodes=m.seen(m.node(**change))), m.request())


def by_affinity(expression: dict[str, Any]) -> Change:
    terms = [{"matchExpressions": [expression]}]
    return by_template({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}})


def by_template(template: dict[str, Any]) -> Change:
    return lambda m: (m.facts(), m.request(m.entry(template=template)))


def by_processor(**cpu: Any) -> Change:
    return by_template({"domain": {"cpu": cpu}})


def by_config(**config: Any) -> Change:
    return lambda m: (m.facts(), m.request(**config))


def a_type(name: str = "u1.medium", *, cpu: Any = None, memory: str = "2Gi", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"cpu": cpu or {"guest": 2}, "memory": {"guest": memory}, **more}}


def typed(*types: dict[str, Any], gave: dict[str, Any] | None = None, **change: Any) -> Change:
    """A machine that an instance type sizes, in a cluster that has these; `gave` is the one it was planned with."""

    def made(m: Make) -> Case:
        entry = m.entry()
        pvc, machine = entry.manifests
        kind = "VirtualMachineClusterInstancetype"
        spec = machine["spec"] | {"instancetype": {"kind": kind, "name": "u1.medium"}}
        sized = SizedBy(kind=kind, name="u1.medium", gives=type_of(gave) if gave else None)
        update = {"manifests": (pvc, machine | {"spec": spec}), "sized_by": sized}
        facts = m.facts(**({"types": {kind: m.seen(*types)}} | change))
        return facts, m.request(entry.model_copy(update=update))

    return made


def preferring(kind: str, *there: dict[str, Any]) -> Change:
    """A machine with a preference `fedora`, in a cluster that has these of that kind."""

    def made(m: Make) -> Case:
        entry = m.entry()
        pvc, machine = entry.manifests
        spec = machine["spec"] | {"preference": {"kind": kind, "name": "fedora"}}
        request = m.request(entry.model_copy(update={"manifests": (pvc, machine | {"spec": spec})}))
        return m.facts(types={"VirtualMachineClusterPreference": m.seen(*there)}), request

    return made


def prioritised(*there: str) -> Change:
    """A machine of priority class `nope`, in a cluster that has these."""
    classes = tuple({"metadata": {"name": name}} for name in there)
    return lambda m: (m.facts(priorities=m.seen(*classes)), m.request(m.entry(template={"priorityClassName": "nope"})))


def bound(*registered: str, **change: Any) -> Change:
    """A card bound by the plugin l2bridge, in a cluster whose KubeVirt has these."""
    card = {"name": "net0", "binding": {"name": "l2bridge"}}

    def made(m: Make) -> Case:
        kubevirt = m.kubevirt(network={"binding": {name: {} for name in registered}})
        facts = m.facts(**({"kubevirts": m.seen(kubevirt)} | change))
        return facts, m.request(m.entry(template={"domain": {"devices": {"interfaces": [card]}}}))

    return made


# What is changed, the ids that it brings, and words that must stand in the first of them.
ROWS: list[tuple[Change, list[str], str]] = [
    (lambda m: (m.facts(), m.request()), [], ""),
    (lambda m: (m.facts(version="v1.27.3"), m.request()), ["cluster.version-old"], "1.29"),
    (lambda m: (m.facts(version="unknown"), m.request()), [], ""),
    (lambda m: (without(m, "kubevirt.io/v1"), m.request()), ["cluster.kind-missing"] * 2, "VirtualMachine"),
    (lambda m: (without(m, "k8s.cni.cncf.io/v1"), m.request()), [], ""),
    (
        lambda m: (without(m, "k8s.cni.cncf.io/v1"), m.request(m.entry(template=plugged("dmz")))),
        ["cluster.kind-missing"],
        "NetworkAttachmentDefinition",
    ),
    (lambda m: (without(m, "cdi.kubevirt.io/v1beta1"), volumes(m)[1]), ["cluster.kind-missing"], "DataVolume"),
    (lambda m: (m.facts(kubevirts=Seen()), m.request()), ["kubevirt.missing"], ""),
    (lambda m: (m.facts(kubevirts=UNSEEN), m.request()), ["cluster.not-checked"], "KubeVirt"),
    (
        lambda m: (m.facts(kubevirts=m.seen(m.kubevirt() | {"status": {"phase": "Deploying"}})), m.request()),
        ["kubevirt.not-deployed"],
        "Deploying",
    ),
    (lambda m: (m.facts(kubevirts=m.seen(degraded(m))), m.request()), ["kubevirt.degraded"], "no virt-api"),
    (lambda m: (m.facts(cdis=Seen()), volumes(m)[1]), ["cdi.not-deployed"], "not there"),
    (lambda m: (m.facts(cdis=Seen()), m.request()), [], ""),
    (bound(), ["kubevirt.binding-missing"], "web has a card bound by the plugin l2bridge, and this KubeVirt has none"),
    (bound("passt", "macvtap"), ["kubevirt.binding-missing"], "has macvtap, passt"),
    (bound("l2bridge"), [], ""),
    (bound(kubevirts=UNSEEN), ["cluster.not-checked"], "KubeVirt's settings"),
    (
        by_template({"domain": {"devices": {"hostDevices": [{}]}}}),
        ["kubevirt.gate-off"],
        "HostDevices",
    ),
    (
        lambda m: (
            m.facts(kubevirts=m.seen(m.kubevirt(developerConfiguration={"featureGates": ["HostDevices"]}))),
            m.request(m.entry(template={"domain": {"devices": {"hostDevices": [{}]}}})),
        ),
        [],
        "",
    ),
    (
        lambda m: (
            m.facts(
                kubevirts=m.seen(
                    m.kubevirt(developerConfiguration={"featureGates": ["VSOCK"], "disabledFeatureGates": ["VSOCK"]})
                )
            ),
            m.request(m.entry(template={"domain": {"devices": {"autoattachVSOCK": True}}})),
        ),
        ["kubevirt.gate-off"],
        "VSOCK",
    ),
    (
        lambda m: (m.facts(kubevirts=m.seen(older(m, "v1.3.1"))), m.request(stateful(m))),
        ["kubevirt.version-old", "kubevirt.gate-off"],
        "v1.3.1",
    ),
    (
        lambda m: (m.facts(kubevirts=m.seen(older(m, "v1.5.3"))), m.request(stateful(m))),
        ["kubevirt.gate-off"],
        "VMPersistentState is off",
    ),
    (lambda m: (m.facts(kubevirts=m.seen(older(m, "v1.6.0"))), m.request(stateful(m))), [], ""),
    (
        lambda m: (m.facts(kubevirts=m.seen(older(m, "v1.10.0"))), m.request()),
        ["kubevirt.version-new"],
        "newer than any that was tried",
    ),
    (lambda m: (m.facts(), m.request(stateful(m))), ["storage.no-default-class"], "fast, slow"),
    (
        lambda m: (m.facts(kubevirts=m.seen(m.kubevirt(vmStateStorageClass="gone"))), m.request(stateful(m))),
        ["storage.class-missing"],
        "gone",
    ),
    (
        lambda m: (
            m.facts(kubevirts=m.seen(m.kubevirt(network={"permitBridgeInterfaceOnPodNetwork": False}))),
            m.request(m.entry(template={"domain": {"devices": {"interfaces": [{"name": "net0", "bridge": {}}]}}})),
        ),
        ["kubevirt.bridge-forbidden"],
        "",
    ),
    (
        lambda m: (m.facts(kubevirts=m.seen(m.kubevirt(emulatedMachines=["pc-q35-rhel*"]))), m.request()),
        ["kubevirt.machine-type"],
        "pc-q35-rhel*",
    ),
    # --- namespaces
    (
        by_users("1000650000/10000"),
        ["namespace.user-range"],
        "takes users 1000650000 to 1000659999, and movers run as 107",
    ),
    (by_users("1000650000/10000", user=1000650005), [], ""),
    (by_users("1000650000/10000", user=0), [], ""),
    (by_users("1000650000-1000659999"), ["namespace.user-range"], "1000650000 to 1000659999"),
    (by_users("100/10"), [], ""),
    (by_users("nonsense"), [], ""),
    (
        by_users("1000650000/10000", service_account="kubeferry-mover"),
        ["namespace.constraint-not-checked"],
        "whether kubeferry-mover may use a constraint for 107",
    ),
    (lambda m: (m.facts(place={"namespace": Seen()}), m.request()), ["namespace.missing"], "apps"),
    (lambda m: (m.facts(place={"namespace": UNSEEN}), m.request()), ["cluster.not-checked"], "namespace apps"),
    (
        lambda m: (
            m.facts(place={"namespace": m.seen({"metadata": {"name": "apps", "deletionTimestamp": "now"}})}),
            m.request(),
        ),
        ["namespace.terminating"],
        "",
    ),
    (
        lambda m: (m.facts(place={"namespace": m.seen(RESTRICTED)}), m.request()),
        ["namespace.pod-security"],
        "restricted",
    ),
    (
        lambda m: (
            m.facts(
                place={"namespace": m.seen(RESTRICTED)}, kubevirts=m.seen(m.kubevirt(seccompConfiguration=PROFILE))
            ),
            m.request(),
        ),
        [],
        "",
    ),
    (
        lambda m: (m.facts(), m.request(m.entry(), m.entry(name="other", target_name="web"))),
        ["name.clash"],
        "web, other",
    ),
    (by_claim(OTHERS), ["name.taken"], "not ours"),
    (by_claim(OURS), ["claim.unfit"], "1Mi"),
    (
        by_claim(OURS | {"deletionTimestamp": "now"}),
        ["name.going"],
        "being deleted",
    ),
    (
        by_claim({"name": "web-kubeferry-state"}),
        ["name.taken"],
        "web-kubeferry-state",
    ),
    (
        lambda m: (
            m.facts(place={"machines": m.seen({"kind": "VirtualMachine", "metadata": {"name": "web"}})}),
            m.request(),
        ),
        ["name.taken"],
        "VirtualMachine",
    ),
    (
        lambda m: (m.facts(place={"networks": {"net/dmz": Seen()}}), m.request(m.entry(template=plugged("net/dmz")))),
        ["network.missing"],
        "net/dmz",
    ),
    (
        lambda m: (m.facts(place={"networks": {"apps/dmz": UNSEEN}}), m.request(m.entry(template=plugged("dmz")))),
        ["cluster.not-checked"],
        "apps/dmz",
    ),
    (
        lambda m: (m.facts(place={"networks": {"apps/dmz": m.seen({})}}), m.request(m.entry(template=plugged("dmz")))),
        [],
        "",
    ),
    (by_config(movers={"runtimeClasses": {"copy": "kata"}}), ["runtime-class.missing"], "kata"),
    (
        lambda m: (m.facts(runtimes=UNSEEN), m.request(movers={"runtimeClasses": {"copy": "kata"}})),
        ["cluster.not-checked"],
        "runtime",
    ),
    # --- storage
    (lambda m: (m.facts(), m.request(m.entry(claim={"storageClassName": "gone"}))), ["storage.class-missing"], "gone"),
    (
        lambda m: (m.facts(), m.request(m.entry(claim={"storageClassName": None}))),
        ["storage.no-default-class"],
        "fast, slow",
    ),
    (lambda m: (m.facts(), m.request(m.entry(claim={"storageClassName": ""}))), ["storage.static"], ""),
    (lambda m: (m.facts(classes=UNSEEN), m.request()), ["cluster.not-checked"], "storage classes"),
    (lambda m: (m.facts(profiles=UNSEEN), m.request()), ["cluster.not-checked"], "profiles"),
    (
        lambda m: (m.facts(), m.request(m.entry(claim={"storageClassName": "slow"}))),
        ["storage.modes-unknown"],
        "Block ReadWriteOnce",
    ),
    (
        lambda m: (m.facts(profiles=m.seen(m.profile("fast", ("Filesystem", "ReadWriteOnce")))), m.request()),
        ["storage.modes-unusual"],
        "web ask class fast for Block",
    ),
    (
        lambda m: (m.facts(profiles=m.seen(m.profile("fast", ("Block", "ReadWriteOnce")))), m.request()),
        ["storage.no-filesystem"],
        "",
    ),
    (by_state_claim("100Ki"), ["storage.state-cramped"], "web: claim "),
    (
        lambda m: (
            m.facts(classes=m.seen(m.storage_class("fast", provisioner="kubernetes.io/no-provisioner"))),
            m.request(),
        ),
        ["storage.static"],
        "by hand",
    ),
    (
        lambda m: (
            m.facts(
                classes=m.seen(m.storage_class("fast", volumeBindingMode="Immediate")),
                nodes=m.seen(m.node(metadata={"labels": {"zone": "a"}})),
            ),
            m.request(m.entry(template={"nodeSelector": {"zone": "a"}})),
        ),
        ["storage.binds-at-once"],
        "web",
    ),
    # --- quotas and limits
    (
        by_quota({"requests.storage": "300Mi"}),
        ["quota.exceeded"],
        "321 MiB more requests.storage",
    ),
    (by_quota({"requests.storage": "321Mi"}), [], ""),
    (
        by_quota({"persistentvolumeclaims": "9"}, {"persistentvolumeclaims": "8"}),
        ["quota.exceeded"],
        "2 more persistentvolumeclaims",
    ),
    (
        by_quota({"fast.storageclass.storage.k8s.io/requests.storage": "1Mi"}),
        ["quota.exceeded"],
        "fast.storageclass",
    ),
    (by_quota({"memory": "2Gi"}), ["quota.exceeded"], "GiB"),
    (by_quota({"requests.cpu": "50m"}), ["quota.exceeded"], "cpu"),
    (by_quota({"pods": "0"}), ["quota.exceeded"], "1 more pods"),
    (by_quota({"count/jobs.batch": "0"}), ["quota.exceeded"], "jobs"),
    (
        by_quota({"count/virtualmachines.kubevirt.io": "0"}),
        ["quota.exceeded"],
        "virtualmachines",
    ),
    (by_quota({"pods": "0"}, scopes=["BestEffort"]), [], ""),
    (by_quota({"pods": "0"}, scopeSelector={"matchExpressions": []}), [], ""),
    (by_quota({"limits.memory": "9Gi"}), ["quota.limits-unset"], "limits.memory"),
    (lambda m: (m.facts(place={"quotas": UNSEEN}), m.request()), ["cluster.not-checked"], "quotas of namespace apps"),
    (lambda m: (m.facts(place={"limits": UNSEEN}), m.request()), ["cluster.not-checked"], "limit ranges"),
    (by_limits("PersistentVolumeClaim", max={"storage": "100Mi"}), ["limit-range.exceeded"], "web-vda"),
    (by_limits("PersistentVolumeClaim", min={"storage": "100Mi"}), [], ""),  # the movers' own is made as large
    (by_limits("PersistentVolumeClaim", min={"storage": "300Mi"}), ["limit-range.exceeded"], "web-vda"),
    (by_limits("Container", default={"memory": "512Mi"}), ["limit-range.exceeded"], "is given one of 512Mi"),
    (by_limits("Container", default={"memory": "8Gi"}), [], ""),
    (by_limits("Container", default={"cpu": "100m"}), ["limit-range.exceeded"], "cpu without a limit"),
    (by_limits("Container", default={"cpu": "500m"}), ["limit-range.throttles"], "its guest has 2 processors"),
    (by_limits("Container", default={"cpu": "2"}), [], ""),
    (by_limits("Container", default={"ephemeral-storage": "1Mi"}), ["limit-range.exceeded"], "ephemeral-storage"),
    (by_limits("Pod", default={"memory": "512Mi"}), [], ""),
    (by_limits("Container", maxLimitRequestRatio={"cpu": "4"}), ["limit-range.exceeded"] * 2, "no limit or request"),
    (
        by_limits("Container", default={"cpu": "2"}, maxLimitRequestRatio={"cpu": "12"}),
        ["limit-range.exceeded"],
        "a mover has a limit of cpu more than 12 times",
    ),
    (by_limits("Container", default={"cpu": "2"}, maxLimitRequestRatio={"cpu": "20"}), [], ""),
    (by_quota({"limits.ephemeral-storage": "10Gi"}), ["quota.limit-missing"], "limits.ephemeral-storage"),
    (
        by_quota({"limits.ephemeral-storage": "100Mi"}),
        ["quota.exceeded", "quota.limit-missing"],
        "256 MiB more limits.ephemeral-storage",
    ),
    (
        lambda m: (
            m.facts(
                place={
                    "quotas": m.seen(m.quota({"limits.memory": "9Gi"})),
                    "limits": m.seen(a_limit("Container", default={"memory": "8Gi"})),
                }
            ),
            m.request(),
        ),
        [],
        "",
    ),
    (by_limits("Container", max={"memory": "1Gi"}), ["limit-range.exceeded"], "the pod of web"),
    (by_limits("Pod", max={"cpu": "1"}), ["limit-range.exceeded"], "a mover asks for 2 of cpu"),
    (by_limits("Container", min={"memory": "1Gi"}), ["limit-range.exceeded"] * 2, "a mover"),
    (by_limits("Container", min={"cpu": "10m"}), ["limit-range.exceeded"], "the console's log of web asks for 0.005"),
    (
        by_limits("Container", default={"cpu": "2"}, maxLimitRequestRatio={"memory": "1.5"}),
        ["limit-range.exceeded"] * 3,
        "the pod of web",
    ),
    # Kubernetes adds up the limits that containers of a pod have: that of the console's log is one.
    (by_limits("Pod", max={"cpu": "2", "memory": "8Gi"}), [], ""),
    (by_limits("Pod", max={"ephemeral-storage": "10Gi"}), ["limit-range.exceeded"], "has no limit of ephemeral"),
    (silent_by_limits(max={"cpu": "4"}), ["limit-range.exceeded"], "the pod of web has no limit of cpu"),
    (silent_by_limits({"cpu": "2"}, max={"cpu": "4"}), [], ""),
    (silent_by_limits({"cpu": "4"}, max={"cpu": "4"}), [], ""),
    (by_limits("Pod", min={"memory": "100Mi"}), ["limit-range.exceeded"], "the pod of web has a limit of "),
    (by_limits("Pod", maxLimitRequestRatio={"cpu": "10"}), ["limit-range.exceeded"], "a mover has a limit of cpu more"),
    (by_limits("Pod", maxLimitRequestRatio={"cpu": "20"}), [], ""),
    (silent_by_limits(maxLimitRequestRatio={"cpu": "20"}), ["limit-range.exceeded"], "web has no limit or request"),
    (silent_by_limits({"cpu": "2"}, maxLimitRequestRatio={"cpu": "20"}), [], ""),
    (silent_by_limits({"cpu": "6"}, maxLimitRequestRatio={"cpu": "20"}), ["limit-range.exceeded"], "the pod of web"),
    (
        by_limits("Container", default={"memory": "512Mi"}),
        ["limit-range.exceeded"],
        "of memory without a limit, and is given one of 512Mi",
    ),
    (by_limits("Container", default={"memory": "16Gi", "ephemeral-storage": "60Mi"}), [], ""),
    (
        by_limits("Container", default={"cpu": "2"}, maxLimitRequestRatio={"cpu": "10"}),
        ["limit-range.exceeded"],
        "a mover has a limit of cpu more than 10 times what it asks for",
    ),
    # --- instance types and preferences
    (typed(a_type(), gave=a_type()), [], ""),
    (typed(a_type("u1.small"), gave=a_type()), ["instancetype.missing"], "would never start"),
    (typed({"metadata": {"name": "u1.medium", "namespace": "apps"}}), ["instancetype.missing"], "u1.medium"),
    (typed(a_type(cpu={"guest": 1}), gave=a_type()), ["instancetype.changed"], "1 processor and 2 GiB now, and gave 2"),
    (
        typed(a_type(nodeSelector={"pool": "a"}), gave=a_type()),
        ["instancetype.changed"],
        "decides other things beside its size",
    ),
    (typed(a_type(memory="1Gi")), ["instancetype.smaller"], "gives 2 processors and 1 GiB, and the machine had 2"),
    (typed(a_type(memory="4Gi")), [], ""),
    (typed(types={"VirtualMachineClusterInstancetype": UNSEEN}), ["cluster.not-checked"], "instancetypes"),
    (
        typed(
            a_type(),
            gave=a_type(),
            kubevirts=Seen(
                (
                    {
                        "spec": {"configuration": {"instancetype": {"referencePolicy": "expand"}}},
                        "status": {"phase": "Deployed", "observedKubeVirtVersion": "v1.9.0"},
                    },
                )
            ),
        ),
        ["instancetype.expanded"],
        "writes instance types",
    ),
    (typed(a_type(memory="64Gi"), gave=a_type(memory="64Gi")), ["node.none-fits", "node.little-room"], "64"),
    (
        typed(a_type(nodeSelector={"zone": "b"}), gave=a_type(nodeSelector={"zone": "b"})),
        ["node.none-fits"] * 2,
        "zone=b",
    ),
    (preferring("virtualmachineclusterpreference", {"metadata": {"name": "fedora"}}), [], ""),
    (preferring("VirtualMachineClusterPreference"), ["preference.missing"], "VirtualMachineClusterPreference fedora"),
    (
        preferring("VirtualMachinePreference"),
        ["cluster.kind-missing", "cluster.not-checked"],
        "VirtualMachinePreference",
    ),
    # --- nodes
    (lambda m: (m.facts(nodes=UNSEEN), m.request()), ["cluster.not-checked"], "nodes"),
    (by_node(spec={"unschedulable": True}), ["node.none-fits"], "none of 1 nodes"),
    (by_node(status={"allocatable": {"devices.kubevirt.io/kvm": "0"}}), ["node.none-fits"], "KVM"),
    (
        lambda m: (
            m.facts(
                kubevirts=m.seen(m.kubevirt(developerConfiguration={"useEmulation": True})),
                nodes=m.seen(m.node(status={"allocatable": {"devices.kubevirt.io/kvm": "0"}})),
            ),
            m.request(),
        ),
        [],
        "",
    ),
    (by_processor(model="Haswell"), [], ""),
    (by_processor(model="EPYC"), ["node.none-fits"], "EPYC"),
    (by_processor(features=[{"name": "avx2"}]), [], ""),
    (by_processor(features=[{"name": "sgx", "policy": "optional"}]), [], ""),
    (by_processor(features=[{"name": "sgx", "policy": "require"}]), ["node.none-fits"], "sgx"),
    (
        lambda m: (
            m.facts(kubevirts=m.seen(m.kubevirt(developerConfiguration={"featureGates": ["CPUManager"]}))),
            m.request(m.entry(template={"domain": {"cpu": {"dedicatedCpuPlacement": True}}})),
        ),
        ["node.none-fits"],
        "of its own",
    ),
    (by_template({"nodeSelector": {"zone": "b"}}), ["node.none-fits"] * 2, "zone=b"),
    (by_affinity({"key": "zone", "operator": "In", "values": ["b"]}), ["node.none-fits"] * 2, "no node has zone in b"),
    (by_affinity({"key": "zone", "operator": "DoesNotExist"}), [], ""),
    (by_config(movers={"nodeSelector": {"zone": "b"}}), ["node.none-fits"], "a mover of web"),
    (by_template({"architecture": "arm64"}), ["node.none-fits"], "arm64"),
    (lambda m: (m.facts(nodes=m.seen(tainted(m))), m.request()), ["node.none-fits"] * 2, "taints"),
    (
        lambda m: (
            m.facts(nodes=m.seen(tainted(m))),
            m.request(m.entry(template={"tolerations": [{"key": "vms", "operator": "Exists"}]})),
        ),
        [],
        "",
    ),
    (
        lambda m: (
            m.facts(nodes=m.seen(tainted(m), m.node("two", metadata={"labels": {"kubevirt.io/schedulable": "false"}}))),
            m.request(movers={"tolerations": [{"key": "vms", "value": "only"}]}),
        ),
        ["node.none-fits"],
        "web: no single node",
    ),
    (by_template({"domain": {"memory": {"guest": "64Gi"}}}), ["node.none-fits", "node.little-room"], "memory"),
    (by_template({"domain": {"memory": {"hugepages": {"pageSize": "2Mi"}}}}), ["node.none-fits"], "hugepages-2Mi"),
    (lambda m: (m.facts(), m.request(*(m.entry(f"vm{at}") for at in range(12)))), ["node.little-room"], "together"),
    (by_processor(features=[{"name": "avx2", "policy": "forbid"}]), ["node.none-fits"], "is without cpu-feature"),
    (
        by_node(metadata={"labels": {"node-labeller.kubevirt.io/obsolete-host-model": "true"}}),
        ["node.none-fits"],
        "host-model can take",
    ),
    (by_config(movers={"architecture": "arm64"}), ["node.none-fits"], "a mover of web: no node is arm64"),
    (by_config(movers={"architecture": None}), [], ""),
    (by_config(movers={"architecture": "arm64", "nodeSelector": {"kubernetes.io/arch": "amd64"}}), [], ""),
    (
        lambda m: (m.facts(nodes=two_kinds(m)), m.request(movers={"nodeSelector": {"role": "copies"}})),
        ["node.none-fits"],
        "web and its movers, whose volumes are made where the first of them runs: no single node",
    ),
    (
        lambda m: (
            m.facts(nodes=two_kinds(m), classes=m.seen(m.storage_class("fast", volumeBindingMode="Immediate"))),
            m.request(movers={"nodeSelector": {"role": "copies"}}),
        ),
        [],
        "",
    ),
    # --- priority classes
    (lambda m: (m.facts(priorities=UNSEEN), m.request()), [], ""),
    (
        by_template({"priorityClassName": "nope"}),
        ["priority-class.missing"],
        "web is to have priority class nope, and the cluster has none",
    ),
    (prioritised("system-cluster-critical", "high"), ["priority-class.missing"], "has high, system-cluster-critical"),
    (prioritised("nope"), [], ""),
    (by_config(movers={"priorityClass": "low"}), ["priority-class.missing"], "movers are to have priority class low"),
    (
        lambda m: (m.facts(priorities=UNSEEN), m.request(movers={"priorityClass": "low"})),
        ["cluster.not-checked"],
        "priority classes",
    ),
    # --- probes
    (
        lambda m: (m.facts(), m.request(m.entry(probes=(Probe(kind="packets"),)))),
        ["probe.packets-untold"],
        "web: KubeVirt tells an ordinary account nothing",
    ),
    (lambda m: (m.facts(), m.request(m.entry(probes=(Probe(kind="screen"),)))), [], ""),
    # --- movers
    (by_config(movers={"image": "kubeferry-mover"}), ["mover.image-unqualified"], ""),
    (by_config(movers={"image": "r.example/m:2", "pullPolicy": "Never"}), ["mover.image-nowhere"], "m:2"),
    (by_config(movers={"pullPolicy": "Never"}), [], ""),
    (lambda m: (m.facts(), m.request(sealed(m), movers={"user": 1000})), ["mover.tpm-owner"], "as user 1000, and"),
    (lambda m: (m.facts(), m.request(sealed(m), movers={"user": 0})), ["mover.tpm-owner"], "of the cluster's choice"),
    (lambda m: (m.facts(), m.request(sealed(m))), [], ""),
    (by_config(movers={"pullSecret": "pull"}), ["mover.secret-not-checked"], "apps/pull"),
    (by_config(transfer="upload"), ["upload.limits"], ""),
    (
        lambda m: (m.facts(), m.request(m.entry(mode="warm"), transfer="upload")),
        ["upload.not-warm", "upload.limits"],
        "web",
    ),
    (by_config(transfer="upload", uploadLimitBytes=1 << 20), ["upload.too-large", "upload.limits"], "256 MiB"),
    (lambda m: (m.facts(cdi_configs=Seen()), m.request(transfer="upload")), ["upload.no-proxy", "upload.limits"], ""),
    (
        lambda m: (m.facts(cdi_configs=Seen()), m.request(transfer="upload", uploadUrl="https://cdi.example")),
        ["upload.limits"],
        "",
    ),
    (
        lambda m: (without(m, "upload.cdi.kubevirt.io/v1beta1"), m.request(transfer="upload")),
        ["cluster.kind-missing", "upload.limits"],
        "UploadTokenRequest",
    ),
]


def degraded(make: Make) -> dict[str, Any]:
    condition = {"type": "Degraded", "status": "True", "message": "no virt-api"}
    return dict(make.kubevirt() | {"status": {"phase": "Deployed", "conditions": [condition]}})


def older(make: Make, version: str) -> dict[str, Any]:
    found = make.kubevirt(vmStateStorageClass="fast")
    return dict(found | {"status": found["status"] | {"observedKubeVirtVersion": version}})


def stateful(make: Make) -> Any:
    return make.entry(template={"domain": {"devices": {"tpm": {"persistent": True}}}})


def sealed(make: Make) -> Any:
    """A machine of which what its TPM holds is carried."""
    return make.entry().model_copy(update={"tpm": KeptTpm(claim="persistent-state-for-web", file="swtpm/u/tpm2/f")})


def two_kinds(make: Make) -> Any:
    """One node runs machines, the other one copies."""
    labels = {"kubevirt.io/schedulable": "false", "role": "copies"}
    return make.seen(make.node(), make.node("two", metadata={"labels": labels}))


def tainted(make: Make) -> Any:
    return make.node(spec={"taints": [{"key": "vms", "value": "only", "effect": "NoSchedule"}]})


@pytest.mark.parametrize(("change", "ids", "words"), ROWS)
def test_one_change_brings_its_concern(change: Change, ids: list[str], words: str, make: Make) -> None:
    told = list(preflight.judged(*change(make)))
    assert [one.id for one in told] == ids, told
    assert not told or words in told[0].what
    assert all(one.fix for one in told)


def test_every_concern_of_the_table_can_come_out(make: Make) -> None:
    brought = {identity for _, ids, _ in ROWS for identity in ids} | {"cluster.permission-missing"}
    assert brought == set(KNOWN)


def test_without_entries_only_the_cluster_is_looked_at(make: Make) -> None:
    config = make.request().config
    facts = Facts(version="v1.34.2", served=make.facts().served, kubevirts=make.facts().kubevirts)
    assert list(preflight.judged(facts, Request((), config))) == []


def test_a_permission_that_is_missing_is_told_with_its_file(make: Make) -> None:
    right = next(one for one in rights.IN_NAMESPACE if one.resource == "jobs")
    probes = rights.FOR_FILE_PROBES[0]
    nodes = next(one for one in rights.IN_CLUSTER if one.resource == "nodes")
    lacking = (
        rights.Missing(right, "create", "apps"),
        rights.Missing(right, "delete", "apps"),
        rights.Missing(probes, "create", "apps"),
        rights.Missing(nodes, "list", ""),
    )
    jobs, exec_, node = rights.concerns(lacking)
    assert (jobs.id, jobs.severity) == ("cluster.permission-missing", Severity.CRITICAL)
    assert (
        jobs.what == "Our account may not create and delete batch/jobs in namespace apps, which is needed to run movers"
    )
    assert jobs.fix == "kubeferry manifests --namespace apps | kubectl apply --filename -"
    assert exec_.fix == "kubeferry manifests --namespace apps --file-probes | kubectl apply --filename -"
    assert (node.id, node.severity) == ("cluster.not-checked", Severity.INFO)
