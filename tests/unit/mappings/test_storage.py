"""Claims are as CDI would make them: class, modes and overhead, from the policy and what the cluster says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import ClaimSet, Inventory, MachinePolicy, Offer, Policy, StorageClass, StoragePolicy
from kubeferry.documents.offer import pick_class
from kubeferry.model import Machine
from mappings.assessment import assess, render_assessment_markdown
from mappings.plan import make_plan
from mappings.quantities import format_bytes
from mappings.sizing import claim_size
from mappings.storage import (
    CLASS_MISSING,
    CLASS_OPEN,
    MODES_UNKNOWN,
    MODES_UNUSUAL,
    UNASKED,
    Storage,
    resolve,
)

Build = Callable[..., Machine]
GIB = 1 << 30
RWO, RWX, RWOP, ROX = "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany"

RBD = (
    ClaimSet(access_modes=(RWX,), volume_mode="Block"),
    ClaimSet(access_modes=(RWO,), volume_mode="Block"),
    ClaimSet(access_modes=(RWO,), volume_mode="Filesystem"),
)


def offer(**facts: Any) -> Offer:
    return Offer(classes=(StorageClass(**({"name": "rbd", "default": True, "sets": RBD} | facts)),))


def modes(storage: Storage) -> tuple[str, str]:
    return storage.access_mode, storage.volume_mode


def doubts(storage: Storage) -> list[str]:
    return [doubt.id for doubt in storage.doubts]


# --- any policy, any cluster -----------------------------------------------------------------------------------------

ACCESS = st.sampled_from([RWO, RWX, RWOP])
VOLUME = st.sampled_from(["Block", "Filesystem"])
OVERHEAD = st.sampled_from([0.0, 0.055, 0.1, 0.5])
SETS = st.lists(
    st.fixed_dictionaries(
        {"access_modes": st.lists(st.sampled_from([RWO, RWX, RWOP, ROX])).map(tuple), "volume_mode": VOLUME}
    ).map(ClaimSet.model_validate),
    max_size=4,
).map(tuple)
CLASSES = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c"]),
            "default": st.booleans(),
            "virt_default": st.booleans(),
            "sets": SETS,
            "filesystem_overhead": st.none() | OVERHEAD,
            "minimum_bytes": st.none() | st.integers(0, 4 * GIB),
        }
    ).map(StorageClass.model_validate),
    max_size=3,
    unique_by=lambda one: one.name,
).map(tuple)
POLICIES = st.fixed_dictionaries(
    {
        "storage_class": st.none() | st.sampled_from(["", "a", "b", "gone"]),
        "access_mode": st.none() | ACCESS,
        "volume_mode": st.none() | VOLUME,
        "filesystem_overhead": st.none() | OVERHEAD,
    }
).map(StoragePolicy.model_validate)
OFFERS = CLASSES.map(lambda classes: Offer(classes=classes))


@given(POLICIES, OFFERS)
def test_what_the_policy_says_is_what_is_done(policy: StoragePolicy, there: Offer) -> None:
    made = resolve(policy, there)
    assert policy.storage_class in {None, made.storage_class}
    assert policy.access_mode in {None, made.access_mode}
    assert policy.volume_mode in {None, made.volume_mode}
    if made.volume_mode == "Filesystem":
        assert policy.filesystem_overhead in {None, made.overhead}
    else:
        assert made.overhead == 0


@given(POLICIES, OFFERS)
def test_without_a_doubt_the_claim_is_one_that_the_class_makes(policy: StoragePolicy, there: Offer) -> None:
    made = resolve(policy, there)
    if not made.asked or made.doubts:
        return
    if made.storage_class == "":
        assert policy.access_mode
        assert policy.volume_mode
        return
    (chosen,) = (one for one in there.classes if one.name == made.storage_class)
    told = {(access, one.volume_mode) for one in chosen.sets for access in one.access_modes} - {
        (ROX, "Block"),
        (ROX, "Filesystem"),
    }
    assert modes(made) in told or not told
    if not told:
        assert policy.access_mode
        assert policy.volume_mode


@given(POLICIES, OFFERS)
def test_the_first_set_that_fits_is_taken(policy: StoragePolicy, there: Offer) -> None:
    """CDI's rule, told as one loop over the profile."""
    if policy.access_mode and policy.volume_mode:
        return
    chosen = pick_class(policy.storage_class, there.classes)
    for one in chosen.sets if chosen else ():
        usable = [mode for mode in one.access_modes if mode != ROX and policy.access_mode in {None, mode}]
        if usable and policy.volume_mode in {None, one.volume_mode}:
            assert modes(resolve(policy, there)) == (usable[0], one.volume_mode)
            return


@given(CLASSES)
def test_the_default_for_virtualization_comes_before_the_clusters(classes: tuple[StorageClass, ...]) -> None:
    chosen = pick_class(None, classes)
    if any(one.virt_default for one in classes):
        assert chosen is not None
        assert chosen.virt_default
    elif any(one.default for one in classes):
        assert chosen is not None
        assert chosen.default
    else:
        assert chosen is None


@given(POLICIES)
def test_with_nobody_asked_claims_are_as_they_always_were(policy: StoragePolicy) -> None:
    made = resolve(policy, UNASKED)
    assert made.storage_class == policy.storage_class
    assert modes(made) == (policy.access_mode or RWO, policy.volume_mode or "Filesystem")
    assert doubts(made) == []
    assert not made.asked
    if policy.filesystem_overhead is None and policy.storage_class != "" and made.volume_mode == "Filesystem":
        assert made.overhead == 0.06


# --- cases by name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "expected", "speaks_against"),
    [
        ({}, (RWX, "Block"), []),
        ({"volume_mode": "Filesystem"}, (RWO, "Filesystem"), []),
        ({"access_mode": RWO}, (RWO, "Block"), []),
        ({"access_mode": RWOP}, (RWOP, "Block"), [MODES_UNUSUAL]),
        ({"access_mode": RWX, "volume_mode": "Filesystem"}, (RWX, "Filesystem"), [MODES_UNUSUAL]),
        ({"access_mode": RWO, "volume_mode": "Filesystem"}, (RWO, "Filesystem"), []),
    ],
)
def test_modes_come_from_the_profile(
    asked: dict[str, Any], expected: tuple[str, str], speaks_against: list[str]
) -> None:
    made = resolve(StoragePolicy(**asked), offer())
    assert modes(made) == expected
    assert doubts(made) == speaks_against


@pytest.mark.parametrize(
    ("asked", "there", "expected"),
    [
        ({}, {"filesystem_overhead": 0.1}, 0.1),
        ({}, {}, 0.06),
        ({"filesystem_overhead": 0.2}, {"filesystem_overhead": 0.1}, 0.2),
        ({"filesystem_overhead": 0}, {"filesystem_overhead": 0.1}, 0),
        ({}, {"filesystem_overhead": 0.0}, 0),
        ({"storage_class": ""}, {"filesystem_overhead": 0.1}, 0),
        ({"storage_class": "", "filesystem_overhead": 0.2}, {}, 0.2),
        ({"volume_mode": "Block", "filesystem_overhead": 0.2}, {}, 0),
    ],
)
def test_the_overhead_is_the_policys_then_the_classs(
    asked: dict[str, Any], there: dict[str, Any], expected: float
) -> None:
    wanted = {"volume_mode": "Filesystem", "access_mode": RWO} | asked
    assert resolve(StoragePolicy(**wanted), offer(**there)).overhead == expected


def test_a_volume_that_only_reads_is_never_asked_for() -> None:
    reading = (
        ClaimSet(access_modes=(ROX,), volume_mode="Block"),
        ClaimSet(access_modes=(ROX, RWO), volume_mode="Block"),
    )
    assert modes(resolve(StoragePolicy(), offer(sets=reading))) == (RWO, "Block")
    assert doubts(resolve(StoragePolicy(), offer(sets=reading[:1]))) == [MODES_UNKNOWN]


@pytest.mark.parametrize(
    ("asked", "there", "speaks_against"),
    [
        ({"storage_class": "gone"}, {}, [CLASS_MISSING, MODES_UNKNOWN]),
        ({"storage_class": "gone", "access_mode": RWO, "volume_mode": "Block"}, {}, [CLASS_MISSING]),
        ({}, {"default": False}, [CLASS_OPEN, MODES_UNKNOWN]),
        ({}, {"sets": ()}, [MODES_UNKNOWN]),
        ({"access_mode": RWO}, {"sets": ()}, [MODES_UNKNOWN]),
        ({"access_mode": RWO, "volume_mode": "Block"}, {"sets": ()}, []),
        ({"storage_class": ""}, {}, [MODES_UNKNOWN]),
    ],
)
def test_what_nobody_tells_is_asked_for(
    asked: dict[str, Any], there: dict[str, Any], speaks_against: list[str]
) -> None:
    assert doubts(resolve(StoragePolicy(**asked), offer(**there))) == speaks_against


# --- what it comes to ------------------------------------------------------------------------------------------------


def planned(machine: Machine, policy: Policy, there: Offer) -> Any:
    facts = Inventory(source="lab", source_kind="libvirt", observed_at="2026-11-24T02:00:00Z", machines=(machine,))
    return make_plan(facts, policy, name="first", created_at="2026-11-24T02:00:00Z", offer=there)


def test_the_claim_says_all_that_was_decided(machine: Build) -> None:
    there = Offer(classes=(StorageClass(name="slow", default=True), *offer(name="virt", virt_default=True).classes))
    (entry,) = planned(machine(), Policy(), there).entries
    assert entry.manifests[0]["spec"] == {
        "accessModes": [RWX],
        "volumeMode": "Block",
        "storageClassName": "virt",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    assert entry.disks[0].volume_mode == "Block"
    (told,) = (one for one in entry.concerns if one.id == "storage.class-default")
    assert told.what == "No storage class is named; the claims ask for virt, the default for virtualization."


def test_a_claim_is_sized_by_the_overhead_and_the_smallest_volume_of_its_class(machine: Build) -> None:
    policy = Policy(storage=StoragePolicy(volume_mode="Filesystem"))
    (entry,) = planned(machine(), policy, offer(filesystem_overhead=0.2)).entries
    assert entry.disks[0].claim_bytes == claim_size(10 * GIB, "Filesystem", 0.2)
    assert entry.manifests[0]["spec"]["resources"]["requests"]["storage"] == format_bytes(entry.disks[0].claim_bytes)
    (entry,) = planned(machine(), policy, offer(minimum_bytes=64 * GIB)).entries
    assert entry.disks[0].claim_bytes == 64 * GIB
    assert "storage.minimum" in {one.id for one in entry.concerns}


def test_a_machine_whose_claims_cannot_be_decided_is_not_moved(machine: Build) -> None:
    made = planned(machine(), Policy(), offer(sets=()))
    assert made.entries == ()
    assert "[storage.modes-unknown]" in made.excluded["web"]
    assert "storage.accessMode" in made.excluded["web"]


def test_each_machine_has_the_storage_that_is_named_for_it(machine: Build) -> None:
    own = MachinePolicy(storage=StoragePolicy(storage_class="rbd", volume_mode="Filesystem"))
    (entry,) = planned(machine(), Policy(machines={"web": own}), offer(default=False)).entries
    assert entry.manifests[0]["spec"]["volumeMode"] == "Filesystem"
    assert entry.concerns[0].id != CLASS_OPEN


def test_an_assessment_shows_the_claims_of_the_target_that_was_asked(machine: Build) -> None:
    facts = Inventory(source="lab", source_kind="libvirt", observed_at="2026-11-24T02:00:00Z", machines=(machine(),))
    (found,) = assess(facts, Policy(), offer=offer())
    assert "| Block, ReadWriteMany | rbd |" in render_assessment_markdown(found)
    (found,) = assess(facts, Policy())
    assert "| Filesystem, ReadWriteOnce | the default |" in render_assessment_markdown(found)
