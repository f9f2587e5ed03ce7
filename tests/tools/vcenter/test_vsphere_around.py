"""What stands around our ways to read a vSphere disk: a reader of the user's own, and tags; at the lab's vCenter."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from converters.endpoints import open_source as open_disk
from converters.engine.disks import copy_disk, verify_disk
from kubeferry.documents import StopPolicy
from kubeferry.errors import SourceRefused
from kubeferry.ledger import External
from kubeferry.model import DiskRef, Machine
from kubeferry.outside.process import child
from kubeferry.sources import Round, Source, open_source
from lab.vcenter.faults import Fault, Rules
from lab.vcenter.place import Place
from tests.listening import listens
from tests.needs import here

pytestmark = pytest.mark.xdist_group("vcenter")  # one simulator for all tests of a module

MIB = 1 << 20
SIZES = (5 * MIB, 2 * MIB)
CHANCE = random.Random(7)
FORCE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2, force=True)


@pytest.fixture
def web(lab: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A machine with two disks, off."""
    for name, value in lab.environment().items():
        monkeypatch.setenv(name, value)
    contents = []
    for number, size in enumerate(SIZES):
        contents.append(tmp_path / f"content{number}")
        contents[-1].write_bytes(CHANCE.randbytes(size // 2) + bytes(size - size // 2))
    lab.machine("web", contents)
    lab.relay.rules = Rules()
    yield "web"
    lab.relay.rules = Rules()
    lab.remove("web")


# --- a reader ------------------------------------------------------------------------------------------------------


def qemu_nbd(path: Path, place: str, export: str) -> list[str]:
    options = ["--persistent", "--read-only", "--shared=0", "--format=raw", f"--export-name={export}"]
    return ["qemu-nbd", *options, f"--socket={place}", str(path)]


def nbdkit(path: Path, place: str, _export: str) -> list[str]:
    """Its file plugin gives the same file under every name."""
    return ["nbdkit", "--foreground", "--readonly", f"--unix={place}", "file", str(path)]


Server = Callable[[Path, str, str], list[str]]


@pytest.fixture(params=[qemu_nbd, nbdkit], ids=["qemu-nbd", "nbdkit"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.param
    here(found(Path(), "", "")[0])
    return found


@pytest.fixture
def source(lab: Place, web: str, tmp_path: Path) -> Iterator[Source]:
    reader = f"nbd+unix:///{{file}}?socket={tmp_path}/{{machine}}-{{disk}}-{{snapshot}}"
    with contextlib.closing(open_source("lab", lab.config(taskSeconds=5, reader=reader))) as opened:
        yield opened


@pytest.fixture
def machine(source: Source) -> Machine:
    return next(one for one in source.discover().machines if one.name == "web")


def place_in(ref: DiskRef) -> tuple[str, str]:
    """Socket and export that a reference names."""
    parts = urlsplit(ref.uri)
    return parse_qs(parts.query)["socket"][0], unquote(parts.path[1:])


def copied(opened: Round, files: dict[str, Path], server: Server, folder: Path) -> dict[str, bytes]:
    """What comes of each disk, from a server of its own on its file."""
    found = {}
    for disk, ref in opened.refs.items():
        place, export = place_in(ref)
        target, fingerprint = folder / f"{disk}.raw", folder / f"{disk}.kff"
        target.touch()
        os.truncate(target, ref.size_bytes or 0)
        with child(server(files[disk], place, export), log=folder / "server.log") as serving:
            while not listens(Path(place)):
                assert serving.wait(0.01) is None, serving.tail()
            copy_disk(ref, DiskRef(uri=target.as_uri()), fingerprint, copy_id=place)
        assert not verify_disk(DiskRef(uri=target.as_uri()), fingerprint).differing
        Path(place).unlink(missing_ok=True)
        found[disk] = target.read_bytes()
    return found


def files_of(lab: Place, machine: Machine) -> dict[str, Path]:
    return {disk.id: file.path for disk, file in zip(machine.data_disks, lab.disks("web"), strict=True)}


def test_a_machine_that_is_off_is_read_through_the_users_own_server(
    lab: Place, source: Source, machine: Machine, server: Server, tmp_path: Path
) -> None:
    told: list[External] = []
    opened = source.open_round(machine, since=None, final=True, remote=False, ledger=told.append)
    for disk, ref in opened.refs.items():
        place, export = place_in(ref)
        assert place == f"{tmp_path}/web-{disk}-"
        assert export.startswith("[LocalDS_0] web/")
    assert len({export for _place, export in map(place_in, opened.refs.values())}) == 2
    files = files_of(lab, machine)
    assert copied(opened, files, server, tmp_path) == {disk: path.read_bytes() for disk, path in files.items()}
    source.close_round(opened)
    assert told == []
    assert lab.relay.rules.count("GET /folder") == 0


def test_a_running_machine_is_read_at_its_snapshot_and_once_more_when_it_is_off(
    lab: Place, source: Source, machine: Machine, server: Server, tmp_path: Path
) -> None:
    lab.configure("web", changeTrackingEnabled=True)
    lab.switch_on("web")
    below = files_of(lab, machine)
    before = {disk: path.read_bytes() for disk, path in below.items()}
    first = source.open_round(machine, since=None, final=False, remote=False, ledger=lambda _thing: None)
    (snapshot,) = lab.snapshots("web")
    assert all(place_in(ref)[0].endswith(f"-{snapshot}") for ref in first.refs.values())
    lab.write("web", 0, MIB, b"later than the snapshot")
    assert copied(first, below, server, tmp_path) == before
    source.close_round(first)
    assert lab.snapshots("web") == []
    assert lab.relay.rules.count("ExportSnapshot") == 0
    lab.write("web", 1, 0, b"later than the round")
    source.stop(machine, FORCE, lambda _words, _at, _said=None: None)
    last = source.open_round(machine, since=first.marker, final=True, remote=False, ledger=lambda _thing: None)
    assert {ref.changed for ref in last.refs.values()} == {None}
    files = files_of(lab, machine)
    now = {disk: path.read_bytes() for disk, path in files.items()}
    assert all(now[disk] != before[disk] for disk in now)
    assert copied(last, files, server, tmp_path) == now


def test_a_reader_that_is_not_there_is_named(source: Source, machine: Machine) -> None:
    opened = source.open_round(machine, since=None, final=True, remote=False, ledger=lambda _thing: None)
    ref = next(iter(opened.refs.values()))
    with pytest.raises(SourceRefused, match="cannot be reached") as told, open_disk(ref):
        pass
    assert place_in(ref)[0] in str(told.value)


# --- tags ----------------------------------------------------------------------------------------------------------


def tags_of(machine: Machine) -> dict[str, str]:
    return {key: value for key, value in machine.metadata.items() if key.startswith("tag/")}


def test_tags_of_a_machine_stand_in_the_inventory_under_their_categories(lab: Place, web: str, source: Source) -> None:
    lab.tag("web", "Owner", "Payments")
    lab.tag("web", "Environment", "prod / west")
    found = source.discover()
    assert [tags_of(one) for one in found.machines] == [{"tag/Environment": "prod / west", "tag/Owner": "Payments"}]
    assert found.unreadable == ()
    assert lab.relay.rules.count("POST /rest/com/vmware/cis/tagging") == 1  # for all machines at once
    assert lab.relay.rules.count("DELETE /rest/com/vmware/cis/session") == 1


def test_where_tags_cannot_be_asked_the_inventory_says_so(lab: Place, web: str, source: Source) -> None:
    lab.tag("web", "Tier", "one")
    lab.relay.rules.faults.append(Fault("POST /rest/com/vmware/cis/tagging", "503"))
    found = source.discover()
    assert [one.id for one in found.unreadable] == ["tags.unreadable"]
    assert [tags_of(one) for one in found.machines] == [{}]
    assert "swordfish" not in found.model_dump_json()
