"""vSphere against the lab's vCenter: two passes to equal bytes, and everything that goes wrong on the way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converters.disks import Outcome, copy_disk, verify_disk
from converters.endpoints import open_source as open_disk
from converters.transfer import Options
from kubeferry.documents import StopPolicy
from kubeferry.errors import IntegrityFailed, KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.ledger import CHANGE_TRACKING, LEASE, SNAPSHOT, External
from kubeferry.model import DiskRef, Machine, Marker, Power
from kubeferry.sources import Round, Source, open_source
from lab.vcenter.faults import Fault, Rules
from lab.vcenter.place import Place, vcenter
from tests.needs import here

MIB = 1 << 20
PIECE = 64 << 10
SIZES = (9 * MIB, 3 * MIB)
FORCE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2, force=True)
CHANCE = random.Random(3)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    here("vcenter")
    with vcenter(tmp_path_factory.mktemp("vcenter")) as place:
        yield place


@pytest.fixture
def web(lab: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A running machine with two disks, some data on each."""
    for name, value in lab.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("converters.web.FIRST_PAUSE_SECONDS", 0.01)
    contents = []
    for number, size in enumerate(SIZES):
        contents.append(tmp_path / f"content{number}")
        content = bytearray(size)
        for offset in (0, MIB, size - PIECE):
            content[offset : offset + PIECE] = CHANCE.randbytes(PIECE)
        contents[-1].write_bytes(content)
    lab.machine("web", contents, on=True)
    lab.relay.rules = Rules()
    yield "web"
    lab.relay.rules = Rules()
    lab.remove("web")


@pytest.fixture
def source(lab: Place, web: str) -> Iterator[Source]:
    opened = open_source("lab", lab.config(taskSeconds=5))
    yield opened
    opened.close()


@pytest.fixture
def machine(source: Source, web: str) -> Machine:
    return next(one for one in source.discover().machines if one.name == web)


class Moving:
    """A machine on its way into a folder."""

    def __init__(self, source: Source, machine: Machine, lab: Place, folder: Path) -> None:
        self.source, self.machine, self.lab, self.folder = source, machine, lab, folder
        self.told: list[External] = []
        self.roots: dict[str, str] = {}
        self.round = 0

    def open(self, since: Marker | None = None, *, final: bool = False) -> Round:
        return self.source.open_round(self.machine, since=since, final=final, remote=False, ledger=self.told.append)

    def copy(self, opened: Round) -> dict[str, Outcome]:
        found = {}
        for disk, ref in opened.refs.items():
            target, size = self.folder / f"{disk}.raw", ref.size_bytes or 0
            if not target.exists():
                target.touch()
                os.truncate(target, size)
            found[disk] = copy_disk(
                ref,
                DiskRef(uri=target.as_uri()),
                self.folder / f"{disk}.kff",
                copy_id=str(self.round),
                options=Options(since=self.roots.get(disk)),
            )
        opened.seen.update({disk: one.stream_digest for disk, one in found.items() if one.stream_digest})
        self.round += 1
        self.roots = {disk: one.root for disk, one in found.items()}
        return found

    def equal(self) -> bool:
        return all(
            (self.folder / f"{disk.id}.raw").read_bytes() == file.path.read_bytes()
            for disk, file in zip(self.machine.data_disks, self.lab.disks(self.machine.name), strict=True)
        )

    def write(self, disk: int, offset: int, letter: bytes = b"x") -> None:
        self.lab.write(self.machine.name, disk, offset, letter * PIECE)

    def stop(self) -> None:
        self.source.stop(self.machine, FORCE, lambda _words, _at: None)

    def warm(self) -> Round:
        """A first round, copied and closed."""
        opened = self.open()
        self.copy(opened)
        self.source.close_round(opened)
        return opened


@pytest.fixture
def moving(source: Source, machine: Machine, lab: Place, tmp_path: Path) -> Moving:
    folder = tmp_path / "target"
    folder.mkdir()
    return Moving(source, machine, lab, folder)


# --- two passes ----------------------------------------------------------------------------------------------------


def test_two_passes_give_the_last_bytes_and_the_second_moves_only_what_changed(moving: Moving) -> None:
    first = moving.warm()
    assert first.consistency == "crash"
    assert first.marker
    for offset in range(0, MIB, 2 * PIECE):  # more areas than one answer has
        moving.write(0, offset)
    moving.write(1, 2 * MIB)
    moving.stop()
    last = moving.open(first.marker, final=True)
    moving.lab.relay.rules.sent = 0
    found = moving.copy(last)
    assert moving.equal()
    assert moving.lab.relay.rules.count("QueryChangedDiskAreas") == 3
    assert sum(one.tally.read for one in found.values()) == 2 * MIB  # the two blocks that the areas lie in
    assert moving.lab.relay.rules.sent < 2 * MIB + PIECE
    moving.source.close_round(last)
    for disk in moving.machine.data_disks:
        target = DiskRef(uri=(moving.folder / f"{disk.id}.raw").as_uri())
        assert not verify_disk(target, moving.folder / f"{disk.id}.kff").differing


def test_everything_at_the_source_is_written_down_first_and_gone_afterwards(moving: Moving) -> None:
    first = moving.open()
    assert [thing.kind for thing in moving.told] == [CHANGE_TRACKING, SNAPSHOT, LEASE]
    assert all(moving.source.exists(thing) for thing in moving.told)
    assert len(moving.lab.snapshots("web")) == 1
    moving.source.close_round(first)
    assert moving.lab.snapshots("web") == []
    assert [thing.kind for thing in moving.told if moving.source.exists(thing)] == [CHANGE_TRACKING]
    assert moving.source.forget(moving.machine) == ["change tracking"]
    assert not any(moving.source.exists(thing) for thing in moving.told)
    assert moving.lab.vm("web").config.changeTrackingEnabled is False


def test_change_tracking_that_was_on_before_stays_on(moving: Moving) -> None:
    moving.lab.configure("web", changeTrackingEnabled=True)
    first = moving.warm()
    assert first.marker
    assert [thing.kind for thing in moving.told] == [SNAPSHOT, LEASE]
    assert moving.source.forget(moving.machine) == []
    assert moving.lab.vm("web").config.changeTrackingEnabled is True


def test_a_quiet_guest_is_asked_for_where_tools_run(moving: Moving) -> None:
    moving.lab.tools("web", running=True)
    assert moving.warm().consistency == "frozen"
    stopped = moving.source.stop(moving.machine, StopPolicy(), lambda _words, _at: None)
    assert stopped.how == "agent"
    assert stopped.last_answer_at


def test_a_second_round_keeps_its_view_until_it_is_closed_and_is_never_that_of_its_marker(moving: Moving) -> None:
    first = moving.warm()
    moving.write(0, 3 * MIB)
    second = moving.open(first.marker)
    assert second.marker != first.marker
    assert moving.open(first.marker).marker == second.marker
    third = moving.open(second.marker)  # the second one was never closed
    assert third.marker not in {first.marker, second.marker}
    assert len(moving.lab.snapshots("web")) == 1
    moving.copy(third)
    moving.source.close_round(third)
    assert moving.lab.snapshots("web") == []
    assert moving.equal()


# --- what came is what the server counted --------------------------------------------------------------------------


def sent(moving: Moving) -> set[str]:
    return {f"sha1:{sha1}" for sha1, _size, _capacity in moving.lab.relay.streamed.values()}


def test_what_came_of_a_stream_is_digested_as_the_server_does(moving: Moving) -> None:
    opened = moving.open()
    moving.lab.relay.streamed.clear()
    found = moving.copy(opened)
    assert {one.stream_digest for one in found.values()} == sent(moving)
    assert len(sent(moving)) == 2
    moving.source.close_round(opened)
    assert moving.lab.relay.rules.count("HttpNfcLeaseGetManifest") == 1
    assert moving.lab.relay.rules.count("HttpNfcLeaseComplete") == 1


def test_a_stream_of_another_digest_than_in_the_manifest_is_refused_by_the_name_of_its_disk(moving: Moving) -> None:
    moving.lab.relay.rules.miscounted = {":1"}
    opened = moving.open()
    moving.copy(opened)
    with pytest.raises(IntegrityFailed) as told:
        moving.source.close_round(opened)
    assert (told.value.machine, told.value.disk) == ("web", moving.machine.data_disks[1].id)
    assert "0" * 40 in told.value.why
    assert opened.seen[moving.machine.data_disks[1].id] in told.value.why
    assert moving.lab.snapshots("web") == []
    assert moving.lab.relay.rules.count("HttpNfcLeaseAbort") == 1
    moving.source.close_round(opened)  # it was given back all the same


def test_a_wrong_stream_is_told_even_where_the_snapshot_cannot_be_removed_now(moving: Moving) -> None:
    moving.lab.relay.rules.miscounted = {":1"}
    opened = moving.open()
    moving.copy(opened)
    moving.lab.relay.rules.faults.append(Fault("RemoveSnapshot_Task", "503"))
    with pytest.raises(IntegrityFailed):
        moving.source.close_round(opened)
    assert not moving.lab.relay.rules.faults[0].times
    moving.source.close_round(opened)
    assert moving.lab.snapshots("web") == []


def test_a_copy_that_goes_on_digests_the_whole_stream(moving: Moving) -> None:
    for offset in range(0, 9 * MIB, PIECE):
        moving.lab.write("web", 0, offset, CHANCE.randbytes(PIECE))
    opened = moving.open()
    moving.lab.relay.rules.faults.append(Fault("GET /nfc", "cut"))
    with pytest.raises(SourceUnavailable, match="broke off"):
        moving.copy(opened)
    again = moving.open()
    moving.lab.relay.streamed.clear()
    found = moving.copy(again)
    assert sum(one.tally.resumed for one in found.values()) > 0
    assert {one.stream_digest for one in found.values()} == sent(moving)
    moving.source.close_round(again)


@pytest.mark.parametrize("kind", ["fault:NotSupported", "500"])
def test_a_host_without_a_manifest_is_no_error(moving: Moving, kind: str) -> None:
    moving.lab.relay.rules.miscounted = {":0", ":1"}
    opened = moving.open()
    moving.copy(opened)
    moving.lab.relay.rules.faults.append(Fault("HttpNfcLeaseGetManifest", kind))
    moving.source.close_round(opened)
    assert not moving.lab.relay.rules.faults[0].times


# --- the change tracker is not believed where it cannot know -------------------------------------------------------


def change_id(first: Round, disk: str) -> str:
    assert first.marker
    return str(json.loads(first.marker.token)["disks"][disk][0])


def stale(moving: Moving, first: Round) -> None:
    for disk in moving.machine.data_disks:
        moving.lab.relay.rules.stale.add(change_id(first, disk.id))


def tracked_anew(moving: Moving, _first: Round) -> None:
    moving.lab.track_anew("web")


def damaged(moving: Moving, _first: Round) -> None:
    """The tracker answers with areas outside of the disk."""
    moving.lab.relay.rules.faults.append(Fault("QueryChangedDiskAreas", "outside", times=9))


def stuck(moving: Moving, _first: Round) -> None:
    moving.lab.relay.rules.faults.append(Fault("QueryChangedDiskAreas", "stuck", times=9))


def refused(moving: Moving, _first: Round) -> None:
    moving.lab.relay.rules.faults.append(Fault("QueryChangedDiskAreas", "fault:NotFound", times=9))


def switched_off(moving: Moving, _first: Round) -> None:
    moving.lab.untrack("web")


@pytest.mark.parametrize("trouble", [stale, tracked_anew, damaged, stuck, refused, switched_off])
def test_where_what_changed_is_not_known_all_is_read(moving: Moving, trouble: Callable[[Moving, Round], None]) -> None:
    first = moving.warm()
    moving.write(0, 3 * MIB)
    moving.stop()
    trouble(moving, first)
    last = moving.open(first.marker, final=True)
    assert {ref.changed for ref in last.refs.values()} == {None}
    moving.copy(last)
    assert moving.equal()


def test_a_snapshot_of_somebody_else_leads_to_an_export_of_all(moving: Moving) -> None:
    first = moving.warm()
    moving.lab.snapshot("web", "before the update")
    moving.write(0, 3 * MIB)  # into the delta: the flat file does not have it
    moving.stop()
    last = moving.open(first.marker, final=True)
    assert all(ref.uri.startswith("vmdk-stream+https:") for ref in last.refs.values())
    moving.copy(last)
    assert moving.equal()
    moving.source.close_round(last)
    assert len(moving.lab.snapshots("web")) == 1  # theirs


def test_a_disk_that_grew_is_another_than_that_of_the_plan(moving: Moving) -> None:
    first = moving.warm()
    moving.stop()
    moving.lab.grow("web", 0, 16 * MIB)
    with pytest.raises(SourceRefused, match="planned") as told:
        moving.open(first.marker, final=True)
    assert f"it has {16 * MIB} bytes now, and had {9 * MIB}" in told.value.why


def test_a_round_that_a_killed_process_left_is_taken_back_by_the_next(moving: Moving, lab: Place) -> None:
    first = moving.open()
    moving.copy(first)
    elsewhere = open_source("lab", lab.config())
    moving.write(0, 3 * MIB)
    elsewhere.stop(moving.machine, FORCE, lambda _words, _at: None)
    last = elsewhere.open_round(moving.machine, since=first.marker, final=True, remote=False, ledger=moving.told.append)
    moving.copy(last)
    assert moving.equal()
    assert lab.snapshots("web") == []
    elsewhere.close()


# --- who is let in -------------------------------------------------------------------------------------------------


def machines(lab: Place, **settings: str) -> tuple[Machine, ...]:
    with contextlib.closing(open_source("lab", lab.config(**settings))) as source:
        return source.discover().machines


def test_a_wrong_password_is_refused_at_once_and_stands_in_no_error(
    lab: Place, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOVC_PASSWORD", "hunter2")
    with pytest.raises(SourceRefused, match="does not accept the login of migrator") as told:
        machines(lab)
    assert "hunter2" not in f"{told.value}{told.value.__cause__}{told.value.__context__}"
    assert lab.relay.rules.count("Login") == 1


def test_a_thumbprint_is_enough_and_another_one_is_refused(
    lab: Place, web: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOVC_TLS_CA_CERTS")
    with pytest.raises(SourceRefused, match="is not trusted") as told:
        machines(lab)
    assert lab.thumbprint in told.value.why
    assert machines(lab, thumbprint=lab.thumbprint)
    with pytest.raises(SourceRefused, match="is not trusted"):
        machines(lab, thumbprint="ab" * 32)
    known = tmp_path / "known_hosts"
    known.write_text(f"127.0.0.1:{lab.relay.port} {lab.thumbprint}\n")
    monkeypatch.setenv("GOVC_TLS_KNOWN_HOSTS", str(known))
    assert machines(lab)
    assert lab.relay.rules.count("Login") == 2


def test_a_mover_does_not_read_from_another_server_than_the_one_that_was_verified(moving: Moving) -> None:
    moving.stop()
    ref = next(iter(moving.open(final=True).refs.values()))
    wrong = ref.model_copy(update={"uri": ref.uri.replace(moving.lab.thumbprint, "cd" * 32)})
    assert wrong.uri != ref.uri
    with pytest.raises(SourceRefused, match=r"certificate .* is another one"), open_disk(wrong):
        pass


def test_without_a_login_in_its_environment_a_mover_says_so(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.stop()
    ref = next(iter(moving.open(final=True).refs.values()))
    assert "swordfish" not in ref.model_dump_json()
    monkeypatch.setenv("GOVC_PASSWORD", "hunter2")
    with pytest.raises(SourceRefused, match="cannot be read") as told, open_disk(ref):
        pass
    assert "the login is not accepted" in told.value.why
    assert "hunter2" not in str(told.value)
    monkeypatch.delenv("GOVC_PASSWORD")
    with pytest.raises(SourceRefused, match="no login") as missing, open_disk(ref):
        pass
    assert "GOVC_PASSWORD" in missing.value.why


def test_an_expired_session_is_renewed(moving: Moving) -> None:
    moving.lab.relay.expire()
    assert moving.source.power(moving.machine) is Power.RUNNING
    moving.stop()
    opened = moving.open(final=True)
    with open_disk(next(iter(opened.refs.values()))) as disk:
        before = moving.lab.relay.rules.count("GET /folder")
        moving.lab.relay.expire()
        view = memoryview(bytearray(MIB))
        disk.read_into(0, view)
        assert bytes(view) == moving.lab.disks("web")[0].path.read_bytes()[:MIB]
        assert moving.lab.relay.rules.count("GET /folder") == before + 2


# --- servers that fail ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["500", "503", "cut", "drop"])
def test_a_range_that_does_not_come_is_asked_for_again(moving: Moving, kind: str) -> None:
    moving.stop()
    opened = moving.open(final=True)
    moving.lab.relay.rules.faults.append(Fault("GET /folder", kind, times=3, after=2))
    moving.copy(opened)
    assert moving.equal()
    assert not moving.lab.relay.rules.faults[0].times


@pytest.mark.parametrize("kind", ["500", "cut"])
def test_a_server_that_goes_on_failing_is_given_up_and_the_copy_goes_on_later(moving: Moving, kind: str) -> None:
    moving.stop()
    opened = moving.open(final=True)
    moving.lab.relay.rules.faults.append(Fault("GET /folder", kind, times=99, after=4))
    with pytest.raises(SourceUnavailable, match="does not answer rightly"):
        moving.copy(opened)
    moving.lab.relay.rules.faults.clear()
    moving.copy(moving.open(final=True))
    assert moving.equal()


@pytest.mark.parametrize(("kind", "why"), [("whole", "the whole file"), ("shifted", "512")])
def test_other_bytes_than_those_asked_for_are_refused(moving: Moving, kind: str, why: str) -> None:
    moving.stop()
    opened = moving.open(final=True)
    moving.lab.relay.rules.faults.append(Fault("GET /folder", kind, times=1, after=3))
    with pytest.raises(SourceRefused) as told:
        moving.copy(opened)
    assert why in told.value.why


def test_a_file_that_is_cut_while_it_is_read_is_refused(moving: Moving) -> None:
    moving.stop()
    opened = moving.open(final=True)
    with open_disk(next(iter(opened.refs.values()))) as disk:
        os.truncate(moving.lab.disks("web")[0].path, MIB)
        with pytest.raises(SourceRefused, match=r"shorter|changed"):
            disk.read_into(2 * MIB, memoryview(bytearray(PIECE)))


def test_a_stream_that_breaks_off_is_asked_for_again_and_nothing_is_taken_for_whole(moving: Moving) -> None:
    opened = moving.open()
    moving.lab.relay.rules.faults.append(Fault("GET /nfc", "cut"))
    with pytest.raises(SourceUnavailable, match="broke off"):
        moving.copy(opened)
    again = moving.open()
    assert again.marker == opened.marker
    moving.copy(again)
    assert moving.equal()


def test_a_stream_begins_after_a_server_that_was_busy(moving: Moving) -> None:
    opened = moving.open()
    moving.lab.relay.rules.faults.append(Fault("GET /nfc", "503", times=2))
    moving.copy(opened)
    assert moving.equal()


def test_a_lease_is_kept_for_as_long_as_the_copy_takes(moving: Moving) -> None:
    moving.lab.relay.rules.lease_seconds = 1
    opened = moving.open()
    moving.lab.relay.rules.stream_pause = 0.2
    moving.copy(opened)
    assert moving.equal()
    assert moving.lab.relay.rules.count("HttpNfcLeaseProgress") > 3
    moving.source.close_round(opened)


def test_a_lease_that_times_out_breaks_the_copy_off_and_the_next_round_has_a_new_one(moving: Moving) -> None:
    for offset in range(0, 9 * MIB, PIECE):
        moving.lab.write("web", 0, offset, CHANCE.randbytes(PIECE))
    moving.lab.relay.rules.lease_seconds = 1
    opened = moving.open()
    moving.lab.relay.rules.stream_pause = 0.01
    moving.lab.relay.rules.faults.append(Fault("HttpNfcLeaseProgress", "fault:Timedout", times=99))
    with pytest.raises(SourceUnavailable, match=r"broke off|is not there"):
        moving.copy(opened)
    moving.lab.relay.rules = Rules()
    again = moving.open()
    assert again.marker == opened.marker
    assert again.refs != opened.refs
    found = moving.copy(again)
    assert sum(one.tally.resumed for one in found.values()) > 0  # another address, the same view
    assert moving.equal()
    moving.source.close_round(again)
    assert moving.lab.snapshots("web") == []


@pytest.mark.parametrize("kind", ["500", "503", "drop"])
@pytest.mark.parametrize("method", ["CreateSnapshot_Task", "ExportSnapshot", "RetrievePropertiesEx"])
def test_calls_that_fail_are_errors_worth_a_retry(moving: Moving, method: str, kind: str) -> None:
    moving.lab.relay.rules.faults.append(Fault(method, kind))
    with pytest.raises(SourceUnavailable, match="does not answer"):
        moving.open()
    moving.warm()
    assert moving.equal()
    assert moving.lab.snapshots("web") == []


def test_a_privilege_that_is_missing_is_named(moving: Moving) -> None:
    moving.lab.relay.rules.faults.append(Fault("CreateSnapshot_Task", "fault:NoPermission"))
    with pytest.raises(SourceRefused, match="does not allow"):
        moving.open()


def test_a_machine_that_vanishes_between_two_rounds_is_refused_by_name(moving: Moving, tmp_path: Path) -> None:
    first = moving.warm()
    moving.lab.remove("web")
    with pytest.raises(SourceRefused, match="no such machine") as told:
        moving.open(first.marker, final=True)
    assert told.value.machine == "web"
    assert moving.source.forget(moving.machine) == []
    assert not any(moving.source.exists(thing) for thing in moving.told)
    (tmp_path / "again").write_bytes(bytes(MIB))
    moving.lab.machine("web", [tmp_path / "again"])  # for the fixture to remove


def test_a_snapshot_that_never_completes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: Place
) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "disk").write_bytes(bytes(MIB))
    with vcenter(tmp_path / "slow", snapshot_delay=30) as slow:
        for name, value in slow.environment().items():
            monkeypatch.setenv(name, value)
        slow.machine("web", [tmp_path / "disk"], on=True)
        source = open_source("lab", slow.config(taskSeconds=1))
        machine = source.discover().machines[0]
        told: list[External] = []
        with pytest.raises(SourceUnavailable, match="the snapshot does not end") as error:
            source.open_round(machine, since=None, final=False, remote=False, ledger=told.append)
        source.close()
        assert "1 s" in error.value.why
        assert SNAPSHOT in {thing.kind for thing in told}


def test_another_thread_may_ask_while_a_lease_is_kept(moving: Moving) -> None:
    moving.lab.relay.rules.lease_seconds = 1
    opened = moving.open()
    errors: list[KubeferryError] = []

    def ask() -> None:
        try:
            for _ in range(20):
                moving.source.power(moving.machine)
        except KubeferryError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    moving.copy(opened)
    asking.join()
    assert errors == []
    moving.source.close_round(opened)
