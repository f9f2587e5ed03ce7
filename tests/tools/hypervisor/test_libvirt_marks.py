"""The mark in a real domain's metadata: beside what others keep there, refused in words where it may not be left."""

from __future__ import annotations

import libvirt
import pytest

from kubeferry import marks
from kubeferry.documents import SourceConfig
from kubeferry.errors import SourceRefused
from kubeferry.ledger import STOP_MARK, External
from kubeferry.model import Power
from kubeferry.sources import Source, open_source
from lab import daemons
from lab.bare import Bare
from lab.daemons import virsh
from tests.needs import needs
from tests.tools.hypervisor.test_libvirt_source import found

pytestmark = [
    needs(*daemons.PROGRAMS, "root"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
]

WHEN = "2026-01-01T00:00:00Z"
MARK = marks.StopMark("0" * 12, Power.RUNNING, WHEN, "0" * 64, WHEN, "", "wave <1> & more")
THEIRS = "http://example.org/owner"


def untold(_thing: External) -> None:
    """The ledger of these tests."""


def test_what_others_keep_in_the_metadata_stays_as_it_was(bare: Bare, source: Source) -> None:
    name = bare.define("owned", (bare.image("a.raw"), "raw"))
    virsh("metadata", name, THEIRS, "--key", "own", "--set", "<owner>ops</owner>", "--config")
    before = virsh("dumpxml", name, "--inactive")
    machine = found(source, name)
    source.mark(machine, MARK, untold)
    assert "ops" in virsh("metadata", name, THEIRS, "--config")
    assert "before=running" in virsh("metadata", name, "urn:kubeferry:stopped", "--config")
    assert (source.marked(machine), found(source, name).unmodelled) == (MARK, machine.unmodelled)
    source.unmark(machine)
    assert virsh("dumpxml", name, "--inactive") == before


def test_a_mark_of_a_running_machine_is_in_both_definitions_and_goes_from_both(bare: Bare, source: Source) -> None:
    name = bare.define("both", (bare.image("a.raw"), "raw"))
    virsh("start", name)
    machine = found(source, name)
    source.mark(machine, MARK, untold)
    assert all("kubeferry:stopped" in virsh("dumpxml", name, *one) for one in ([], ["--inactive"]))
    source.unmark(machine)
    assert not any("kubeferry:stopped" in virsh("dumpxml", name, *one) for one in ([], ["--inactive"]))


def test_something_else_in_the_place_of_the_mark_is_none_and_is_taken_away(bare: Bare, source: Source) -> None:
    name = bare.define("odd", (bare.image("a.raw"), "raw"))
    virsh("metadata", name, "urn:kubeferry:stopped", "--key", "x", "--set", "<stopped>yes</stopped>", "--config")
    machine = found(source, name)
    assert source.marked(machine) is None
    thing = External(STOP_MARK, name, machine.id)
    assert source.exists(thing)
    assert "mark" in source.forget(machine)
    assert not source.exists(thing)


def test_a_transient_machine_is_not_marked_and_that_is_told(bare: Bare, source: Source) -> None:
    machine = found(source, bare.create("transient", (bare.image("a.raw"), "raw")))
    with pytest.raises(SourceRefused, match="libvirt refused") as refused:
        source.mark(machine, MARK, untold)
    assert "transient" in refused.value.why
    assert source.marked(machine) is None
    source.unmark(machine)
    assert source.power(machine) is Power.RUNNING


def test_where_a_connection_may_only_read_no_mark_is_left_and_that_is_told(
    bare: Bare, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = found(source, bare.define("reader", (bare.image("a.raw"), "raw")))
    monkeypatch.setattr(libvirt, "open", libvirt.openReadOnly)
    reader = open_source("lab", SourceConfig(kind="libvirt", uri=daemons.URI))
    with pytest.raises(SourceRefused, match="libvirt refused") as refused:
        reader.mark(machine, MARK, untold)
    assert "read only" in refused.value.why or "denied" in refused.value.why
    assert reader.marked(machine) is None
    reader.close()
