"""The kinds of sources and targets: the configuration's word for each, and the module of its folder that opens it.

These are the only lists of them. A kind's word is what its users call it, its folder is called after the thing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

SOURCES = {
    "libvirt": "kubeferry.sources.libvirt.source",
    "memory": "kubeferry.sources.memory.source",
    "vmware": "kubeferry.sources.vsphere.source",
    "aws": "kubeferry.sources.ec2.source",
    "ova": "kubeferry.sources.ovf.source",
}
"""Each module has `connect(name, config)`, which gives a `kubeferry.sources.Source`."""

TARGETS = {
    "directory": "kubeferry.targets.directory.target",
    "kubevirt": "kubeferry.targets.kubevirt.target",
    "memory": "kubeferry.targets.memory.target",
}
"""Each module has `connect(config)`, which gives a `kubeferry.targets.Target`."""

if TYPE_CHECKING:
    SourceKind = str
    TargetKind = str
else:  # documents check a word against the table, and their schemas list its words
    SourceKind = Literal[tuple(SOURCES)]
    TargetKind = Literal[tuple(TARGETS)]
