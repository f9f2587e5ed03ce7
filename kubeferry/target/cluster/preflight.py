"""What speaks against a plan in this cluster."""

from __future__ import annotations

from kubeferry.documents import Entry, TargetConfig
from kubeferry.model import Concern
from kubeferry.target.cluster.api import Cluster


def concerns(cluster: Cluster, config: TargetConfig, entries: tuple[Entry, ...]) -> list[Concern]:
    del config, entries
    cluster.version()
    return []
