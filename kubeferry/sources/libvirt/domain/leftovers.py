"""What no other module read: told as facts in libvirt's own terms, bounded, and without anything that looks secret."""

from __future__ import annotations

from kubeferry.model import SourceFact
from kubeferry.sources.facts.leftovers import told
from kubeferry.sources.facts.lists import bounded
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.libvirt.domain.addresses import in_words

# What every domain has and what says nothing about it: how libvirt keeps it, and the states of one run.
_NOT_FACTS = (
    ".@id",
    "memory@dumpCore",
    "resource/partition",
    "vcpus",
    "cpu@check",
    "cpu/model@fallback",
    "os/loader@readonly",
    "os/loader@format",
)
# The usual answer, which is also what the target does; any other one is a fact.
_USUAL = {
    ".@type": {"kvm", "qemu"},
    "os/type": {"hvm"},
    "on_poweroff": {"destroy"},
    "on_reboot": {"restart"},
    "on_crash": {"destroy", "restart"},
    "pm/suspend-to-mem@enabled": {"no"},
    "pm/suspend-to-disk@enabled": {"no"},
    "vcpu@placement": {"static"},
    "cpu@match": {"exact"},
    "cpu/topology@dies": {"1"},
    "cpu/topology@clusters": {"1"},
    "features/hyperv@mode": {"custom"},
    "os/loader@stateless": {"no"},
}


def leftovers(root: Node) -> tuple[SourceFact, ...]:
    """The facts that are left in a domain after all parts were read; addresses last, as the least surprising."""
    root.skip(*(path for path in _NOT_FACTS if root.has(path.partition("@")[0])))
    root.value("iothreads")  # each disk says whether it has a thread of its own
    for path, usual in _USUAL.items():
        root.word(path, usual)
    for label in root.all("seclabel"):
        label.skip_all()  # it confines the program that ran the machine, not the machine
    return bounded(told(root, {"address": in_words}))
