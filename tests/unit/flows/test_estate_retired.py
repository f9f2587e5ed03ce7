# ruff: noqa: F811
"""A hypervisor that a machine has left is taken out of the estate, since it is gone for good."""

from __future__ import annotations

from kubeferry.model import Power
from tests.unit.flows.test_estate import CONFIG, Hypervisors, two  # noqa: F401  (a fixture)


def test_a_machine_goes_back_where_it_was_stopped_when_the_one_that_it_had_left_is_no_member(two: Hypervisors) -> None:
    two.planned()
    two.migrate_live("db", "hv1", "hv2")
    two.ok("migrate", "plan.yaml", "-m", "db")
    retired = CONFIG.format(folder=two.folder).replace("[hv1, hv2]", "[hv2]")
    (two.folder / "kubeferry.yaml").write_text(retired)
    two.ok("rollback", "plan.yaml", "-m", "db", "--yes", "--lose-writes")
    assert two.power("db", "hv2") is Power.RUNNING
