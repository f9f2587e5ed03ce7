"""The vSphere source where somebody is not let in, a server fails, or answers what it was not asked."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyVmomi import vim

from converters.endpoints import open_source as open_disk
from kubeferry import marks
from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.ledger import SNAPSHOT, External
from kubeferry.model import Machine, Power
from kubeferry.sources import Source, WentOff, open_source
from lab.vcenter.faults import Fault, Rules
from lab.vcenter.place import Place, vcenter
from tests.tools.vcenter.moving import CHANCE, MIB, PIECE, Moving

pytestmark = pytest.mark.xdist_group("vcenter")  # one simulator for all tests of a module

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


WHEN = "2026-01-01T00:00:00Z"
MARK = marks.StopMark("0" * 12, Power.RUNNING, WHEN, "0" * 64, WHEN, "", "wave 1")
NOTES = "Ask Ann\nbefore you stop it.\n"


def named(source: Source) -> Machine:
    return next(one for one in source.discover().machines if one.name == "web")


def test_without_the_privilege_for_settings_and_notes_no_mark_is_left_and_that_is_told(moving: Moving) -> None:
    moving.lab.relay.rules.faults.append(Fault("ReconfigVM_Task", "fault:NoPermission", times=2))
    with pytest.raises(SourceRefused, match="does not allow") as told:
        moving.source.mark(moving.machine, MARK, moving.told.append)
    assert "docs/vmware.md" in told.value.fix
    assert moving.source.marked(moving.machine) is None
    assert not any(moving.source.exists(thing) for thing in moving.told)


def test_where_settings_are_not_ours_to_write_the_mark_is_in_the_notes_which_stay_what_they_were(
    moving: Moving,
) -> None:
    moving.lab.configure("web", annotation=NOTES)
    before = named(moving.source)
    moving.lab.relay.rules.faults.append(Fault("ReconfigVM_Task", "fault:NoPermission"))
    where = moving.source.mark(moving.machine, MARK, moving.told.append)
    assert where.startswith("in its notes, since its settings are not ours to write (")
    assert moving.source.marked(moving.machine) == MARK
    assert moving.lab.vm("web").config.annotation == f"kubeferry.stopped: {marks.written(MARK)}\n{NOTES}"
    found = named(moving.source)
    assert found.metadata[marks.KEY] == marks.written(MARK)
    assert found.description == before.description
    assert all(moving.source.exists(thing) for thing in moving.told)
    moving.source.mark(moving.machine, replace(MARK, off=WHEN), moving.told.append)  # now that may be written
    assert moving.source.marked(moving.machine) == replace(MARK, off=WHEN)
    assert moving.source.forget(moving.machine) == ["mark"]
    assert moving.lab.vm("web").config.annotation == NOTES
    assert moving.source.marked(moving.machine) is None
    assert not any(moving.source.exists(thing) for thing in moving.told)


def test_a_setting_that_is_somebody_else_s_stays_theirs(moving: Moving) -> None:
    moving.lab.configure("web", extraConfig=[vim.option.OptionValue(key="kubeferry.stopped", value="theirs")])
    assert moving.source.marked(moving.machine) is None
    where = moving.source.mark(moving.machine, MARK, moving.told.append)
    assert where == "in its notes, since its setting kubeferry.stopped holds what is not ours"
    assert moving.source.marked(moving.machine) == MARK
    moving.source.unmark(moving.machine)
    assert moving.source.marked(moving.machine) is None
    assert not any(moving.source.exists(thing) for thing in moving.told)
    settings = {one.key: one.value for one in moving.lab.vm("web").config.extraConfig}
    assert settings["kubeferry.stopped"] == "theirs"
    assert not (moving.lab.vm("web").config.annotation or "").strip()


def test_what_our_login_has_stopped_is_told_with_its_time_and_as_nobody_else_s(moving: Moving) -> None:
    assert moving.source.went_off(moving.machine) == WentOff()
    begun = datetime.now(UTC)
    moving.stop()
    told = moving.source.went_off(moving.machine)
    assert (told.by, told.asked) == ("", False)
    assert abs(datetime.fromisoformat(told.at) - begun) < timedelta(seconds=30)
    moving.lab.switch_on("web")
    assert moving.source.went_off(moving.machine) == WentOff()


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
