"""How long the EBS reader waits before it asks again: longer each time, by chance, and of a chance of its own."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from converters.endpoints.ebs import api as ebs
from kubeferry.errors import SourceUnavailable
from kubeferry.faults import Side
from kubeferry.uris import EbsSnapshot


def test_the_wait_draws_from_no_random_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def busy(**_asked: object) -> None:
        told = {"Error": {"Code": "InternalServerException"}, "ResponseMetadata": {"HTTPStatusCode": 500}}
        raise ClientError(told, "ListSnapshotBlocks")

    snapshot = ebs.SnapshotApi(EbsSnapshot("eu-west-1", "snap-1"), Side.SOURCE)
    monkeypatch.setattr(snapshot, "_client", lambda: SimpleNamespace(list_snapshot_blocks=busy))
    monkeypatch.setattr(ebs, "pace_of", lambda *_: SimpleNamespace(wait=lambda: None))
    monkeypatch.setattr(ebs.stopping, "pause", waited.append)
    before = random.getstate()
    with pytest.raises(SourceUnavailable):
        snapshot.volume_bytes()
    assert random.getstate() == before
    assert len(waited) == ebs.TRIES - 1
    assert len(set(waited)) == len(waited)
    assert all(ebs.WAIT_SECONDS / 2 <= one <= ebs.LONGEST_WAIT for one in waited)
