"""The XML of libvirt's domains, checkpoints and backup jobs: its namespaces, and what to do about a wrong one. Pure."""

from __future__ import annotations

from kubeferry.sources.facts.xml_tree import Dialect

DOMAIN = Dialect(
    what="a domain's XML",
    again="Export the domain again with `virsh dumpxml`.",
    single="Export one domain into each file with `virsh dumpxml`.",
    doctype="Remove it; libvirt writes none.",
    namespaces={
        "http://libvirt.org/schemas/domain/qemu/1.0": "qemu",
        "http://libosinfo.org/xmlns/libvirt/domain/1.0": "libosinfo",
        "http://openstack.org/xmlns/libvirt/nova/1.1": "nova",
        "http://ovirt.org/vm/1.0": "ovirt-vm",
        "http://ovirt.org/vm/tune/1.0": "ovirt-tune",
        "urn:kubeferry:stopped": "kubeferry",
    },
)
