"""The table of Forklift's concerns: whole, and naming only rules that there are."""

from __future__ import annotations

from collections import Counter

from mappings.rules.covers import THEIRS, covered_by
from mappings.rules.table import RULES


def test_every_concern_of_theirs_has_an_answer_and_names_rules_that_exist() -> None:
    known = {rule.id for rule in RULES}
    assert Counter(one.provider for one in THEIRS) == {
        "vmware": 29,
        "ovirt": 39,
        "openstack": 16,
        "hyperv": 12,
        "ova": 6,
    }
    assert not [one for one in THEIRS if not one.ours and not one.instead]
    assert {rule for one in THEIRS for rule in one.ours} <= known


def test_what_their_rules_for_vsphere_look_at_ours_do_too() -> None:
    uncovered = [one.about for one in THEIRS if one.provider == "vmware" and not one.ours]
    assert uncovered == ["guest disk key not found"]


def test_a_rule_knows_what_it_covers() -> None:
    assert {one.provider for one in covered_by("disk.shared")} == {"vmware", "ovirt", "openstack"}
    assert covered_by("probe.none") == []
