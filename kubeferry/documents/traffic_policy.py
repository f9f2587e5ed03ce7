"""What a policy says of the traffic of machines, and of who they belong to where tenants do not trust each other."""

from __future__ import annotations

from typing import Literal

from kubeferry.documents.base import ShortName
from kubeferry.model import Value


class TrafficPolicy(Value):
    """Whether filters of the source become NetworkPolicies.

    `policies`: `from-source` writes one for each machine whose card on the pod network has filters; `none` writes none,
    and then whoever reaches the pod network reaches the machine. `segments`: a card without filters, but with VLAN
    tags, is reached by machines of the same VLAN and switch alone, and reaches no others. `resolver` lets a machine
    whose ways out are limited ask the cluster's DNS, as it could ask its source's.
    """

    policies: Literal["none", "from-source"] = "none"
    segments: bool = False
    resolver: bool = False

    @property
    def asked(self) -> bool:
        """Whether any NetworkPolicy is asked for."""
        return self.policies == "from-source" or self.segments


class SandboxPolicy(Value):
    """Who a machine belongs to: machines of different tenants do not trust each other. `runtime_class` is what movers
    of its disks run under (kata, gvisor); None: as the configuration says."""

    tenant: ShortName | None = None
    runtime_class: ShortName | None = None
