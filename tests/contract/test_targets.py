"""What every target promises, asked of each one that we have, with the same plan.

The directory target runs real movers and real QEMU; the kubevirt target runs on a real cluster (`make test-cluster`).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kubeferry.documents import (
    AttachedDisk,
    Companion,
    Entry,
    KeptTpm,
    KeptVariables,
    MoverJob,
    MoverProgress,
    MoverResult,
    PlannedDisk,
    Probe,
    TargetConfig,
)
from kubeferry.errors import Fenced, SourceRefused, TargetRefused
from kubeferry.images.variables import Variable, store_of
from kubeferry.marks import MoveMark
from kubeferry.model import Cpu, Disk, DiskRef, Guest, Machine, Memory, Severity
from kubeferry.sources.disks import exports
from kubeferry.targets import External, Target, open_target
from kubeferry.targets.memory.target import MemoryTarget
from kubeferry.uris import HELD, NbdSsh, inline_uri
from lab import ground as grounds
from lab.cluster import services
from lab.ground import Ground, until
from lab.tenant import Tenant
from tests.needs import here

MIB = 1024 * 1024
PROGRAMS = {"directory": ("qemu-system-x86_64", "qemu-img"), "memory": ()}
NAMESPACE = "kubeferry-contract"


@dataclass
class Place:
    """A target under test, the ledger that it wrote, and a source disk."""

    target: Target
    source: Path
    written: list[External] = field(default_factory=list)
    reads_zero: bool = True
    """Whether a new room is known to read as zeros. Of a cluster's volumes nobody knows."""

    def served(self) -> DiskRef:
        """The source disk, as this target's movers reach it."""
        return DiskRef(uri=self.source.as_uri(), size_bytes=3 * MIB)

    def ledger(self, thing: External) -> None:
        """What is written down must not be there yet."""
        assert not self.target.exists(thing), f"{thing} was made before the ledger had it"
        self.written.append(thing)

    def move(self, entry: Entry, action: str, attempt: int = 1) -> tuple[MoverResult, list[MoverProgress]]:
        room = self.target.prepare(entry, self.ledger)["vda"]
        job = MoverJob.model_validate(
            {
                "name": f"{entry.target_name}-vda-{action}-{attempt}",
                "action": action,
                "machine": entry.name,
                "disk": "vda",
                "source": None if action == "verify" else self.served(),
                "target": room.ref,
                "state_dir": room.state_dir,
                "target_reads_zero": room.reads_zero,
                "makes_target": room.makes_target,
            }
        )
        shown: list[MoverProgress] = []
        self.target.submit(job, self.ledger)
        result = self.target.watch(job, shown.append)
        return result, shown

    def content(self, entry: Entry) -> bytes:
        if isinstance(self.target, MemoryTarget):
            return bytes(self.target.disks[f"{entry.target_name}/vda"])
        return self._image(entry).read_bytes()

    def damage(self, entry: Entry, offset: int) -> None:
        if isinstance(self.target, MemoryTarget):
            self.target.disks[f"{entry.target_name}/vda"][offset] ^= 0xFF
            return
        with self.opened(entry) as path, path.open("r+b") as image:
            image.seek(offset)
            old = image.read(1)
            image.seek(offset)
            image.write(bytes([old[0] ^ 0xFF]))
            os.fsync(image.fileno())

    @contextmanager
    def opened(self, entry: Entry) -> Iterator[Path]:
        """What holds the disk's bytes, to be written to."""
        yield self._image(entry)

    def handed(self) -> list[str]:
        """What was handed to movers and is still there."""
        return [str(path) for path in self.source.parent.rglob("held")]

    def _image(self, entry: Entry) -> Path:
        return Path(self.target.prepare(entry, self.ledger)["vda"].ref.uri.removeprefix("file://"))


@dataclass
class ClusterPlace(Place):
    """On the lab's cluster: the source is served by its hypervisor, volumes are looked at below the cluster's back."""

    ground: Ground | None = None
    reads_zero: bool = False

    def served(self) -> DiskRef:
        access, machine = self._ground.access(), an_entry().machine
        ref = super().served()
        if self.source.exists():
            return exports.open_all(access, machine, {"vda": ref}, self.ledger_of_source)["vda"]
        exports.close_all(access, machine)
        where = str(exports.export_of(access, machine, "vda").socket)
        far = NbdSsh(access.user, access.host, access.port, where, access.host_key)
        return ref.model_copy(update={"uri": far.uri(), "credential": access.secret})

    def ledger_of_source(self, thing: External) -> None:
        """Exports are the source's business."""

    def content(self, entry: Entry) -> bytes:
        with self._disk(entry) as raw:
            return raw.read_bytes()[: 3 * MIB]

    def handed(self) -> list[str]:
        """Secrets of movers; Kubernetes collects them some moments after their Jobs."""
        until(lambda: not self._secrets(), seconds=60, what="a mover's Secret to go")
        return self._secrets()

    def _secrets(self) -> list[str]:
        ours = "--selector=app.kubernetes.io/managed-by=kubeferry"
        found = self._ground.read("get", "secret", f"--namespace={NAMESPACE}", ours)
        return [one["metadata"]["name"] for one in found["items"]]

    @contextmanager
    def _disk(self, entry: Entry) -> Iterator[Path]:
        claim = f"{entry.target_name}-vda"
        until(lambda: self._bound(claim), seconds=60, what=f"a volume for {claim}")
        with self._ground.disk(NAMESPACE, claim) as raw:
            yield raw

    def _bound(self, claim: str) -> bool:
        found = self._ground.read("get", "pvc", claim, f"--namespace={NAMESPACE}")
        return bool(found["status"]["phase"] == "Bound")

    @contextmanager
    def opened(self, entry: Entry) -> Iterator[Path]:
        with self._disk(entry):
            yield Path(self._ground.device(NAMESPACE, f"{entry.target_name}-vda"))

    @property
    def _ground(self) -> Ground:
        assert self.ground is not None
        return self.ground


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ground, Tenant]]:
    """A namespace of the lab's cluster, as the pipeline's account."""
    ground = grounds.find()
    if ground is None or not ground.own:
        stop = pytest.fail if os.environ.get("CI") == "true" and ground is None else pytest.skip
        stop("the contract reads volumes below the cluster's back: it needs the lab's own, make lab-up")
    if not ground.kubevirt:
        pytest.skip("the lab cluster has no KubeVirt and CDI: set KUBEFERRY_LAB_KUBEVIRT before make lab-up")
    with ground.namespace(NAMESPACE, tmp_path_factory.mktemp("tenant")) as made:
        yield ground, made


ON_A_CLUSTER = pytest.param("kubevirt", marks=[pytest.mark.cluster, pytest.mark.timeout(240)])


@pytest.fixture(params=[*sorted(PROGRAMS), ON_A_CLUSTER])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    source = tmp_path / "source.img"
    source.write_bytes(b"\x55" * MIB + bytes(MIB) + os.urandom(MIB))
    if request.param == "kubevirt":
        yield from on_a_cluster(source, *request.getfixturevalue("tenant"))
        return
    here(*PROGRAMS[request.param])
    target = open_target(TargetConfig(kind=request.param, path=str(tmp_path / "target")))
    yield Place(target, source)
    target.stop(an_entry())
    target.close()


def on_a_cluster(source: Path, ground: Ground, tenant: Tenant) -> Iterator[Place]:
    config = TargetConfig(kind="kubevirt", kubeconfig=str(tenant.kubeconfig), movers=ground.movers(), stop_seconds=20)
    target = open_target(config)
    yield ClusterPlace(target, source, ground=ground)
    exports.close_all(ground.access(), an_entry().machine)
    target.remove(an_entry())
    target.close()


def an_entry(name: str = "web", *, identity: str = "id-web", size: int = 3 * MIB, guest: str = "64Mi") -> Entry:
    disks: dict[str, Any] = {"disks": [{"name": "vda", "disk": {"bus": "virtio"}}], "autoattachPodInterface": False}
    template = {
        "terminationGracePeriodSeconds": 5,
        "domain": {"machine": {"type": "q35"}, "memory": {"guest": guest}, "devices": disks},
        "volumes": [{"name": "vda", "persistentVolumeClaim": {"claimName": f"{name}-vda"}}],
    }
    vm = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"runStrategy": "Manual", "template": {"spec": template}},
    }
    room = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block", "resources": {"requests": {"storage": str(size)}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": f"{name}-vda"}, "spec": room}
    disk = PlannedDisk(
        disk="vda", claim=f"{name}-vda", volume="vda", size_bytes=size, claim_bytes=size, volume_mode="Block"
    )
    machine = Machine(
        id=identity,
        name=name,
        source="lab",
        guest=Guest(agent_channel=True),
        cpu=Cpu(vcpus=1),
        memory=Memory(size_bytes=64 * MIB),
        disks=(Disk(id="vda"),),
    )
    return Entry(
        name=name,
        target_name=name,
        namespace=NAMESPACE,
        machine=machine,
        disks=(disk,),
        manifests=(claim, vm),
        probes=(Probe(kind="agent", timeout_seconds=0.5),),
    )


def test_a_new_room_is_created_once_and_reads_as_zeros(place: Place) -> None:
    first = place.target.prepare(an_entry(), place.ledger)["vda"]
    assert (first.created, first.reads_zero, first.ref.size_bytes) == (True, place.reads_zero, 3 * MIB)
    again = place.target.prepare(an_entry(), place.ledger)["vda"]
    assert (again.created, again.reads_zero) == (False, place.reads_zero)
    assert (again.ref, again.state_dir) == (first.ref, first.state_dir)
    assert [thing.kind for thing in place.written].count("disk") == 1


def test_a_room_that_holds_data_is_not_said_to_read_as_zeros(place: Place) -> None:
    place.target.prepare(an_entry(), place.ledger)
    place.damage(an_entry(), MIB)
    assert not place.target.prepare(an_entry(), place.ledger)["vda"].reads_zero


def test_a_room_of_another_size_is_refused(place: Place) -> None:
    place.target.prepare(an_entry(), place.ledger)
    with pytest.raises(TargetRefused):
        place.target.prepare(an_entry(size=4 * MIB), place.ledger)


def test_a_name_that_another_machine_has_is_a_concern_and_refused(place: Place) -> None:
    other = an_entry(identity="id-other")
    place.target.prepare(an_entry(), place.ledger)
    own = place.target.concerns((an_entry(),))
    assert not [concern for concern in own if concern.severity is Severity.CRITICAL]
    assert {concern.severity for concern in place.target.concerns((other,))} == {Severity.CRITICAL}
    for write in (
        lambda: place.target.prepare(other, place.ledger),
        lambda: place.target.apply(other, place.ledger, dry_run=False),
        lambda: place.target.remove(other),
    ):
        with pytest.raises(TargetRefused):
            write()
    assert not place.target.prepare(an_entry(), place.ledger)["vda"].created, "the first machine's room is untouched"


def test_a_trial_opens_what_a_copy_would_and_leaves_nothing(place: Place) -> None:
    entry = an_entry()
    assert place.target.trial((entry,), lambda _entry: nullcontext(place.served())) == {}
    assert place.target.trial((entry,), lambda _entry: nullcontext(None)) == {}
    place.source.unlink()
    (told,) = place.target.trial((entry,), lambda _entry: nullcontext(place.served()))["web"]
    assert told.severity is Severity.CRITICAL
    assert told.what.startswith("web: ")
    assert place.written == []
    assert place.target.prepare(entry, place.ledger)["vda"].created, "no room was made"


def test_a_source_that_gives_nothing_to_try_is_a_concern_of_its_machine(place: Place) -> None:
    def reach(entry: Entry) -> AbstractContextManager[DiskRef | None]:
        raise SourceRefused("it hands out nothing", fix="Mend it.", machine=entry.name)

    (told,) = place.target.trial((an_entry(),), reach)["web"]
    assert "it hands out nothing" in told.what
    assert told.fix == "Mend it."


def test_a_copy_is_durable_verified_damaged_found_and_repaired(place: Place) -> None:
    copied, shown = place.move(an_entry(), "copy")
    assert copied.ok, copied.error
    assert place.content(an_entry()) == place.source.read_bytes()
    assert shown
    verified, _ = place.move(an_entry(), "verify")
    assert verified.ok, verified.error
    assert verified.root == copied.root != ""

    place.damage(an_entry(), 2 * MIB + 7)
    found, _ = place.move(an_entry(), "verify", attempt=2)
    assert (found.ok, found.differing, found.first_differing_offset) == (False, 1, 2 * MIB)
    assert found.error is not None
    assert found.error.type == "IntegrityFailed"

    repaired, _ = place.move(an_entry(), "repair")
    assert repaired.ok, repaired.error
    assert place.content(an_entry()) == place.source.read_bytes()
    assert place.move(an_entry(), "verify", attempt=3)[0].ok


def test_a_job_that_ended_well_is_left_while_it_is_the_newest(place: Place) -> None:
    first, _ = place.move(an_entry(), "copy")
    place.source.write_bytes(bytes(3 * MIB))
    assert place.move(an_entry(), "copy")[0] == first
    assert place.content(an_entry()) != bytes(3 * MIB)
    place.move(an_entry(), "verify")
    assert place.move(an_entry(), "copy")[0].ok
    assert place.content(an_entry()) == bytes(3 * MIB), "after another job the old result does not stand"


def test_a_movers_failure_is_in_its_result(place: Place) -> None:
    place.source.unlink()
    result, _ = place.move(an_entry(), "copy")
    assert not result.ok
    assert result.error is not None
    assert result.error.what


def test_a_mover_that_nobody_submitted_has_no_good_result(place: Place) -> None:
    room = place.target.prepare(an_entry(), place.ledger)["vda"]
    job = MoverJob(name="never", action="verify", target=room.ref, state_dir=room.state_dir)
    assert not place.target.watch(job, lambda _progress: None).ok


def test_apply_says_what_changes_and_a_dry_run_changes_nothing(place: Place) -> None:
    def kinds(lines: list[str]) -> set[str]:
        return {line.split()[0] for line in lines}

    assert kinds(place.target.apply(an_entry(), place.ledger, dry_run=True)) == {"created"}
    assert kinds(place.target.apply(an_entry(), place.ledger, dry_run=False)) == {"created"}
    assert kinds(place.target.apply(an_entry(), place.ledger, dry_run=False)) == {"unchanged"}
    assert "changed" in kinds(place.target.apply(an_entry(guest="128Mi"), place.ledger, dry_run=True))
    assert kinds(place.target.apply(an_entry(), place.ledger, dry_run=False)) == {"unchanged"}


def test_only_what_was_applied_is_started_and_only_what_was_started_is_observed(place: Place) -> None:
    entry = an_entry()
    place.target.prepare(entry, place.ledger)
    with pytest.raises(TargetRefused):
        place.target.start(entry, place.ledger)
    place.target.apply(entry, place.ledger, dry_run=False)
    with pytest.raises(TargetRefused):
        place.target.observe(entry, {})


def test_a_machine_of_which_nothing_is_there_does_not_run(place: Place) -> None:
    assert not place.target.runs(an_entry())


def test_start_observe_stop_and_again(place: Place) -> None:
    entry = an_entry()
    place.target.prepare(entry, place.ledger)
    place.target.apply(entry, place.ledger, dry_run=False)
    before = place.content(entry)
    place.target.stop(entry)
    for _ in range(2):
        assert not place.target.runs(entry)
        place.target.start(entry, place.ledger)
        place.target.start(entry, place.ledger)
        assert place.target.runs(entry)
        assert not place.target.runs(an_entry(identity="id-other")), "another machine of its name is not it"
        seen = place.target.observe(entry, {})
        assert seen.machine == entry.name
        assert [probe.kind for probe in seen.probes] == ["agent"]
        assert [thing.kind for thing in place.written if place.target.exists(thing)].count("process") >= 1
        place.target.stop(entry)
        place.target.stop(entry)
    assert not place.target.runs(entry)
    assert place.content(entry) == before
    assert not [thing for thing in place.written if thing.kind == "process" and place.target.exists(thing)]


def test_what_is_handed_over_goes_on_as_it_is_and_a_stop_takes_it_back(place: Place) -> None:
    entry = an_entry()
    place.target.prepare(entry, place.ledger)
    place.target.apply(entry, place.ledger, dry_run=False)
    place.target.start(entry, place.ledger, 7)
    assert place.target.hand_over(entry, 7) == place.target.hand_over(entry, 7)
    assert place.target.runs(entry)
    with pytest.raises(Fenced, match="newer runner"):
        place.target.hand_over(entry, 6)
    place.target.stop(entry, 8)
    assert not place.target.runs(entry)
    with pytest.raises(Fenced, match="newer runner"):
        place.target.hand_over(entry, 7)
    assert not place.target.runs(entry)


def test_a_runner_that_was_overtaken_neither_starts_nor_stops(place: Place) -> None:
    entry = an_entry()
    place.target.prepare(entry, place.ledger)
    place.target.apply(entry, place.ledger, dry_run=False)
    place.target.stop(entry, 7)
    with pytest.raises(Fenced, match="newer runner"):
        place.target.start(entry, place.written.append, 6)
    assert not place.target.runs(entry)
    assert {line.split()[0] for line in place.target.apply(entry, place.ledger, dry_run=False)} == {"unchanged"}
    place.target.start(entry, place.ledger, 7)
    with pytest.raises(Fenced, match="newer runner"):
        place.target.stop(entry, 6)
    assert place.target.runs(entry)
    place.target.stop(entry, 8)
    assert not place.target.runs(entry)


def test_a_mark_stays_over_a_stop_and_nobody_else_s_machine_has_it(place: Place) -> None:
    entry, mark = an_entry(), MoveMark("2026-01-01T00:00:00Z", "d1", "2026-01-01T00:00:00Z", "wave 1")
    assert place.target.marked(entry) is None
    place.target.prepare(entry, place.ledger)
    place.target.apply(entry, place.ledger, dry_run=False)
    place.target.mark(entry, mark, 7)
    assert place.target.marked(entry) == mark
    assert place.target.marked(an_entry(identity="id-other")) is None
    place.target.stop(entry, 8)
    place.target.tidy(entry)
    assert {line.split()[0] for line in place.target.apply(entry, place.ledger, dry_run=False)} == {"unchanged"}
    assert place.target.marked(entry) == mark
    for late in (place.target.unmark, place.target.remove, lambda *told: place.target.mark(told[0], mark, told[1])):
        with pytest.raises(Fenced, match="newer runner"):
            late(entry, 7)
    assert place.target.marked(entry) == mark
    place.target.unmark(entry, 8)
    place.target.unmark(entry, 8)
    assert place.target.marked(entry) is None
    place.target.mark(entry, mark, 8)
    assert place.target.remove(entry, 9)
    assert place.target.marked(entry) is None


def test_remove_leaves_nothing_that_the_ledger_knows(place: Place) -> None:
    entry = an_entry()
    place.move(entry, "copy")
    place.target.apply(entry, place.ledger, dry_run=False)
    place.target.start(entry, place.ledger)
    assert place.target.remove(entry)
    assert [thing for thing in place.written if place.target.exists(thing)] == []
    assert place.target.remove(entry) == []
    assert place.target.prepare(entry, place.ledger)["vda"].created


def test_variables_are_written_by_a_mover_each_runner_has_its_own_state_and_all_goes(place: Place) -> None:
    store = store_of((Variable("Mark", UUID(int=7), 7, b"set at the source"),), "4m")
    entry = keeping(an_entry())
    place.target.prepare(entry, place.ledger)
    for fence in (1, 2):
        room = place.target.variables_room(entry, len(store), fence, place.ledger)
        assert room.created is (fence == 1)
        for action in ("copy", "verify"):
            job = MoverJob(
                name=f"web-variables-{fence}-{action}",
                action=action,
                disk="variables",
                source=DiskRef(uri=inline_uri(store), size_bytes=len(store)) if action == "copy" else None,
                target=room.ref,
                state_dir=room.state_dir,
                fence=fence,
                copy_id="variables",
                makes_target=room.makes_target,
                exact_file=True if room.makes_target else None,
                workers=1,
            )
            place.target.submit(job, place.ledger)
            result = place.target.watch(job, lambda _: None)
            assert result.ok, result.error
    place.target.apply(entry, place.ledger, dry_run=False)
    place.target.remove(entry)
    assert [thing for thing in place.written if place.target.exists(thing)] == []


def test_what_a_tpm_holds_is_handed_to_a_mover_and_taken_back_alone(place: Place) -> None:
    state = b"three seeds, and what was sealed to them"
    entry = keeping(an_entry())
    place.move(entry, "copy")
    rooms = [place.target.tpm_room(entry, len(state), fence, place.ledger) for fence in (1, 2)]
    assert [room.created for room in rooms] == [True, False]
    for action in ("copy", "verify"):
        job = MoverJob(
            name=f"web-tpm-{action}",
            action=action,
            disk="tpm",
            source=DiskRef(uri=HELD, size_bytes=len(state)) if action == "copy" else None,
            target=rooms[1].ref,
            state_dir=rooms[1].state_dir,
            fence=2,
            copy_id="tpm",
            makes_target=rooms[1].makes_target,
            exact_file=True if rooms[1].makes_target else None,
            private_folders=3 if rooms[1].makes_target else None,
            workers=1,
        )
        place.target.submit(job, place.ledger, state if action == "copy" else None)
        result = place.target.watch(job, lambda _: None)
        assert result.ok, result.error
    assert place.handed() == []
    assert place.target.drop_tpm(entry)
    assert place.target.drop_tpm(entry) == []
    assert place.content(entry) == place.source.read_bytes(), "the disk is where it was"
    place.target.remove(entry)
    assert [thing for thing in place.written if place.target.exists(thing)] == []


def keeping(entry: Entry) -> Entry:
    """The same machine, with a claim for its UEFI variables, and for what its TPM holds."""
    kept = KeptVariables(claim=f"persistent-state-for-{entry.target_name}", file=f"nvram/{entry.target_name}_VARS.fd")
    room = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    metadata = {"name": kept.claim, "labels": {"persistent-state-for": entry.target_name}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": room}
    tpm = KeptTpm(claim=kept.claim, file="swtpm/5f0c3a1e-7a51-4a53-9a5d-0e5b6a3f8e01/tpm2/tpm2-00.permall")
    return entry.model_copy(
        update={"variables": kept, "tpm": tpm, "manifests": (*entry.manifests[:-1], claim, entry.manifests[-1])}
    )


# --- machines that share a disk ------------------------------------------------------------------------------------


def a_set() -> tuple[Entry, Entry]:
    """Two machines: `web` carries a disk that `db` attaches, beside one of its own."""
    web, db = an_entry("web"), an_entry("db", identity="id-db")
    shared = web.disks[0].model_copy(update={"shared_with": ("db",)})
    attached = AttachedDisk(
        disk="vdb", claim="web-vda", volume="vdb", size_bytes=3 * MIB, carrier="web", carrier_target="web"
    )
    claim, vm = copy.deepcopy(web.manifests)
    claim["spec"] |= {"accessModes": ["ReadWriteMany"], "storageClassName": services.BLOCK_CLASS}
    _template(vm)["domain"]["devices"]["disks"][0] |= {"shareable": True, "cache": "none"}
    other = copy.deepcopy(db.manifests[1])
    spec = _template(other)
    spec["domain"]["devices"]["disks"].append(
        {"name": "vdb", "disk": {"bus": "virtio"}, "shareable": True, "cache": "none"}
    )
    spec["volumes"].append({"name": "vdb", "persistentVolumeClaim": {"claimName": "web-vda"}})
    return (
        web.model_copy(
            update={
                "disks": (shared,),
                "manifests": (claim, vm),
                "moves_with": (Companion(name="db", target_name="db"),),
            }
        ),
        db.model_copy(
            update={
                "attached": (attached,),
                "manifests": (db.manifests[0], other),
                "moves_with": (Companion(name="web", target_name="web"),),
            }
        ),
    )


def _template(vm: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = vm["spec"]["template"]["spec"]
    return found


def test_machines_that_share_a_disk_run_from_one_copy_and_it_goes_last(place: Place) -> None:
    web, db = a_set()
    try:
        assert place.move(web, "copy")[0].ok
        place.target.prepare(db, place.ledger)
        assert [thing.name for thing in place.written if thing.kind == "disk"].count("web-vda") <= 1
        for entry in (web, db):
            place.target.apply(entry, place.ledger, dry_run=False)
        place.target.start(web, place.ledger, 7)
        place.target.start(db, place.ledger, 8)
        assert place.target.runs(web)
        assert place.target.runs(db)
        place.target.stop(web, 9)
        with pytest.raises(TargetRefused, match="db runs at the target"):
            place.target.prepare(web, place.ledger)
        place.target.stop(db, 10)
        assert place.content(web) == place.source.read_bytes(), "nothing that runs for its proof has written to it"
        with pytest.raises(TargetRefused, match="attached to other machines"):
            place.target.remove(web)
        assert place.content(web) == place.source.read_bytes(), "nothing was removed"
        assert place.target.remove(db)
        assert place.target.remove(web)
        assert [thing for thing in place.written if place.target.exists(thing)] == []
    finally:
        for entry in (db, web):
            place.target.stop(entry)
            place.target.remove(entry)


def test_a_rehearsal_reads_only_what_was_copied_and_leaves_nothing(place: Place) -> None:
    entry = an_entry()
    place.move(entry, "copy")
    before = place.content(entry)
    start = len(place.written)
    place.target.rehearse(entry, place.ledger, 3)
    place.target.rehearse(entry, lambda thing: pytest.fail(f"{thing} is made twice"), 3)
    made = place.written[start:]
    assert made
    with pytest.raises(TargetRefused, match="rehearsal"):
        place.target.prepare(entry, place.ledger)
    assert not place.target.runs(entry), "it is not the machine itself"
    seen = place.target.observe_rehearsal(entry)
    assert (seen.machine, [probe.kind for probe in seen.probes]) == ("web", ["agent"])
    assert place.target.end_rehearsal(entry, 3)
    assert [thing for thing in made if place.target.exists(thing)] == []
    assert place.target.end_rehearsal(entry, 3) == []
    assert place.content(entry) == before
    assert place.move(entry, "verify")[0].ok
    with pytest.raises(TargetRefused):
        place.target.observe_rehearsal(entry)


def test_machines_are_rehearsed_together_only_where_the_place_has_such_a_thing(place: Place) -> None:
    entry = an_entry()
    place.move(entry, "copy")
    if not place.target.capabilities.rehearses_together:
        with pytest.raises(TargetRefused, match="by itself"):
            place.target.rehearse(entry, place.ledger, 3, (entry,))
        return
    place.target.rehearse(entry, place.ledger, 3, (entry,))
    assert place.target.observe_rehearsal(entry).machine == "web"
    assert place.target.end_rehearsal(entry, 3)
    assert [thing for thing in place.written if thing.kind == "process" and place.target.exists(thing)] == []


def test_a_rehearsal_without_disks_and_beside_the_machine_itself_is_refused(place: Place) -> None:
    entry = an_entry()
    with pytest.raises(TargetRefused):
        place.target.rehearse(entry, place.ledger)
    place.move(entry, "copy")
    place.target.apply(entry, place.ledger, dry_run=False)
    place.target.start(entry, place.ledger)
    with pytest.raises(TargetRefused, match="runs"):
        place.target.rehearse(entry, place.ledger)


def test_who_was_overtaken_begins_no_rehearsal(place: Place) -> None:
    entry = an_entry()
    place.move(entry, "copy")
    place.target.end_rehearsal(entry, 5)
    with pytest.raises(Fenced):
        place.target.rehearse(entry, place.ledger, 4)
    place.target.rehearse(entry, place.ledger, 5)
    with pytest.raises(Fenced):
        place.target.end_rehearsal(entry, 4)
    assert place.target.end_rehearsal(entry, 6)


def test_a_probe_that_a_rehearsal_cannot_ask_neither_passes_nor_fails(place: Place) -> None:
    counter = Probe(kind="counter", path="/data/boots", timeout_seconds=0.5)
    entry = an_entry().model_copy(update={"probes": (counter,)})
    place.move(entry, "copy")
    place.target.rehearse(entry, place.ledger)
    seen = place.target.observe_rehearsal(entry)
    (left,) = seen.not_asked
    assert "/data/boots" in left
    assert (seen.probes, seen.passed) == ((), False)
    place.target.remove(entry)
    assert place.target.end_rehearsal(entry) == []
