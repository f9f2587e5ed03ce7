"""What no other module read: told as facts in libvirt's own terms, bounded, and without anything that looks secret."""

from __future__ import annotations

import itertools
import re

from kubeferry.model import SourceFact
from kubeferry.sources.domain.addresses import in_words
from kubeferry.sources.domain.tree import Node, walk
from kubeferry.sources.fact_lists import bounded

MAX_CHARACTERS = 200
MAX_PATH = 1000

_SECRET = re.compile(r"passw|secret|cookie|token|credential|private|api-?key|\bquery=|qemu:env", re.IGNORECASE)
HIDDEN = "(not shown: it may be a secret)"

# What every domain has and what says nothing about it: how libvirt keeps it, and the states of one run.
_NOT_FACTS = (
    ".@id",
    "memory@dumpCore",
    "resource/partition",
    "vcpus",
    "cpu@match",
    "cpu@check",
    "cpu/model@fallback",
    "os/loader@readonly",
    "os/loader@format",
    "os/nvram@format",
    "os/nvram@template",
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
    "cpu/topology@dies": {"1"},
    "cpu/topology@clusters": {"1"},
    "features/hyperv@mode": {"custom"},
    "os/loader@stateless": {"no"},
}


def leftovers(root: Node) -> tuple[SourceFact, ...]:
    """The facts that are left in a domain after all parts were read; addresses last, as the least surprising."""
    root.skip(*(path for path in _NOT_FACTS if root.has(path.partition("@")[0])))
    for path, usual in _USUAL.items():
        root.word(path, usual)
    for label in root.all("seclabel"):
        label.skip_all()  # it confines the program that ran the machine, not the machine
    return bounded(told(root))


def told(root: Node) -> list[SourceFact]:
    """Everything in a tree that nobody read, by its path."""
    facts = [
        SourceFact(path=cut(path), value=shown(path, in_words(node) if node.tag == "address" else left))
        for path, node in itertools.chain([(".", root)], walk(root))
        if (left := node.unread()) is not None
    ]
    return sorted(facts, key=lambda fact: fact.path.endswith("/address"))


def shown(path: str, value: str) -> str:
    """A value as it may stand in a document: not too long, on one line, and not if it looks like a secret. One whose
    path is too long to be searched for every value counts as one."""
    if len(path) > MAX_PATH:
        return HIDDEN
    return HIDDEN if _SECRET.search(path) or _SECRET.search(value) else cut(" ".join(value.split()))


def cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
