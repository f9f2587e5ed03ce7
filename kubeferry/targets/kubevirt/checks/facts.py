"""What was seen of a cluster, and what a plan asks of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeferry.documents import Entry, TargetConfig
from kubeferry.targets.kubevirt.kinds import CLAIM, DATA_VOLUME, NETWORK_POLICY, VIRTUAL_MACHINE, Kind

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Objects of one kind. `why` says why they could not be looked at: then there are none here."""

    objects: tuple[Object, ...] = ()
    why: str = ""

    @property
    def known(self) -> bool:
        return not self.why

    def named(self, name: str) -> Object | None:
        """The object of this name."""
        return next((one for one in self.objects if one["metadata"]["name"] == name), None)


@dataclass(frozen=True, slots=True)
class Place:
    """One namespace of the plan. `networks` holds what was looked up of each network that the plan names."""

    namespace: Seen = field(default_factory=Seen)
    quotas: Seen = field(default_factory=Seen)
    limits: Seen = field(default_factory=Seen)
    claims: Seen = field(default_factory=Seen)
    volumes: Seen = field(default_factory=Seen)
    machines: Seen = field(default_factory=Seen)
    policies: Seen = field(default_factory=Seen)
    instances: Seen = field(default_factory=Seen)
    jobs: Seen = field(default_factory=Seen)
    networks: Mapping[str, Seen] = field(default_factory=dict)

    @property
    def missing(self) -> bool:
        return self.namespace.known and not self.namespace.objects

    def of(self, kind: Kind) -> Seen:
        """What was seen of the kind of a plan's manifest."""
        return {
            CLAIM: self.claims,
            DATA_VOLUME: self.volumes,
            NETWORK_POLICY: self.policies,
            VIRTUAL_MACHINE: self.machines,
        }[kind]


@dataclass(frozen=True, slots=True)
class Facts:
    """A cluster. `served` holds the plural names of the kinds of each group and version that was asked for, `types`
    instance types and preferences by their kind, where the plan names any."""

    version: str = ""
    served: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kubevirts: Seen = field(default_factory=Seen)
    cdis: Seen = field(default_factory=Seen)
    cdi_configs: Seen = field(default_factory=Seen)
    classes: Seen = field(default_factory=Seen)
    profiles: Seen = field(default_factory=Seen)
    nodes: Seen = field(default_factory=Seen)
    runtimes: Seen = field(default_factory=Seen)
    priorities: Seen = field(default_factory=Seen)
    types: Mapping[str, Seen] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def kubevirt(self) -> Object:
        """The KubeVirt object's `spec.configuration`; empty where it is not known."""
        first = self.kubevirts.objects[0] if self.kubevirts.objects else {}
        return dict((first.get("spec") or {}).get("configuration") or {})


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be moved, and how."""

    entries: tuple[Entry, ...]
    config: TargetConfig

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.namespace for entry in self.entries))

    @property
    def uploads(self) -> bool:
        return self.config.transfer == "upload"

    @property
    def runtime_classes(self) -> frozenset[str]:
        """What movers are to run under: by the configuration, and by the policy for machines of a tenant."""
        own = {entry.sandbox.runtime_class for entry in self.entries if entry.sandbox}
        return frozenset({*self.config.movers.runtime_classes.values(), *filter(None, own)})

    def within(self, namespace: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.namespace == namespace)

    def has(self, kind: Kind) -> bool:
        """Whether a manifest of the plan is of this kind."""
        return any(one.get("kind") == kind.name for entry in self.entries for one in entry.manifests)


def machine_of(entry: Entry) -> Object | None:
    """The entry's VirtualMachine, None for an entry without one."""
    return next((one for one in entry.manifests if one.get("kind") == VIRTUAL_MACHINE.name), None)


def template_of(entry: Entry) -> Object:
    """The `spec.template.spec` of the entry's VirtualMachine, sized as the plan knows it; empty without one."""
    machine = machine_of(entry)
    return _at(entry.sized(machine), "spec", "template", "spec") if machine else {}


def domain_of(entry: Entry) -> Object:
    return _at(template_of(entry), "domain")


def claims_of(entry: Entry) -> Iterator[Object]:
    """The entry's claims, as the plan has them."""
    return (one for one in entry.manifests if one.get("kind") == CLAIM.name)


def networks_of(entry: Entry) -> Iterator[tuple[str, str]]:
    """Namespace and name of each network attachment that the machine is plugged into."""
    for network in template_of(entry).get("networks") or []:
        named = str((network.get("multus") or {}).get("networkName") or "")
        if named:
            namespace, _, name = named.rpartition("/")
            yield namespace or entry.namespace, name


def keeps_state(entry: Entry) -> bool:
    """Whether KubeVirt makes a claim of its own for the machine: persistent UEFI variables, or a persistent TPM."""
    domain = domain_of(entry)
    efi = _at(domain, "firmware", "bootloader", "efi")
    return bool(efi.get("persistent") or _at(domain, "devices", "tpm").get("persistent"))


def default_class(classes: Seen) -> Object | None:
    """The class of claims that name none: of several defaults Kubernetes takes the newest."""
    defaults = [
        one for one in classes.objects if _marks(one).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    return max(defaults, key=lambda one: str(one["metadata"].get("creationTimestamp") or ""), default=None)


def _marks(found: Object) -> Object:
    return found["metadata"].get("annotations") or {}


def _at(tree: Object, *keys: str) -> Object:
    """A part of a manifest; empty where there is none."""
    for key in keys:
        tree = tree.get(key) or {}
    return tree
