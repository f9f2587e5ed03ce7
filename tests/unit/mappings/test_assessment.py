"""A whole inventory: verdicts, what machines share, how much data there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubeferry.documents import Inventory, MachinePolicy, NetworkMap, Policy, StoragePolicy
from kubeferry.model import Cpu, Disk, Machine, Memory
from mappings.assessment import assess, render_assessment_markdown, render_summary_markdown
from mappings.estimate import Rates, estimate
from mappings.quantities import MIB

Build = Callable[..., Machine]
BuildDisk = Callable[..., Disk]
GIB = 1 << 30
QUIET = Policy(
    storage=StoragePolicy(storage_class="fast", volume_mode="Block"),
    networks=(NetworkMap(target="multus", multus_name="lan"),),
)


def inventory(*machines: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="libvirt", observed_at="2026-11-24T02:00:00Z", machines=machines)


def test_verdicts(machine: Build, disk: BuildDisk) -> None:
    assert [one.verdict for one in assess(inventory(machine()), QUIET)] == ["ready"]
    assert [one.verdict for one in assess(inventory(machine()), Policy())] == ["ready-with-warnings"]
    assert [one.verdict for one in assess(inventory(machine(arch="s390x")), QUIET)] == ["blocked"]
    unsized = disk("vda", capacity_bytes=None)
    assert [one.verdict for one in assess(inventory(machine(disks=(unsized,))), QUIET)] == ["incomplete"]
    left_out = QUIET.model_copy(update={"machines": {"web": MachinePolicy(include=False)}})
    assert [one.verdict for one in assess(inventory(machine()), left_out)] == ["excluded"]


def test_a_mac_that_two_share_blocks_both(machine: Build) -> None:
    both = assess(inventory(machine(), machine(name="twin", uuid=None)), QUIET)
    assert [one.verdict for one in both] == ["blocked", "blocked"]
    assert "that of twin" in next(one.what for one in both[0].concerns if one.id == "mac.duplicate")


def test_one_uuid_for_two_is_a_warning(machine: Build) -> None:
    both = assess(inventory(machine(), machine(name="twin", nics=())), QUIET)
    assert ["uuid.duplicate" in {concern.id for concern in one.concerns} for one in both] == [True, True]


def test_a_manifest_that_would_be_refused_is_a_concern(machine: Build) -> None:
    (found,) = assess(inventory(machine()), QUIET.model_copy(update={"labels": {"team": "my team"}}))
    assert found.verdict == "blocked"
    assert {concern.id for concern in found.concerns if concern.severity == "critical"} == {"manifest.refused"}


def test_what_is_known_exactly_is_one_amount_of_data(disk: BuildDisk) -> None:
    rates = Rates(slow=10 * MIB, fast=100 * MIB)
    found = estimate((disk("vda"), disk("vdb", allocated_bytes=GIB)), rates)
    assert found.low_bytes == found.high_bytes == 4 * GIB
    assert found.low_seconds == pytest.approx(2 * 4 * 1024 / 100)
    assert found.high_seconds == pytest.approx(2 * 4 * 1024 / 10)
    assert found.assumptions[0].startswith("between 10 and 100 MiB/s")


def test_what_is_not_known_widens_the_range(disk: BuildDisk) -> None:
    layered = disk("vda", format="qcow2", chain=None)
    found = estimate((layered, disk("vdb", allocated_bytes=None), disk("vdc", capacity_bytes=None)), Rates())
    assert (found.low_bytes, found.high_bytes) == (3 * GIB, 20 * GIB)
    assert any("without vdc" in one for one in found.assumptions)
    assert any("how full vda, vdb are" in one for one in found.assumptions)


def test_the_page_tells_the_owner_what_to_do(machine: Build, disk: BuildDisk) -> None:
    subject = machine(power="paused", disks=(disk("hda", bus="ide", cache="unsafe", wwn="5000"),))
    page = render_assessment_markdown(assess(inventory(subject), Policy())[0])
    assert page.startswith("# web\n\n**Blocked")
    sections = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert sections == [
        "What will happen",
        "What must be settled first",
        "What to check",
        "Good to know",
        "Where it fits",
        "What changes",
        "What is lost",
        "What stays as it is",
    ]
    assert "| hda | 10 GiB | `web-hda` | 10.6 GiB | Filesystem, ReadWriteOnce | the default |" in page
    assert "Resume or stop it at the source" in page
    assert "Copy: 3 GiB in 10 s to 2 min" in page


def test_the_summary_shows_the_blocked_first(machine: Build, disk: BuildDisk) -> None:
    odd = machine(name="odd", nics=(), arch="arm", uuid=None, disks=(disk("vdb"),))
    estate = assess(inventory(machine(), odd), QUIET)
    rows = render_summary_markdown(estate).splitlines()
    assert [row.split(" | ")[:2] for row in rows[4:]] == [
        ["| [odd](odd/README.md)", "blocked"],
        ["| [web](web/README.md)", "ready"],
    ]


def test_what_nobody_knows_the_size_of_is_no_disk_of_zero_bytes(machine: Build, disk: BuildDisk) -> None:
    unsized = disk("vdb", capacity_bytes=None), disk("vdc", capacity_bytes=None)
    found = assess(inventory(machine(disks=(disk("vda"), *unsized)), machine(name="odd", disks=unsized)), QUIET)
    told = {row.split(" | ")[0][3:6]: row.split(" | ")[2:5] for row in render_summary_markdown(found).splitlines()[4:]}
    assert told == {"web": ["3", "10 GiB, 2 unknown", "unknown"], "odd": ["2", "2 unknown", "unknown"]}
    untold = Disk(id="vdb", source_kind="unknown")
    (nothing,) = assess(inventory(machine(disks=(untold,))), QUIET)
    assert "| 1 | 1 unknown | unknown |" in render_summary_markdown([nothing])
    some, none = (render_assessment_markdown(one) for one in found)
    assert "Copy: 3 GiB in 10 s to 2 min, and what is not known. Assumed: " in some
    assert "Copy: not known. Assumed: " in none
    assert all("without vdb, vdc, whose size is not known" in page for page in (some, none))


@example("web\u202egpj.exe")
@given(st.text(min_size=1, max_size=60))
def test_text_of_the_source_brings_no_markup(text: str) -> None:
    subject = Machine(
        id="1", name=text, source="lab", title=f"{text}|</td><script>", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=GIB)
    )
    page = render_assessment_markdown(assess(inventory(subject), Policy())[0])
    assert "<script" not in page
    assert not set(page) & set("\u202e\u2066\x1b")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "title" in line]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
