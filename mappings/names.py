"""Kubernetes names from any source name: legal, the same every time, and different for different things.

A legal name stays as it is; `web01.corp.example` becomes `web01-corp-example`. Where two names come to the same one, or
next to nothing is left of a name, a short hash of the original tells them apart.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field

from kubeferry.documents import MachinePolicy, Policy
from kubeferry.model import Machine

LIMIT = 63
DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_HASH_DIGITS = 6
_WORD = re.compile(r"\{([^{}]*)\}")
_TAG = "tag:"

# Letters that Unicode does not take apart into a Latin letter and an accent, and those that have a usual spelling.
_SPELLINGS = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "ß": "ss",
        "æ": "ae",
        "ø": "oe",
        "å": "aa",
        "œ": "oe",
        "ł": "l",
        "đ": "d",
        "ð": "d",
    }
    | {"þ": "th", "&": "-and-", "+": "-plus-", "@": "-at-"}
)
_CAPITALS = {
    ord(chr(letter).upper()): text.capitalize()
    for letter, text in _SPELLINGS.items()
    if chr(letter).isalpha() and len(chr(letter).upper()) == 1
}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one machine at the target; volumes and claims by disk id, interfaces by NIC id."""

    machine: str
    volumes: dict[str, str] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    interfaces: dict[str, str] = field(default_factory=dict)


def is_dns_label(text: str) -> bool:
    return DNS_LABEL.fullmatch(text) is not None


def dns_label(text: str, taken: Container[str] = ()) -> str:
    """A DNS label of at most 63 characters for `text`, none of those in `taken`.

    `text` itself when it is one already and free; else its legal part and a hash of the whole `text`.
    """
    if is_dns_label(text) and text not in taken:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    stem = _latin(text)
    for digits in range(_HASH_DIGITS, len(digest)):
        suffix = digest[:digits]
        name = f"{stem[: LIMIT - 1 - digits].rstrip('-')}-{suffix}".lstrip("-")
        if name not in taken:
            return name
    raise AssertionError("more names are taken than a hash has lengths")


def dns_labels(texts: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A DNS label for each text, all different and none of those in `taken`, whatever the order of the texts.

    Legal texts that are free stay; of the others, one whose legal part is nobody else's gets just that, and those that
    would share it (or have none, or too long a one) get a hash behind it.
    """
    used = set(taken)
    wanted = sorted(set(texts))
    found = {text: text for text in wanted if is_dns_label(text) and text not in used}
    used |= found.keys()
    left = [text for text in wanted if text not in found]
    claimed = Counter(map(_latin, left))
    for text in left:
        stem = _latin(text)
        alone = is_dns_label(stem) and claimed[stem] == 1 and stem not in used
        found[text] = stem if alone else dns_label(text, used)
        used.add(found[text])
    return found


def _latin(text: str) -> str:
    """The letters, digits and hyphens that are left of a text; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", _ascii(text.lower()).lower()).strip("-")


def _ascii(text: str) -> str:
    """Letters in their usual Latin spelling; what has none goes."""
    spelled = unicodedata.normalize("NFC", text).translate(_SPELLINGS).translate(_CAPITALS)
    return unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()


_WORDS: dict[str, Callable[[Machine], str]] = {
    "name": lambda machine: machine.name,
    "source": lambda machine: machine.source,
    "folder": lambda machine: (machine.metadata.get("folder") or "").rstrip("/").rpartition("/")[2],
}
"""What a template of the policy may name, and what is put in for it."""


def rendered(template: str, machine: Machine) -> str:
    """A template with its words filled in; one that is none stays as it stands."""
    return _WORD.sub(lambda found: _said(found[1], machine) if _is_word(found[1]) else found[0], template)


def empty_words(template: str, machine: Machine) -> list[str]:
    """The words of a template for which this machine has nothing to put in."""
    return sorted(word for word in set(_WORD.findall(template)) if _is_word(word) and not _said(word, machine).strip())


def settles(template: str, machine: Machine) -> bool:
    """Whether a template makes a name of this machine: it has something for each word, and letters or digits are left
    of it all."""
    return not empty_words(template, machine) and bool(_latin(rendered(template, machine)))


def unknown_words(template: str) -> list[str]:
    """The words of a template that nothing can be put in for."""
    return sorted(word for word in set(_WORD.findall(template)) if not _is_word(word))


def _is_word(word: str) -> bool:
    return word in _WORDS or (word.startswith(_TAG) and word != _TAG)


def _said(word: str, machine: Machine) -> str:
    return _WORDS[word](machine) if word in _WORDS else next(tagged(machine, word.removeprefix(_TAG)), "")


def tagged(machine: Machine, key: str) -> Iterator[str]:
    """The values of a tag or attribute. vSphere has several of one category: all of them in one line, then each."""
    for value in (machine.metadata.get(name) for name in (key, f"tag/{key}", f"attribute/{key}")):
        if value:
            yield from dict.fromkeys((value, *value.split(", ")))


def label_value(text: str) -> str:
    """What a label can hold of a text: a legal value as it is; of others, letters in their Latin spelling, and hyphens
    for what is no letter, digit, dot or underscore; at most 63 characters. Empty where a letter has no such spelling:
    what is left would say something else."""
    if LABEL_VALUE.fullmatch(text):
        return text
    if any(letter.isalnum() and not _ascii(letter).strip() for letter in text):
        return ""
    return re.sub(r"[^A-Za-z0-9._]+", "-", _ascii(text))[:LIMIT].strip("-._")


def machine_names(machines: Iterable[Machine], policy: Policy) -> dict[str, Names]:
    """The names of all machines, by source name: no two machines and no two claims of one namespace share one.

    Names that the policy gives are taken as they are; that two of them are equal is for the plan to refuse.
    """
    listed = sorted(machines, key=lambda machine: machine.name)
    targets = _targets(listed, policy)
    claims: dict[str, set[str]] = {}
    found: dict[str, Names] = {}
    for machine in listed:
        namespace = policy.of(machine.name).namespace or policy.namespace
        found[machine.name] = _names(machine, targets[machine.name], claims.setdefault(namespace, set()))
    return found


def _targets(machines: list[Machine], policy: Policy) -> dict[str, str]:
    wishes = {machine.name: policy.of(machine.name) for machine in machines}
    given = {source: wish.name for source, wish in wishes.items() if wish.name}
    texts = {machine.name: _text(wishes[machine.name], machine) for machine in machines if machine.name not in given}
    times = Counter(texts.values())  # a template may make two names one: the machines' own tell them apart
    texts = {name: text if times[text] == 1 else f"{text} {name}" for name, text in texts.items()}
    labels = dns_labels(texts.values(), given.values())
    return given | {name: labels[text] for name, text in texts.items()}


def _text(wish: MachinePolicy, machine: Machine) -> str:
    """What its name is made of; its own, where the template makes none (`name.unsettled` tells so)."""
    template = wish.name_template
    return rendered(template, machine) if template and settles(template, machine) else machine.name


def _names(machine: Machine, target: str, claims: set[str]) -> Names:
    volumes = dns_labels(disk.id for disk in machine.disks)
    interfaces = dns_labels(nic.id for nic in machine.nics)
    claimed: dict[str, str] = {}
    for disk in machine.data_disks:
        claimed[disk.id] = dns_label(f"{target}-{volumes[disk.id]}", claims)
        claims.add(claimed[disk.id])
    return Names(target, volumes, claimed, interfaces)
