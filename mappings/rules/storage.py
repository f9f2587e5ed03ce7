"""Rules about the claims that disks go to: class, modes, size, and what they let the machine do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mappings.quantities import human_bytes
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when
from mappings.storage import CLASS_MISSING, CLASS_OPEN, MODES_UNKNOWN, MODES_UNUSUAL, Storage


def stores(case: Case) -> list[tuple[Storage, list[str]]]:
    """Where the machine's disks go, each way once, with the ids of its disks."""
    found: list[tuple[Storage, list[str]]] = []
    for disk in case.machine.data_disks:
        storage = case.choices.storage_of(disk.id)
        same = next((disks for one, disks in found if one == storage), None)
        if same is None:
            found.append((storage, [disk.id]))
        else:
            same.append(disk.id)
    return found


def each(find: Callable[[Case, Storage], Iterable[str]]) -> Callable[[Case], Iterator[str]]:
    """A rule over each way in which disks are claimed; its disks are named where there are several ways."""

    def rule(case: Case) -> Iterator[str]:
        ways = stores(case)
        for storage, disks in ways:
            of_these = f"Disk {', '.join(disks)}: " if len(ways) > 1 else ""
            yield from (f"{of_these}{what}" for what in find(case, storage))

    return rule


def doubted(rule: str) -> Callable[[Case], Iterator[str]]:
    """A rule over what was in doubt when the claims were decided."""
    return each(lambda _case, storage: (doubt.what for doubt in storage.doubts if doubt.id == rule))


def _class(_case: Case, storage: Storage) -> Iterable[str]:
    if storage.named:
        return ()
    if storage.offered is None:
        return when(not storage.asked, "No storage class is named; the cluster's default is used.")
    whose = "the default for virtualization" if storage.offered.virt_default else "the cluster's default"
    return (f"No storage class is named; the claims ask for {storage.offered.name}, {whose}.",)


def _smallest(case: Case) -> Iterator[str]:
    for disk in case.machine.data_disks:
        storage = case.choices.storage_of(disk.id)
        if disk.capacity_bytes and disk.capacity_bytes < storage.minimum_bytes:
            least = human_bytes(storage.minimum_bytes)
            yield f"Disk {disk.id} grows: storage class {storage.storage_class} makes no volume smaller than {least}."


def _grows(_case: Case, storage: Storage) -> Iterable[str]:
    on_files = storage.volume_mode == "Filesystem"
    return when(on_files, "KubeVirt grows disks on file systems to what their claims carry, at the first start.")


def _on_one_node(case: Case) -> list[str]:
    """The access modes that keep the machine from migrating live: a second node must be able to write its claims."""
    modes = (storage.access_mode for storage, _disks in stores(case))
    return list(dict.fromkeys(mode for mode in modes if mode != "ReadWriteMany"))


def _eviction(case: Case) -> Iterable[str]:
    stuck = bool(_on_one_node(case)) and case.choices.eviction_strategy == "LiveMigrate"
    return when(stuck, "The machine cannot migrate live from its claims, and its eviction strategy blocks drains.")


def _no_migration(case: Case) -> Iterable[str]:
    """Told where the target's classes are known: there it is a choice, not a guess."""
    modes = _on_one_node(case)
    stays = case.choices.storage.asked and bool(modes) and case.choices.eviction_strategy != "LiveMigrate"
    told = " and ".join(modes)
    return when(stays, f"The machine cannot migrate live from {told} claims: it stops when its node is drained.")


_MODES_FIX = "Set `storage.accessMode` and `storage.volumeMode` in the policy to what the class's volumes can do."

RULES = (
    Rule(
        CLASS_MISSING,
        CRITICAL,
        "a storage class that the cluster has not",
        "Name one that it has in `storage.storageClass` of the policy.",
        doubted(CLASS_MISSING),
    ),
    Rule(
        CLASS_OPEN,
        CRITICAL,
        "no storage class in the policy, and no default in the cluster",
        "Set `storage.storageClass` in the policy.",
        doubted(CLASS_OPEN),
    ),
    Rule(
        MODES_UNKNOWN,
        CRITICAL,
        "access or volume mode that neither policy nor profile tells",
        _MODES_FIX,
        doubted(MODES_UNKNOWN),
        False,
    ),
    Rule(
        MODES_UNUSUAL,
        WARNING,
        "access and volume mode that the class's profile does not tell of",
        "Leave one of them out of the policy, or see that the class makes such volumes: else the claim stays pending.",
        doubted(MODES_UNUSUAL),
    ),
    Rule(
        "storage.class-default",
        INFO,
        "no storage class in the policy",
        "Set `storage.storageClass` in the policy.",
        each(_class),
    ),
    Rule(
        "storage.minimum",
        INFO,
        "disks smaller than the smallest volume of their class",
        "Nothing, if the guest does not depend on the size; else choose another class.",
        _smallest,
    ),
    Rule(
        "disk.may-grow",
        INFO,
        "disks on file systems, which grow",
        "Use volume mode Block if the size must stay exact.",
        each(_grows),
    ),
    Rule(
        "eviction.blocked",
        WARNING,
        "claims and eviction strategy that block drains",
        "Use LiveMigrateIfPossible, or access mode ReadWriteMany.",
        _eviction,
    ),
    Rule(
        "storage.one-node",
        INFO,
        "claims from which the machine cannot migrate live",
        "Use a class with access mode ReadWriteMany if it must keep running when its node is drained.",
        _no_migration,
    ),
)
