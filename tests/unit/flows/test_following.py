"""A run that is followed: each machine once, in the order in which they begin."""

from __future__ import annotations

from flows.following import Following
from flows.migrate import Outcome
from flows.progress import Board
from flows.serving.server import Api
from kubeferry.documents import Limits, Plan
from kubeferry.life.actions import Goal


def test_machines_come_in_the_order_in_which_they_began() -> None:
    made_at = "2026-01-01T00:00:00Z"
    plan = Plan(name="p", created_at=made_at, source="lab", inventory_digest="", waves=(), entries=())
    run = Following(Api(""), plan, Goal.MIGRATE, ("b", "a"), Limits(), Board(quiet=True))
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
