"""The kinds of objects that we touch: where the API has them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `api_version` is `v1` for the core group, else `GROUP/VERSION`."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of the collection, or of one object, on the API server."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Kind("v1", "Pod", "pods")
SECRET = Kind("v1", "Secret", "secrets")
EVENT = Kind("v1", "Event", "events")
QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("v1", "LimitRange", "limitranges")
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
NODE = Kind("v1", "Node", "nodes", namespaced=False)
JOB = Kind("batch/v1", "Job", "jobs")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
RUNTIME_CLASS = Kind("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", namespaced=False)
PRIORITY_CLASS = Kind("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False)
VIRTUAL_MACHINE = Kind("kubevirt.io/v1", "VirtualMachine", "virtualmachines")
INSTANCE = Kind("kubevirt.io/v1", "VirtualMachineInstance", "virtualmachineinstances")
KUBEVIRT = Kind("kubevirt.io/v1", "KubeVirt", "kubevirts")
_TYPES = "instancetype.kubevirt.io/v1beta1"
INSTANCE_TYPES = (
    Kind(_TYPES, "VirtualMachineClusterInstancetype", "virtualmachineclusterinstancetypes", namespaced=False),
    Kind(_TYPES, "VirtualMachineInstancetype", "virtualmachineinstancetypes"),
)
PREFERENCES = (
    Kind(_TYPES, "VirtualMachineClusterPreference", "virtualmachineclusterpreferences", namespaced=False),
    Kind(_TYPES, "VirtualMachinePreference", "virtualmachinepreferences"),
)
DATA_VOLUME = Kind("cdi.kubevirt.io/v1beta1", "DataVolume", "datavolumes")
STORAGE_PROFILE = Kind("cdi.kubevirt.io/v1beta1", "StorageProfile", "storageprofiles", namespaced=False)
CDI = Kind("cdi.kubevirt.io/v1beta1", "CDI", "cdis", namespaced=False)
CDI_CONFIG = Kind("cdi.kubevirt.io/v1beta1", "CDIConfig", "cdiconfigs", namespaced=False)
UPLOAD_TOKEN_REQUEST = Kind("upload.cdi.kubevirt.io/v1beta1", "UploadTokenRequest", "uploadtokenrequests")
NETWORK_ATTACHMENT = Kind("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition", "network-attachment-definitions")

PLANNED = (CLAIM, DATA_VOLUME, NETWORK_POLICY, VIRTUAL_MACHINE)
"""The kinds of manifests that a plan holds."""


def kind_of(manifest: dict[str, Any]) -> Kind:
    """The kind of a plan's manifest. Raises KeyError for one that no plan of ours holds."""
    return {(kind.api_version, kind.name): kind for kind in PLANNED}[manifest["apiVersion"], manifest["kind"]]
