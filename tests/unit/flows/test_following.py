"""A run that is followed: each machine once, in the order in which they begin."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from flows.following import Following
from flows.migrate import Run
from flows.progress import Board
from flows.serving.server import Api
from flows.told import Outcome
from kubeferry.documents import Plan
from kubeferry.life.action_kinds import Goal


def following(api: Api) -> Following:
    made_at = "2026-01-01T00:00:00Z"
    plan = Plan(name="p", created_at=made_at, source="lab", inventory_digest="", waves=(), entries=())
    nothing: Any = None
    run = Run(plan, nothing, nothing, Board(quiet=True), Goal.MIGRATE)
    return Following(api, run, ("b", "a"), Path("kubeferry.yaml"))


def test_machines_come_in_the_order_in_which_they_began() -> None:
    run = following(Api(""))
    begun = run.begun(0.01)
    assert next(begun) is None, "so much time has passed, and nothing has begun"
    for name in ("b", "a"):
        run.tell(name, Outcome(name, "committed"))
    run.tell("b", Outcome("b", "committed"))
    assert [track.machine for track in (next(begun), next(begun)) if track] == ["b", "a"]
    assert next(begun) is None
    run.tell("c", Outcome("c", "failed"))
    run._closed = True
    assert [track and track.machine for track in begun] == ["c"]
    assert [one.machine for one in run.outcomes()] == ["b", "a", "c"]


def test_while_prefect_is_still_imported_nothing_of_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread is in the midst of importing can be had in part only: it ended a run as a defect, without a
    word on its machines."""
    handed: list[str] = []
    monkeypatch.setattr(Api, "answers", lambda _self: True)
    monkeypatch.setattr(Api, "hand_in", lambda self: handed.append(self.url))
    monkeypatch.setattr(Following, "_show", lambda _self: None)
    for imported in (False, True):
        with following(Api("http://prefect")) as run:
            run.given_up.set()
            if imported:
                run._imported.set()
        assert handed == ["http://prefect"] * imported


def test_what_prefect_makes_of_the_last_words_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = types.ModuleType("prefect")
    monkeypatch.setitem(sys.modules, "prefect", broken)
    monkeypatch.setitem(sys.modules, "prefect.events.worker", None)
    Api("http://prefect").hand_in()
