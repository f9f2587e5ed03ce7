"""The claim for what movers remember holds everything that can be there at once, for a disk of any size."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters.endpoints.file import File
from converters.engine import copying, earlier, fingerprint
from converters.engine.disks import parse_ref, verify_disk
from converters.engine.fingerprint import DIGESTS_OFFSET, Fingerprint, Header, file_bytes
from converters.engine.transfer import Options, Watch
from kubeferry.documents import Entry, MoverSettings
from kubeferry.errors import Interrupted, TargetRefused
from kubeferry.faults import Side
from kubeferry.targets.kubevirt import claims
from kubeferry.targets.kubevirt.checks import storage
from kubeferry.targets.kubevirt.offer import offer_of

TIB = 1 << 40
BLOCK = 4096
COUNT = 3000


class _Stops(Watch):
    def progress(self, phase: str, done: int, total: int | None) -> None:
        if phase == "copying":
            raise Interrupted("stopped")


@pytest.fixture
def most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The most that the state folder held whenever a file of it was made durable."""
    held = [0]
    real = os.fsync

    def measured(fd: int) -> None:
        real(fd)
        held[0] = max(held[0], sum(path.stat().st_size for path in (tmp_path / "state").iterdir()))

    monkeypatch.setattr(fingerprint.os, "fsync", measured)
    return held


def _round(folder: Path, label: bytes, options: Options, watch: Watch | None = None) -> str:
    with File(folder / "s", Side.SOURCE) as source, File(folder / "t", Side.TARGET) as target:
        header = Header(source.size, "blake3", BLOCK, label * 32)
        kff = folder / "state" / "fingerprint.kff"
        return copying.copy(source, target, kff, header, reads_zero=False, options=options, watch=watch or Watch())[0]


def test_it_has_room_for_all_files_that_rounds_can_leave(tmp_path: Path, most: list[int]) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "s").write_bytes(os.urandom(COUNT * BLOCK))
    (tmp_path / "t").write_bytes(bytes(COUNT * BLOCK))
    kff = tmp_path / "state" / "fingerprint.kff"
    for name in (b"1", b"2"):
        _round(tmp_path, name, Options())
        verify_disk(parse_ref(str(tmp_path / "t")), kff)
    read_back = most[0]
    Fingerprint.create(earlier.left_beside(kff), Header(COUNT * BLOCK, "blake3", BLOCK)).close()
    for name in (b"3", b"4"):  # the second one's checkpoint takes the place of the first one's
        with pytest.raises(Interrupted):
            _round(tmp_path, name, Options(), _Stops())
    assert (32 + 2 * 36) * COUNT <= read_back < most[0]
    assert (32 + 3 * 36) * COUNT <= most[0] <= claims.STATE_BYTES_PER_MIB * COUNT + 5 * DIGESTS_OFFSET


@pytest.mark.parametrize("tib", [1, 2, 16, 64])
def test_it_grows_with_the_disk_and_what_a_file_system_keeps(make: Any, tib: int) -> None:
    entry = make.entry("web")
    entry = entry.model_copy(update={"disks": [entry.disks[0].model_copy(update={"size_bytes": tib * TIB})]})
    asked = claims.state_claim(entry, entry.manifests[0])["spec"]["resources"]["requests"]["storage"]
    held = Header(tib * TIB)
    files = file_bytes(replace(held, root=b"root")) + 3 * file_bytes(held)
    assert int(asked) * 94 // 100 >= files  # ext4 keeps 5 in 100 for root, and its own tables


PROFILE: dict[str, Any] = {
    "metadata": {"name": "ceph"},
    "status": {
        "claimPropertySets": [
            {"volumeMode": "Block", "accessModes": ["ReadWriteMany"]},
            {"volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"]},
        ]
    },
}


@pytest.mark.parametrize(
    ("volume", "access", "profile", "expected"),
    [
        ("Block", "ReadWriteMany", PROFILE, "ReadWriteOnce"),
        ("Filesystem", "ReadWriteOnce", PROFILE, "ReadWriteOnce"),
        ("Block", "ReadWriteMany", None, "ReadWriteOnce"),
        ("Filesystem", "ReadWriteMany", None, "ReadWriteMany"),
        ("Block", "ReadWriteOnce", {"metadata": {"name": "x"}}, "ReadWriteOnce"),
    ],
)
def test_the_claim_asks_for_a_file_system_that_the_class_makes(
    make: Any, volume: str, access: str, profile: dict[str, Any] | None, expected: str
) -> None:
    entry = make.entry(claim={"volumeMode": volume, "accessModes": [access]})
    spec = claims.state_claim(entry, entry.manifests[0], MoverSettings(), profile)["spec"]
    assert (spec["volumeMode"], spec["accessModes"]) == ("Filesystem", [expected])
    assert spec["storageClassName"] == "fast"


def test_the_claim_is_of_the_class_that_is_named_for_it_and_not_smaller_than_that_makes(make: Any) -> None:
    entry = make.entry()
    profile = PROFILE | {"metadata": {"name": "big", "annotations": {claims.MINIMUM: "8Gi"}}}
    spec = claims.state_claim(entry, entry.manifests[0], MoverSettings(state_storage_class="big"), profile)["spec"]
    assert (spec["storageClassName"], spec["resources"]["requests"]["storage"]) == ("big", str(8 << 30))


def test_the_least_size_of_a_class_reaches_the_planner() -> None:
    profile = PROFILE | {"metadata": {"name": "ceph", "annotations": {claims.MINIMUM: "4Gi"}}}
    (found,) = offer_of([{"metadata": {"name": "ceph"}, "provisioner": "rbd"}], [profile], []).classes
    assert found.minimum_bytes == 4 << 30
    odd = PROFILE | {"metadata": {"name": "ceph", "annotations": {claims.MINIMUM: "much"}}}
    assert offer_of([{"metadata": {"name": "ceph"}}], [odd], []).classes[0].minimum_bytes is None


# --- one of an earlier version ---------------------------------------------------------------------------------------


class Double:
    """A cluster of one class and one state claim, which grows if the class says so. It checks nothing else."""

    def __init__(self, there: dict[str, Any], *, grows: bool) -> None:
        self.there, self.grows = there, grows
        self.asked: list[dict[str, Any]] = []

    def get(self, _kind: object, name: str, _namespace: str) -> dict[str, Any] | None:
        return self.there if name == self.there["metadata"]["name"] else None

    def list(self, _kind: object, *_where: object) -> list[dict[str, Any]]:
        return []

    def merge(self, _kind: object, _name: str, _namespace: str, patch: dict[str, Any]) -> None:
        if not self.grows:
            raise TargetRefused("the claim cannot be changed", why="the storageclass must support resize")
        self.asked.append(patch)
        self.there = {**self.there, "spec": {**self.there["spec"], **patch["spec"]}}

    def create(self, _claim: object, _kind: object) -> None:
        raise AssertionError("it is there")


@pytest.fixture
def large(make: Any) -> Entry:
    entry: Entry = make.entry()
    return entry.model_copy(update={"disks": (entry.disks[0].model_copy(update={"size_bytes": 4 * TIB}),)})


def made_earlier(entry: Entry, size: str) -> dict[str, Any]:
    claim = claims.state_claim(entry, entry.manifests[0])
    return {**claim, "spec": {**claim["spec"], "resources": {"requests": {"storage": size}}}}


def prepare(cluster: Double, entry: Entry) -> None:
    wanted = {"vda": claims.planned_claim(entry, entry.disks[0])}
    claims.make_state(cluster, entry, lambda _thing: None, wanted, MoverSettings())  # type: ignore[arg-type]


def test_a_claim_that_an_earlier_version_made_too_small_is_enlarged_once(large: Entry) -> None:
    cluster = Double(made_earlier(large, "300Mi"), grows=True)
    wanted = claims.state_claim(large, large.manifests[0])["spec"]["resources"]
    for _ in range(2):
        prepare(cluster, large)
    assert cluster.asked == [{"spec": {"resources": wanted}}]


@pytest.mark.parametrize("size", ["620Mi", "2Gi"])
def test_one_that_is_large_enough_is_left_alone(large: Entry, size: str) -> None:
    """Also where it has less to spare than a new one would have."""
    cluster = Double(made_earlier(large, size), grows=False)
    prepare(cluster, large)
    assert cluster.asked == []


def test_one_that_cannot_grow_is_told_with_what_to_do(large: Entry) -> None:
    cluster = Double(made_earlier(large, "300Mi"), grows=False)
    with pytest.raises(TargetRefused, match="too small for these disks, and cannot grow") as caught:
        prepare(cluster, large)
    assert "must support resize" in caught.value.why
    assert "allowVolumeExpansion" in caught.value.fix
    assert caught.value.machine == "web"


@pytest.mark.parametrize(
    ("size", "grows", "told"), [("300Mi", False, True), ("300Mi", True, False), ("1Gi", False, False)]
)
def test_that_is_said_before_anything_is_touched(make: Any, large: Entry, size: str, grows: bool, told: bool) -> None:
    facts = make.facts(place={"claims": make.seen(made_earlier(large, size))})
    classes = [{**one, "allowVolumeExpansion": grows} for one in facts.classes.objects]
    found = storage.concerns(replace(facts, classes=make.seen(*classes)), make.request(large))
    critical = [one for one in found if one.id == "storage.state-cramped"]
    assert bool(critical) is told
    assert all(one.severity == "critical" and "class fast" in one.what for one in critical)


def test_the_claim_is_no_smaller_than_the_settings_say(make: Any) -> None:
    entry = make.entry()
    spec = claims.state_claim(entry, entry.manifests[0], MoverSettings(state_bytes=1 << 30))["spec"]
    assert spec["resources"]["requests"]["storage"] == str(1 << 30)
