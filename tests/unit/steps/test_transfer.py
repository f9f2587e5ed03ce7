"""The jobs that steps make of a disk: what depends on where its bytes come from."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kubeferry.documents import MoverJob
from kubeferry.errors import SourceRefused
from kubeferry.ledger import Ledger
from kubeferry.sources import Round


def test_a_snapshot_is_read_by_more_threads_than_a_file(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MoverJob] = []
    submit, open_round = scene.target.submit, scene.source.open_round

    def submitted(job: MoverJob, ledger: Ledger, held: bytes | None) -> None:
        made.append(job)
        if job.source is not None and job.source.uri.startswith("ebs:"):
            raise SourceRefused("far enough")
        submit(job, ledger, held)

    def opened(*arguments: Any, **options: Any) -> Round:
        found: Round = open_round(*arguments, **options)
        uri = "ebs://eu-west-1/snap-00000001"
        refs = found.refs | {"vdb": found.refs["vdb"].model_copy(update={"uri": uri})}
        return dataclasses.replace(found, refs=refs)

    monkeypatch.setattr(scene.target, "submit", submitted)
    monkeypatch.setattr(scene.source, "open_round", opened)
    with pytest.raises(SourceRefused, match="far enough"):
        scene.drive()
    assert {job.disk: job.workers for job in made} == {"vda": 8, "vdb": 8}
