"""The directory target's folder: what is ours, what fits, what GitOps reads, what a mover leaves."""

from __future__ import annotations

import fcntl
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import Entry, MoverJob, OfferedType, PlannedDisk, SizedBy, TargetConfig
from kubeferry.errors import InputInvalid, Interrupted, TargetRefused, TargetUnavailable, ToolMissing
from kubeferry.model import ChainLink, Cpu, Disk, DiskRef, Machine, Memory, Severity
from kubeferry.outside import stopping
from kubeferry.targets import External
from kubeferry.targets import local_movers as movers
from kubeferry.targets.directory import capacity, firmware, handing, hypervisor
from kubeferry.targets.directory import target as directory
from kubeferry.targets.directory.layout import MachineFolder

MIB = 1024 * 1024
GIB = 1024 * MIB


def an_entry(
    name: str = "web", *, size: int = 3 * MIB, disk: dict[str, Any] | None = None, memory: str = "64Mi"
) -> Entry:
    vm = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"domain": {"memory": {"guest": memory}, "devices": {}}}}},
    }
    return Entry(
        name=name,
        target_name=name,
        namespace="default",
        machine=Machine(
            id=f"id-{name}",
            name=name,
            source="lab",
            cpu=Cpu(vcpus=1),
            memory=Memory(size_bytes=64 * MIB),
            disks=(Disk.model_validate({"id": "vda", **(disk or {})}),),
        ),
        disks=(PlannedDisk(disk="vda", claim=f"{name}-vda", volume="vda", size_bytes=size, claim_bytes=size),),
        manifests=(vm, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": f"{name}-vda"}}),
    )


def opened(tmp_path: Path) -> directory.DirectoryTarget:
    return directory.connect(TargetConfig(kind="directory", path=str(tmp_path / "target")))


def unwritten(_thing: External) -> None:
    """A ledger for tests that do not look at it."""


def everything(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# --- ours or not -----------------------------------------------------------------------------------------------------


def test_a_target_needs_a_folder() -> None:
    with pytest.raises(InputInvalid):
        directory.connect(TargetConfig(kind="directory"))


def test_a_folder_of_somebody_elses_is_a_critical_concern_and_never_written(tmp_path: Path) -> None:
    foreign = tmp_path / "target"
    foreign.mkdir()
    (foreign / "photos.txt").write_text("mine")
    target = opened(tmp_path)
    (concern,) = target.concerns((an_entry(),))
    assert (concern.id, concern.severity) == ("target-not-ours", Severity.CRITICAL)
    for write in (
        lambda: target.prepare(an_entry(), unwritten),
        lambda: target.apply(an_entry(), unwritten, dry_run=False),
        lambda: target.start(an_entry(), unwritten),
    ):
        with pytest.raises(TargetRefused) as caught:
            write()
        assert caught.value.fix
    assert everything(foreign) == {str(foreign / "photos.txt"): b"mine"}


@pytest.mark.parametrize("marker", ["", "[]", "kind: Other\napiVersion: kubeferry.io/v1alpha1\n"])
def test_a_marker_that_says_something_else_is_not_ours(tmp_path: Path, marker: str) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kubeferry-target.yaml").write_text(marker)
    with pytest.raises(TargetRefused):
        opened(tmp_path).prepare(an_entry(), unwritten)


def test_a_machine_folder_without_our_marker_is_not_ours(tmp_path: Path) -> None:
    opened(tmp_path).prepare(an_entry(), unwritten)
    other = tmp_path / "target" / "machines" / "db"
    other.mkdir()
    (other / "notes").write_text("mine")
    with pytest.raises(TargetRefused, match="not ours"):
        opened(tmp_path).prepare(an_entry("db"), unwritten)
    assert [concern.id for concern in opened(tmp_path).concerns((an_entry("db"),))] == ["target-name-taken"]


def test_a_run_that_was_killed_before_its_first_marker_goes_on(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / ".kubeferry-target.yaml.1-1.new").write_text("kind: Dir")
    assert opened(tmp_path).prepare(an_entry(), unwritten)["vda"].created
    (tmp_path / "target/machines/web/disks/.web-vda.img.1-1.new").write_text("")
    opened(tmp_path).remove(an_entry())
    assert list((tmp_path / "target/machines").iterdir()) == []


def test_machines_that_arrive_together_do_not_trip_over_each_other(tmp_path: Path) -> None:
    names = [f"vm{number}" for number in range(12)]

    def arrive(name: str) -> None:
        target = opened(tmp_path)
        target.prepare(an_entry(name), unwritten)
        target.apply(an_entry(name), unwritten, dry_run=False)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(arrive, names))
    listed = yaml.safe_load((tmp_path / "target" / "kustomization.yaml").read_text())["resources"]
    assert listed == sorted(f"machines/{name}" for name in names)
    assert list((tmp_path / "target").rglob("*.new")) == []


def test_two_machines_of_one_name_are_a_concern(tmp_path: Path) -> None:
    twins = (an_entry(), an_entry().model_copy(update={"name": "WEB"}))
    assert "target-name-clash" in {concern.id for concern in opened(tmp_path).concerns(twins)}
    assert not (tmp_path / "target").exists(), "looking writes nothing"


def test_an_image_that_is_gone_takes_the_movers_memory_of_it_along(tmp_path: Path) -> None:
    room = opened(tmp_path).prepare(an_entry(), unwritten)["vda"]
    (Path(room.state_dir) / "fingerprint").write_text("of the image that is gone")
    Path(room.ref.uri.removeprefix("file://")).unlink()
    again = opened(tmp_path).prepare(an_entry(), unwritten)["vda"]
    assert again.created
    assert list(Path(again.state_dir).iterdir()) == []


def test_files_of_others_survive_a_remove(tmp_path: Path) -> None:
    target = opened(tmp_path)
    target.prepare(an_entry(), unwritten)
    target.apply(an_entry(), unwritten, dry_run=False)
    folder = tmp_path / "target" / "machines" / "web"
    (folder / "manifests" / "theirs.txt").write_text("mine")
    said = target.remove(an_entry())
    assert "left, not ours" in said[-1]
    assert [Path(path).name for path in everything(folder)].count("theirs.txt") == 1
    assert not list(folder.rglob("*.img"))


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()))
def test_a_disk_id_of_any_letters_names_a_folder_right_below_state(disk: str) -> None:
    folder = MachineFolder(Path("/t/machines/web"))
    assert folder.state(disk).parent == folder.states
    assert folder.state(disk).name not in {"", ".", ".."}


# --- room ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disk", "size", "found"),
    [
        ({"format": "raw", "allocatedBytes": 50 * GIB}, 100 * GIB, "target-no-room"),
        ({"format": "raw", "allocatedBytes": GIB}, 100 * GIB, "target-little-room"),
        ({"format": "qcow2", "allocatedBytes": 50 * GIB}, 100 * GIB, "target-little-room"),
        ({"format": "raw", "allocatedBytes": 50 * GIB, "chain": [ChainLink(uri="file:///b", format="raw")]}, 100 * GIB,
         "target-little-room"),
        ({"format": "raw", "allocatedBytes": GIB}, GIB, None),
    ],
)  # fmt: skip
def test_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: dict[str, Any], size: int, found: str | None
) -> None:
    monkeypatch.setattr(capacity, "free_bytes", lambda _path: 10 * GIB)
    entry = an_entry(size=size, disk=disk)
    ids = {concern.id for concern in opened(tmp_path).concerns((entry,))}
    assert ids == ({found} if found else set())
    if found == "target-no-room":
        with pytest.raises(TargetRefused, match="free"):
            opened(tmp_path).prepare(entry, unwritten)
        assert not (tmp_path / "target").exists()


def test_what_is_there_already_needs_no_more_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = an_entry(size=64 * MIB, disk={"format": "raw", "allocatedBytes": 32 * MIB})
    room = opened(tmp_path).prepare(entry, unwritten)["vda"]
    image = Path(room.ref.uri.removeprefix("file://"))
    with image.open("r+b") as stream:
        stream.write(os.urandom(32 * MIB))
        os.fsync(stream.fileno())
    monkeypatch.setattr(capacity, "free_bytes", lambda _path: 20 * MIB)
    assert not opened(tmp_path).prepare(entry, unwritten)["vda"].reads_zero


def test_a_target_on_a_path_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = directory.connect(TargetConfig(kind="directory", path=str(tmp_path / "file" / "target")))
    with pytest.raises((TargetRefused, TargetUnavailable)):
        target.prepare(an_entry(), unwritten)


def test_more_memory_than_the_host_has_is_a_warning(tmp_path: Path) -> None:
    (concern,) = opened(tmp_path).concerns((an_entry(memory="900Ti"),))
    assert (concern.id, concern.severity) == ("target-little-memory", Severity.WARNING)


def test_missing_programs_are_a_concern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (concern,) = opened(tmp_path).concerns((an_entry(),))
    assert concern.id == "target-tool-missing"
    assert "qemu-system-x86" in concern.fix


def test_missing_firmware_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "FIRMWARE", {"uefi": (("/nowhere/code", "/nowhere/vars"),), "uefi-secure": ()})
    assert firmware.files("bios") is None
    for need in ("uefi", "uefi-secure"):
        with pytest.raises(ToolMissing, match=need):
            firmware.files(need)


def test_variables_for_flash_of_another_size_are_not_started_with_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, empty, folder = tmp_path / "code", tmp_path / "empty", MachineFolder(tmp_path / "web")
    code.touch()
    empty.write_bytes(bytes(8))
    monkeypatch.setattr(firmware, "FIRMWARE", {"uefi": ((str(code), str(empty)),)})
    assert firmware.pair(folder, "uefi") == (code, empty)
    assert firmware.unshown(folder, (code, empty)) == ()
    folder.firmware.mkdir(parents=True)
    for size, used, told in ((8, folder.variables, 0), (4, empty, 1)):
        folder.variables.write_bytes(bytes(size))
        assert firmware.pair(folder, "uefi") == (code, used)
        assert len(firmware.unshown(folder, (code, used))) == told


# --- manifests -------------------------------------------------------------------------------------------------------


def test_manifests_are_written_as_they_stand_and_named_by_kustomizations(tmp_path: Path) -> None:
    target = opened(tmp_path)
    target.apply(an_entry("web"), unwritten, dry_run=False)
    target.apply(an_entry("db"), unwritten, dry_run=False)
    root = tmp_path / "target"
    listed = yaml.safe_load((root / "kustomization.yaml").read_text())["resources"]
    assert listed == ["machines/db", "machines/web"]
    names = yaml.safe_load((root / "machines/web/kustomization.yaml").read_text())["resources"]
    found = [yaml.safe_load((root / "machines/web" / name).read_text()) for name in names]
    assert tuple(found) == an_entry("web").manifests
    target.remove(an_entry("web"))
    assert yaml.safe_load((root / "kustomization.yaml").read_text())["resources"] == ["machines/db"]


def test_a_manifest_that_left_the_plan_leaves_the_folder(tmp_path: Path) -> None:
    target = opened(tmp_path)
    target.apply(an_entry(), unwritten, dry_run=False)
    smaller = an_entry().model_copy(update={"manifests": an_entry().manifests[:1]})
    said = target.apply(smaller, unwritten, dry_run=False)
    assert "removed manifests/persistentvolumeclaim-web-vda.yaml" in said
    assert [path.name for path in (tmp_path / "target/machines/web/manifests").iterdir()] == ["virtualmachine-web.yaml"]


def test_a_manifest_that_somebody_edited_is_not_started(tmp_path: Path) -> None:
    target = opened(tmp_path)
    target.prepare(an_entry(), unwritten)
    target.apply(an_entry(), unwritten, dry_run=False)
    manifest = tmp_path / "target/machines/web/manifests/virtualmachine-web.yaml"
    manifest.write_text(manifest.read_text().replace("64Mi", "65Mi"))
    with pytest.raises(TargetRefused, match="not those of the plan"):
        target.start(an_entry(), unwritten)


# --- movers ----------------------------------------------------------------------------------------------------------


def a_job(tmp_path: Path, **changed: Any) -> MoverJob:
    values = {"name": "n", "action": "verify", "target": DiskRef(uri="file:///t"), "state_dir": str(tmp_path / "state")}
    return MoverJob.model_validate(values | changed)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has this text run as the mover's program."""

    def use(text: str) -> None:
        (tmp_path / "stand_in.py").write_text(text)
        monkeypatch.setattr(movers, "MODULE", "stand_in")
        monkeypatch.setattr(movers, "_environment", lambda: {"PYTHONPATH": str(tmp_path)})

    return use


def test_a_mover_that_dies_without_a_result_is_a_failed_result_with_its_words(tmp_path: Path, stand_in: Any) -> None:
    stand_in("import os, signal\nprint('out of luck', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)")
    local = movers.LocalMovers()
    local.submit(a_job(tmp_path))
    result = local.watch(a_job(tmp_path), lambda _progress: None)
    assert not result.ok
    assert result.error is not None
    assert result.error.type == "TargetUnavailable"
    assert "out of luck" in result.error.why


def test_a_result_of_an_older_job_is_not_taken_for_this_ones(tmp_path: Path, stand_in: Any) -> None:
    stand_in("import sys; sys.exit(1)")
    state = tmp_path / "state"
    state.mkdir()
    (state / "result-verify.json").write_text('{"name": "older", "action": "verify", "ok": true}')
    local = movers.LocalMovers()
    local.submit(a_job(tmp_path))
    assert not local.watch(a_job(tmp_path), lambda _progress: None).ok


def test_progress_is_handed_on_and_a_request_to_stop_ends_the_mover(tmp_path: Path, stand_in: Any) -> None:
    stand_in(
        "import json, os, pathlib, sys, time\n"
        "state = pathlib.Path(json.loads(pathlib.Path(sys.argv[1]).read_text())['stateDir'])\n"
        "(state / 'pid').write_text(str(os.getpid()))\n"
        "(state / 'progress.json').write_text(json.dumps({'doneBytes': 7, 'phase': 'copying'}))\n"
        "time.sleep(60)\n"
    )
    shown = []
    local = movers.LocalMovers()
    local.submit(a_job(tmp_path))
    local.submit(a_job(tmp_path))
    try:
        with pytest.raises(Interrupted):
            local.watch(a_job(tmp_path), lambda progress: (shown.append(progress), stopping.request()))
    finally:
        stopping.reset()
    assert [progress.done_bytes for progress in shown] == [7]
    assert not Path(f"/proc/{(tmp_path / 'state' / 'pid').read_text()}").exists()


def test_a_disk_that_another_mover_works_on_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movers, "LOCK_SECONDS", 0.3)
    state = tmp_path / "state"
    state.mkdir()
    with (state / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TargetUnavailable, match="another mover"):
            movers.LocalMovers().submit(a_job(tmp_path))
        assert opened(tmp_path).exists(External("mover", "n", str(state)))
    assert not opened(tmp_path).exists(External("mover", "n", str(state)))


def test_the_mover_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the same name where we happen to stand must not be taken for it."""
    decoy = tmp_path / "cwd" / "converters"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text("")
    (decoy / "mover.py").write_text("raise SystemExit('the decoy ran')")
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    local = movers.LocalMovers()
    local.submit(a_job(tmp_path))
    result = local.watch(a_job(tmp_path), lambda _progress: None)
    assert result.error is not None
    assert "decoy" not in result.error.why
    assert "No module named" not in result.error.why


# --- sockets ---------------------------------------------------------------------------------------------------------


def test_a_socket_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    hypervisor.private(tmp_path / "ours")
    hypervisor.private(tmp_path / "ours")
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch(mode=0o600)
    for wrong in ("link", "open", "file"):
        with pytest.raises(TargetRefused, match="ours alone"):
            hypervisor.private(tmp_path / wrong)


def test_a_socket_path_is_short_however_deep_the_target_lies(tmp_path: Path) -> None:
    machine = hypervisor.LocalMachine("web", MachineFolder(tmp_path / ("d" * 200) / ("e" * 200)))
    assert len(os.fsencode(machine.monitor)) < 108
    assert len(os.fsencode(machine.agent)) < 108


# --- whose eyes it is for --------------------------------------------------------------------------------------------


def test_what_holds_a_guest_s_bytes_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        target = opened(tmp_path)
        target.prepare(an_entry(), unwritten)
        target.apply(an_entry(), unwritten, dry_run=False)
        folder = MachineFolder(tmp_path / "target" / "machines" / "web")
        image = folder.image("web-vda")
        assert image.stat().st_mode & 0o777 == 0o600
        for private in (folder.disks, folder.states, folder.evidence, folder.state("vda")):
            assert private.stat().st_mode & 0o777 == 0o700, private
        assert folder.kustomization.stat().st_mode & 0o777 == 0o644, "manifests are for GitOps"
        image.chmod(0o644)
        folder.disks.chmod(0o755)
        target.prepare(an_entry(), unwritten)  # of an older version
        assert (image.stat().st_mode & 0o777, folder.disks.stat().st_mode & 0o777) == (0o600, 0o700)
    finally:
        os.umask(before)


def test_what_an_earlier_version_left_to_everybody_is_private_when_the_target_is_opened(tmp_path: Path) -> None:
    opened(tmp_path).prepare(an_entry(), unwritten)
    folder = tmp_path / "target" / "machines" / "web"
    theirs = tmp_path / "target" / "machines" / "theirs" / "evidence"
    theirs.mkdir(parents=True)
    for kept in (folder / "disks", folder / "state", folder / "evidence", theirs):
        kept.chmod(0o755)
    directory.connect(TargetConfig(kind="directory", path=str(tmp_path / "target")))
    assert {(folder / name).stat().st_mode & 0o777 for name in ("disks", "state", "evidence")} == {0o700}
    assert theirs.stat().st_mode & 0o777 == 0o755, "not ours"


def test_what_a_killed_run_handed_to_a_mover_goes_with_the_next_one(tmp_path: Path) -> None:
    target, entry = opened(tmp_path), an_entry()
    first = Path(target.tpm_room(entry, 11, 1, unwritten).state_dir)
    told = handing.put(first, b"three seeds")
    (path,) = [Path(value) for value in told.values()]
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"three seeds", 0o600)
    second = Path(target.tpm_room(entry, 11, 2, unwritten).state_dir)
    assert first != second
    assert not path.exists()
    assert target.drop_tpm(entry) != []
    assert not first.exists()
    assert not second.exists()
    assert target.drop_tpm(entry) == []


def test_a_machine_that_an_instance_type_sizes_is_reckoned_with_what_that_gives(tmp_path: Path) -> None:
    """Its manifest names no memory; of a type that nobody knows, the machine's own counts."""
    entry = an_entry()
    vm, claim = entry.manifests
    kind = "VirtualMachineClusterInstancetype"
    spec = {"instancetype": {"kind": kind, "name": "huge"}, "template": {"spec": {"domain": {"devices": {}}}}}
    large = OfferedType(name="huge", vcpus=1, memory_bytes=1 << 50)
    for gives, told in ((None, 0), (large, 1)):
        sized = {"manifests": (vm | {"spec": spec}, claim), "sized_by": SizedBy(kind=kind, name="huge", gives=gives)}
        with_type = entry.model_copy(update=sized)
        found = [one for one in opened(tmp_path).concerns((with_type,)) if one.id == "target-little-memory"]
        assert len(found) == told
    unplanned = entry.model_copy(update={"manifests": (vm | {"spec": spec}, claim)})  # by a patch of the user's own
    assert unplanned.sized(unplanned.manifests[0])["spec"]["template"]["spec"]["domain"]["memory"]["guest"]
