"""Reading snapshots of the lab's cloud over HTTP: full lists and deltas, and all that may go wrong on the way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converters.endpoints.ebs import api as ebs_api
from converters.endpoints.ebs.api import Pace
from converters.endpoints.ebs.blocks import BLOCK_BYTES, Listing
from converters.endpoints.ebs.snapshot import Ebs, open_endpoint
from converters.engine.disks import copy_disk, repair_disk
from converters.engine.transfer import Options
from kubeferry.errors import (
    InputInvalid,
    IntegrityFailed,
    Interrupted,
    KubeferryError,
    SourceRefused,
    SourceUnavailable,
)
from kubeferry.faults import Side
from kubeferry.model import DiskRef
from kubeferry.outside import stopping
from kubeferry.uris import EbsSnapshot
from lab.ec2 import Cloud
from lab.ec2.direct import Direct

MIB = 1 << 20
SIZE = 64 * MIB
VOLUME = "vol-1"
WRITTEN = (0, MIB + 4096, 7 * MIB, 20 * MIB + BLOCK_BYTES, SIZE - 4096)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr(ebs_api, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(ebs_api, "_paces", {})
    with Cloud() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        chance = random.Random(5)
        for offset in WRITTEN:
            made.write(VOLUME, offset, chance.randbytes(4096))
        made.store.freeze("snap-00000001", VOLUME, SIZE, 0)
        yield made


def ref(cloud: Cloud, number: int = 1, changed: int | None = None, **more: str) -> DiskRef:
    uri = EbsSnapshot("eu-west-1", f"snap-{number:08}", endpoint_url=cloud.url, **more).uri()
    return DiskRef(uri=uri, size_bytes=SIZE, changed=f"snap-{changed:08}" if changed else None)


def opened(cloud: Cloud, number: int = 1, changed: int | None = None) -> Ebs:
    return open_endpoint(ref(cloud, number, changed), Side.SOURCE)


def whole(endpoint: Ebs) -> bytes:
    with endpoint:
        view = memoryview(bytearray(SIZE))
        endpoint.read_into(0, view)
        return bytes(view)


def content(cloud: Cloud) -> bytes:
    return cloud.store.read(VOLUME, 0, SIZE)


def target_of(folder: Path) -> DiskRef:
    path = folder / "disk.img"
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(SIZE)
    return DiskRef(uri=path.as_uri())


def test_a_copy_reads_what_was_written_and_counts_its_calls(cloud: Cloud, tmp_path: Path) -> None:
    done = copy_disk(ref(cloud), target_of(tmp_path), tmp_path / "prints", target_reads_zero=True)
    assert (tmp_path / "disk.img").read_bytes() == content(cloud)
    assert done.tally.read == len(WRITTEN) * BLOCK_BYTES
    assert done.calls == {"ListSnapshotBlocks": 1, "GetSnapshotBlock": len(WRITTEN)}
    assert dict(cloud.calls) == done.calls


def test_a_delta_reads_only_what_changed_and_the_other_halves_of_its_blocks(cloud: Cloud, tmp_path: Path) -> None:
    first = copy_disk(ref(cloud), target_of(tmp_path), tmp_path / "prints", target_reads_zero=True)
    cloud.write(VOLUME, 7 * MIB, b"changed")  # its block's other half was never written
    cloud.write(VOLUME, 20 * MIB, b"new")  # its block's other half is as it was
    cloud.write(VOLUME, 40 * MIB, bytes(BLOCK_BYTES))  # zeros, but written
    cloud.store.discard(VOLUME, 2)  # given back
    cloud.store.freeze("snap-00000002", VOLUME, SIZE, 0)
    cloud.calls.clear()
    done = copy_disk(
        ref(cloud, 2, 1), target_of(tmp_path), tmp_path / "prints", copy_id="2", options=Options(since=first.root)
    )
    assert (tmp_path / "disk.img").read_bytes() == content(cloud)
    assert (done.calls["ListChangedBlocks"], done.calls["GetSnapshotBlock"]) == (1, 4)
    assert done.calls["ListSnapshotBlocks"] <= 3  # one for each other half, if their order is the worst
    assert done.tally.same == SIZE - 4 * MIB


def test_changes_that_cannot_be_told_lead_to_a_full_pass(cloud: Cloud) -> None:
    cloud.write("vol-2", 0, b"another volume")
    cloud.store.freeze("snap-00000003", "vol-2", SIZE, 0)
    for older in (3, 4):  # of another volume; gone
        with opened(cloud, 1, older) as endpoint:
            extents = list(endpoint.extents())
            assert not any(one.same for one in extents)
            assert sum(one.length for one in extents if not one.zero) == len(WRITTEN) * BLOCK_BYTES
        assert whole(opened(cloud, 1, older)) == content(cloud)


def test_changes_that_nobody_may_ask_for_lead_to_a_full_pass(cloud: Cloud) -> None:
    cloud.store.freeze("snap-00000002", VOLUME, SIZE, 0)
    cloud.faults.coming("ListChangedBlocks", "forbidden")
    with opened(cloud, 2, 1) as endpoint:
        assert not any(one.same for one in endpoint.extents())
        view = memoryview(bytearray(SIZE))
        endpoint.read_into(0, view)
        assert view == content(cloud)
    cloud.faults.coming("ListSnapshotBlocks", "forbidden")
    with opened(cloud, 1) as endpoint, pytest.raises(SourceRefused, match="may not"):
        list(endpoint.extents())


def test_pages_are_followed_to_the_end_empty_ones_too(cloud: Cloud) -> None:
    cloud.direct.page_most, cloud.direct.empty_pages = 2, 3
    with opened(cloud) as endpoint:
        extents = list(endpoint.extents())
    assert sum(one.length for one in extents if not one.zero) == len(WRITTEN) * BLOCK_BYTES
    assert cloud.calls["ListSnapshotBlocks"] == 3 + 3
    assert whole(opened(cloud)) == content(cloud)


def test_a_list_that_only_has_empty_pages_is_given_up(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebs_api, "EMPTY_PAGES", 20)
    monkeypatch.setattr(ebs_api, "LISTS_PER_SECOND", 10_000.0)
    cloud.direct.empty_pages = 1000
    with opened(cloud) as endpoint, pytest.raises(SourceUnavailable, match="does not end"):
        list(endpoint.extents())


def test_a_page_token_that_ran_out_is_no_end(cloud: Cloud) -> None:
    cloud.direct.page_most = 2
    with opened(cloud) as endpoint:
        pages = endpoint._snapshot._whole.pages()
        found = list(next(pages).tokens)
        cloud.direct.expire_pages()
        found += [index for page in pages for index in page.tokens]
    assert found == sorted(offset // BLOCK_BYTES for offset in WRITTEN)


def freeze_many_pages(cloud: Cloud) -> None:
    """A snapshot with more pages than are kept."""
    chance = random.Random(1)
    for at in range(60):
        cloud.write(VOLUME, at * MIB, chance.randbytes(MIB))
    cloud.store.freeze("snap-00000002", VOLUME, SIZE, 0)
    cloud.direct.page_most = 10


@pytest.mark.parametrize("mode", ["hiccup", "exclusive"])
def test_the_block_that_a_page_is_asked_for_is_not_lost(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """AWS's guide words it as "greater than", its reference as "from it on"; or an answer leaves it out."""
    plain = Direct._page

    def page(self: Direct, name: str, key: str, entries: list[Any], size: int, query: dict[str, str]) -> Any:
        start = int(query.get("startingBlockIndex", 0))
        if "pageToken" not in query and (start > 0 if mode == "hiccup" else "startingBlockIndex" in query):
            entries = [entry for entry in entries if entry["BlockIndex"] != start]
        return plain(self, name, key, entries, size, query)

    monkeypatch.setattr(Direct, "_page", page)
    freeze_many_pages(cloud)
    copy_disk(ref(cloud, 2), target_of(tmp_path), tmp_path / "prints", target_reads_zero=True)
    assert (tmp_path / "disk.img").read_bytes() == content(cloud)


def test_a_block_that_was_listed_and_is_not_any_more_is_no_hole(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Direct._page

    def page(self: Direct, name: str, key: str, entries: list[Any], size: int, query: dict[str, str]) -> Any:
        if "startingBlockIndex" in query:
            entries = [entry for entry in entries if entry["BlockIndex"] > int(query["startingBlockIndex"]) + 1]
        return plain(self, name, key, entries, size, query)

    monkeypatch.setattr(Direct, "_page", page)
    freeze_many_pages(cloud)
    with pytest.raises(SourceUnavailable, match="cannot be read") as refused:
        copy_disk(ref(cloud, 2), target_of(tmp_path), tmp_path / "prints", target_reads_zero=True)
    assert "has listed it" in refused.value.why


def test_a_token_that_ran_out_and_is_not_given_again_is_no_hole(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = opened(cloud)
    with endpoint:
        list(endpoint.extents())
        cloud.direct.expire_tokens()
        monkeypatch.setattr(Listing, "token", lambda _self, _index, instead_of=None: None if instead_of else "old")
        with pytest.raises(SourceUnavailable, match="cannot be read"):
            endpoint.read_into(0, memoryview(bytearray(4096)))


def test_block_tokens_that_ran_out_are_asked_for_again(cloud: Cloud) -> None:
    with opened(cloud) as endpoint:
        list(endpoint.extents())
        cloud.direct.expire_tokens()
        view = memoryview(bytearray(SIZE))
        endpoint.read_into(0, view)
        assert view == content(cloud)
        assert endpoint.calls["ListSnapshotBlocks"] == 2


@pytest.mark.parametrize("kind", ["throttle", "error", "unavailable", "html", "cut"])
def test_what_passes_is_tried_again(cloud: Cloud, kind: str) -> None:
    cloud.faults.coming("ListSnapshotBlocks", kind, kind)
    cloud.faults.coming("GetSnapshotBlock", *[kind] * 6)
    with opened(cloud) as endpoint:
        assert list(endpoint.extents())
        view = memoryview(bytearray(SIZE))
        endpoint.read_into(0, view)
        assert view == content(cloud)
        assert endpoint.calls["again"] == 8


def test_what_does_not_pass_is_given_up_as_unavailable(cloud: Cloud) -> None:
    cloud.faults.coming("GetSnapshotBlock", *["unavailable"] * 10 * len(WRITTEN))
    with opened(cloud) as endpoint, pytest.raises(SourceUnavailable, match="GetSnapshotBlock") as given_up:
        endpoint.read_into(0, memoryview(bytearray(BLOCK_BYTES)))
    assert "ServiceUnavailable" in given_up.value.why


def test_throttling_slows_all_down_and_ends(cloud: Cloud) -> None:
    for index in range(60):
        cloud.write(VOLUME, 21 * MIB + index * BLOCK_BYTES, b"x")
    cloud.store.freeze("snap-00000002", VOLUME, SIZE, 0)
    cloud.faults.coming("GetSnapshotBlock", *["throttle"] * 12)
    endpoint = opened(cloud, 2)
    assert whole(endpoint) == content(cloud)
    assert endpoint.calls["again"] == 12
    pace = next(pace for (_, kind), pace in ebs_api._paces.items() if kind == "read")
    assert pace.rate < pace.top


def test_a_wrong_bit_on_the_way_is_read_again(cloud: Cloud) -> None:
    cloud.direct.corrupt = 2
    with opened(cloud) as endpoint:
        view = memoryview(bytearray(BLOCK_BYTES))
        endpoint.read_into(0, view)
        assert view == content(cloud)[:BLOCK_BYTES]
        assert endpoint.calls["again"] == 2


def test_a_block_that_never_has_its_digest_fails_the_copy(cloud: Cloud, tmp_path: Path) -> None:
    cloud.direct.corrupt = 1000
    with pytest.raises(IntegrityFailed, match="digest"):
        copy_disk(ref(cloud), target_of(tmp_path), tmp_path / "prints", target_reads_zero=True)
    assert not (tmp_path / "prints").exists()
    cloud.direct.corrupt = 0
    copy_disk(ref(cloud), target_of(tmp_path), tmp_path / "prints", target_reads_zero=True)
    assert (tmp_path / "disk.img").read_bytes() == content(cloud)


def test_a_repair_fetches_one_block(cloud: Cloud, tmp_path: Path) -> None:
    copy_disk(ref(cloud), target_of(tmp_path), tmp_path / "prints", target_reads_zero=True)
    with (tmp_path / "disk.img").open("r+b") as file:
        file.seek(7 * MIB)
        file.write(b"damage")
    cloud.calls.clear()
    done = repair_disk(ref(cloud), target_of(tmp_path), tmp_path / "prints")
    assert (tmp_path / "disk.img").read_bytes() == content(cloud)
    assert (len(done.differing), done.calls["GetSnapshotBlock"]) == (1, 1)


def test_a_last_block_that_is_short_is_read_to_its_end(cloud: Cloud) -> None:
    size = SIZE - 1024
    cloud.store.freeze("snap-00000002", VOLUME, size, 0)
    cloud.direct.short_last = size % BLOCK_BYTES
    with open_endpoint(ref(cloud, 2).model_copy(update={"size_bytes": size}), Side.SOURCE) as endpoint:
        view = memoryview(bytearray(8192))
        endpoint.read_into(size - 8192, view)
    assert view == content(cloud)[size - 8192 : size]
    assert any(view)


def test_a_size_that_is_not_the_volumes_is_refused_and_one_that_is_not_told_is_asked_for(cloud: Cloud) -> None:
    with open_endpoint(ref(cloud).model_copy(update={"size_bytes": 5 << 30}), Side.SOURCE) as endpoint:
        with pytest.raises(SourceRefused, match="1 GiB") as refused:
            list(endpoint.extents())
        assert refused.value.fix
    with open_endpoint(ref(cloud).model_copy(update={"size_bytes": None}), Side.SOURCE) as endpoint:
        assert endpoint.size == 1 << 30


def test_a_snapshot_that_is_gone_or_not_completed_is_refused(cloud: Cloud) -> None:
    cloud.store.freeze("snap-00000002", VOLUME, SIZE, None)
    for number, says in ((2, "not completed"), (9, "does not exist")):
        with opened(cloud, number) as endpoint, pytest.raises(SourceRefused, match="ListSnapshotBlocks") as refused:
            list(endpoint.extents())
        assert says in refused.value.why


@pytest.mark.parametrize(("kind", "says"), [("stranger", "accept"), ("expired", "run out"), ("forbidden", "may not")])
def test_credentials_that_do_not_do_are_told_as_that(cloud: Cloud, kind: str, says: str) -> None:
    cloud.faults.coming("ListSnapshotBlocks", kind)
    with opened(cloud) as endpoint, pytest.raises(SourceRefused, match=says) as refused:
        list(endpoint.extents())
    assert refused.value.fix
    assert cloud.calls["ListSnapshotBlocks"] == 1


def test_no_credentials_and_no_such_profile_are_told(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in cloud.environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for more in ({}, {"profile": "nobody"}, {"role_arn": "arn:aws:iam::111122223333:role/mover"}):
        with (
            pytest.raises(SourceRefused, match="accept our credentials"),
            open_endpoint(ref(cloud, **more), Side.SOURCE) as endpoint,
        ):
            list(endpoint.extents())


def test_a_role_is_entered_with_its_external_id(cloud: Cloud) -> None:
    role = "arn:aws:iam::111122223333:role/mover"
    cloud.faults.roles[role] = "for-us"
    with open_endpoint(ref(cloud, role_arn=role, external_id="for-us"), Side.SOURCE) as endpoint:
        assert list(endpoint.extents())
    with (
        open_endpoint(ref(cloud, role_arn=role, external_id="wrong"), Side.SOURCE) as endpoint,
        pytest.raises(SourceRefused, match="may not"),
    ):
        list(endpoint.extents())


@pytest.mark.parametrize(
    "uri",
    ["ebs://eu-west-1/vol-1", "ebs://eu-west-1/snap-00000001?key=1", "ebs:///snap-00000001", "ebs://A B/snap-00000001"],
)
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(InputInvalid):
        open_endpoint(DiskRef(uri=uri, size_bytes=SIZE), Side.SOURCE)


def test_a_snapshot_is_no_target_and_compares_with_snapshots_only(cloud: Cloud) -> None:
    with pytest.raises(KubeferryError, match="is a snapshot"):
        open_endpoint(ref(cloud), Side.TARGET)
    with pytest.raises(InputInvalid):
        open_endpoint(ref(cloud).model_copy(update={"changed": "bytes=0-1"}), Side.SOURCE)


def test_a_stop_is_answered_while_waiting(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebs_api, "WAIT_SECONDS", 60.0)
    cloud.faults.coming("GetSnapshotBlock", "throttle")
    with opened(cloud) as endpoint:
        wait = endpoint.start_read(0, memoryview(bytearray(512)))
        stopping.request()
        try:
            with pytest.raises(Interrupted):
                wait()
        finally:
            stopping.reset()


def test_a_pace_gives_way_once_for_what_was_on_its_way_and_comes_back_slowly() -> None:
    pace = Pace(1000.0)
    for _ in range(10):
        pace.throttled()
    assert pace.rate == pytest.approx(1000 * 2 / 3)
    for _ in range(2000):
        pace.went_well()
    assert pace.rate == 1000.0
