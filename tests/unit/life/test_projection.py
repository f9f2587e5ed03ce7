"""Projected downtime: what rounds and earlier cutovers say of the next one, and how good that was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kubeferry.documents import DowntimePolicy, HookPhase, OutlinedEntry
from kubeferry.life import events as ev
from kubeferry.life.experience import Experience, Moved, experience_of
from kubeferry.life.projected import Part, Projected, Range, total
from kubeferry.life.projection import deadline_of, over_budget, project, rounds_of, score, spread, takes
from kubeferry.life.states import Recorded
from kubeferry.model import Marker, Power
from kubeferry.schedule.windows import Opening

MIB = 1 << 20
START = datetime(2026, 12, 5, 20, tzinfo=UTC)


def when(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(mode: str = "warm", gigabytes: int = 10, allocated: int | None = 4 << 30) -> OutlinedEntry:
    return OutlinedEntry.model_validate(
        {
            "name": "web",
            "target_name": "web",
            "namespace": "n",
            "machine": {"id": "web", "source": "lab", "disks": [{"id": "vda", "allocated_bytes": allocated}]},
            "disks": [
                {
                    "disk": "vda",
                    "claim": "web-vda",
                    "volume": "vda",
                    "size_bytes": gigabytes << 30,
                    "claim_bytes": gigabytes << 30,
                }
            ],
            "mode": mode,
            "manifests": (),
        }
    )


def a_round(number: int, begins: float, mebibytes: float, seconds: float, *, whole: bool = False) -> list[Recorded]:
    """A round of a machine that runs; its read-back takes as long as its copy."""
    count = int(mebibytes * MIB)
    view = Marker(source="lab", token=f"view-{number}", taken_at=when(begins))
    since = None if whole else Marker(source="lab", token=f"view-{number - 1}", taken_at="")
    events: list[tuple[float, ev.Event]] = [
        (0, ev.CopyBegun(round=number, final=False, view=view, since=since)),
        (seconds, ev.DiskCopied(disk="vda", round=number, root="r", algorithm="a", data_bytes=count, seconds=seconds)),
        (2 * seconds, ev.DiskVerified(disk="vda", root="r", read_bytes=count, seconds=seconds)),
        (2 * seconds, ev.Synced(round=number, data_bytes=count, seconds=seconds)),
    ]
    return [Recorded(event, when(begins + after), fence=1) for after, event in events]


def a_cutover(begins: float = 0, *, back: bool = False) -> list[Recorded]:
    """Stops in 10 s, copies 2 MiB in 4 s, reads them back in 2 s, starts in 5 s, boots in 20 s, is proven 3 s later."""
    seen = {"startedAt": when(begins + 21), "firstAnswerAt": when(begins + 41), "probes": [{"ok": not back}]}
    events: list[tuple[float, ev.Event]] = [
        (0, ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True)),
        (0, ev.LastWords(at=when(begins))),
        (0, ev.StopAsked()),
        (10, ev.SourceStopped(how="agent", at=when(begins + 10))),
        (10, ev.CopyBegun(round=9, final=True)),
        (14, ev.DiskCopied(disk="vda", round=9, root="r", algorithm="a", data_bytes=2 * MIB, seconds=3)),
        (16, ev.DiskVerified(disk="vda", root="r", read_bytes=2 * MIB, seconds=2)),
        (20, ev.Applied()),
        (21, ev.Started()),
        (44, ev.Observed(observation=seen)),
    ]
    if back:
        events += [(50, ev.RollbackBegun(reason="no")), (58, ev.SourceRestarted()), (58, ev.RolledBack())]
    return [Recorded(event, when(begins + after), fence=1) for after, event in events]


def by_name(seen: Projected) -> dict[str, Part]:
    return {part.name: part for part in seen.parts}


def test_of_a_machine_of_which_nothing_was_seen_nothing_is_claimed() -> None:
    seen = project(entry(), (), Experience(), START)
    assert (seen.downtime, seen.delta_bytes, seen.churn, seen.rate, seen.back) == (None, None, None, None, None)
    assert seen.told() == "not known: no machine has moved yet"
    assert seen.missing == (
        "stop: no machine has moved yet",
        "copy: no round was copied yet",
        "read-back: no round was copied yet",
        "start: no machine has moved yet",
        "boot: no machine has moved yet",
        "probes: no machine has moved yet",
    )
    assert seen.back_why == "no machine has gone back yet"


def test_one_round_does_not_say_what_a_machine_writes() -> None:
    seen = project(entry(), a_round(1, 0, 4096, 40, whole=True), Experience(), START + timedelta(seconds=100))
    assert seen.churn is None
    assert by_name(seen)["copy"].why == "what it writes is known from its second round on"
    assert seen.rate is not None
    assert 102.4 * MIB in seen.rate


def test_churn_and_rate_say_what_is_left_at_a_moment() -> None:
    records = [
        *a_round(1, 0, 4096, 40, whole=True),
        *a_round(2, 100, 200, 2),  # 2 MiB/s written since
        *a_round(3, 200, 400, 4),  # 4 MiB/s
    ]
    seen = project(entry(), records, Experience(), START + timedelta(seconds=260))
    assert seen.churn is not None
    assert seen.delta_bytes is not None
    assert (seen.churn.low / MIB, seen.churn.high / MIB) == pytest.approx((2 / 1.5, 4 * 1.5))
    assert seen.delta_bytes.likely == 60 * seen.churn.likely
    later = project(entry(), records, Experience(), START + timedelta(seconds=500))
    assert later.delta_bytes is not None
    assert later.delta_bytes.low > seen.delta_bytes.low
    years = project(entry(), records, Experience(), START + timedelta(days=4000))
    assert years.delta_bytes is not None
    assert years.delta_bytes.high == 10 << 30  # no more than there is


def test_a_rollback_begins_the_count_anew() -> None:
    records = [*a_round(1, 0, 10, 1, whole=True), *a_cutover(100, back=True), *a_round(10, 900, 10, 1)]
    assert [one.taken for one in rounds_of(records)] == [START + timedelta(seconds=900)]


def test_earlier_machines_are_what_the_parts_rest_on() -> None:
    prior = experience_of(a_cutover()) + experience_of(a_cutover(back=True))
    assert prior.stops == (10, 10)
    assert prior.starts == (5, 5)
    assert prior.boots == (20, 20)
    assert prior.probes == (3,)  # the one that passed
    assert prior.backs == (8,)
    assert prior.copies == (Moved(2 * MIB, 4), Moved(2 * MIB, 4))
    assert prior.machines == 2
    records = [*a_round(1, 0, 4096, 40, whole=True), *a_round(2, 100, 100, 1)]
    seen = project(entry(), records, prior, START + timedelta(seconds=200))
    parts = by_name(seen)
    assert parts["stop"].seconds == Range(low=10 / 1.5, likely=10, high=15)
    assert parts["stop"].why == "2 cutovers"
    assert parts["copy"].why == "its own rounds"
    assert seen.downtime == total(part.seconds for name, part in parts.items() if name != "probes")
    assert seen.back is not None
    assert seen.back.likely == 28
    assert seen.back_why == "1 rollback, and 2 cutovers for the boot of the source"
    assert seen.machines == 2
    assert seen.known_high == pytest.approx(seen.proven.high if seen.proven else 0)


def test_what_two_runs_did_of_a_part_says_nothing_of_it() -> None:
    records = a_cutover()
    broken = [Recorded(one.event, one.at, fence=1 if number < 6 else 2) for number, one in enumerate(records)]
    assert experience_of(broken).starts == (5,)
    assert experience_of(broken).checks == ()


def test_a_machine_that_is_copied_after_its_stop_is_projected_by_its_size_and_the_copies_of_others() -> None:
    prior = Experience(copies=(Moved(1 << 30, 10),), checks=(Moved(1 << 30, 5),), machines=1)
    seen = project(entry("cold", 10, 4 << 30), (), prior, START)
    copy = by_name(seen)["copy"]
    assert copy.seconds == Range(low=40 / 2, likely=40, high=100 * 2)
    assert copy.why == "copies of 1 other machine"
    assert by_name(seen)["read-back"].seconds == Range(low=20 / 2, likely=20, high=50 * 2)
    assert seen.downtime is None
    assert seen.told().endswith("; not known: stop, start, boot, probes")
    unknown = project(entry("cold", 10, None), (), prior, START)
    assert unknown.delta_bytes == Range(low=0, likely=10 << 30, high=10 << 30)


def test_small_copies_say_what_one_takes_whatever_its_size() -> None:
    seen = (Moved(0, 3.0), Moved(1 * MIB, 4.0), Moved(1000 * MIB, 14.0))
    small = takes(Range(low=0, likely=0, high=0), seen)
    assert (small.low, small.likely, small.high) == (2.0, 3.5, 6.0)
    large = takes(Range(low=0, likely=1000 * MIB, high=1000 * MIB), seen)
    assert large.likely == pytest.approx(17.5)


def test_until_when_a_cutover_may_take() -> None:
    opening = Opening(START, START + timedelta(hours=4), START + timedelta(hours=3))
    known = Projected(at="", back=Range(low=1, likely=60, high=120))
    assert deadline_of(None, opening, known, START) == opening.ends - timedelta(seconds=120)
    assert deadline_of(600, opening, known, START) == START + timedelta(seconds=600)
    assert deadline_of(600, None, known, START) == START + timedelta(seconds=600)
    assert deadline_of(None, None, known, START) is None
    # What nobody knows, the lock-out stands in for: its people have chosen it.
    assert deadline_of(None, opening, Projected(at=""), START) == opening.lockout


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_a_range_holds_all_that_it_rests_on(seen: list[float]) -> None:
    found = spread(seen)
    assert all(one in found for one in seen)
    assert found.low <= found.likely <= found.high


@given(
    st.lists(st.builds(Moved, st.integers(0, 1 << 40), st.floats(0, 1e5)), min_size=1, max_size=20),
    st.lists(st.integers(0, 1 << 42), min_size=3, max_size=3).map(sorted),
)
def test_more_bytes_never_take_less(seen: list[Moved], amounts: list[int]) -> None:
    low, likely, high = amounts
    found = takes(Range(low=low, likely=likely, high=high), seen)
    more = takes(Range(low=high, likely=high, high=high), seen)
    assert found.low <= found.likely <= found.high
    assert found.low <= more.low
    assert found.high <= more.high * (1 + 1e-9)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_score_says_whether_the_actual_lay_inside(a: float, b: float, c: float, actual: float) -> None:
    low, likely, high = sorted((a, b, c))
    found = score(Range(low=low, likely=likely, high=high), actual)
    assert found.inside == (low <= actual <= high)
    assert (found.ratio is None) == (likely == 0)


def test_a_budget_that_cannot_hold_is_told_by_the_least_that_is_known() -> None:
    parts = (Part(name="stop", seconds=Range(low=20, likely=30, high=40)), Part(name="copy", why="nobody knows"))
    seen = Projected(at=when(0), parts=parts)
    assert over_budget(DowntimePolicy(budget_seconds=19), seen).startswith(
        "it takes 20.0 s or longer, and its downtime"
    )
    assert over_budget(DowntimePolicy(budget_seconds=20), seen) == ""
    proven = seen.model_copy(update={"proven": Range(low=60, likely=60, high=60)})
    assert over_budget(DowntimePolicy(budget_seconds=30), proven).startswith("it takes 1 min 00 s")
    assert over_budget(DowntimePolicy(), proven) == over_budget(None, proven) == ""


def test_a_range_that_is_none_is_refused() -> None:
    for wrong in ({"low": 2, "likely": 1, "high": 3}, {"low": -1, "likely": 1, "high": 3}, {"low": 0, "likely": 0}):
        with pytest.raises(ValidationError):
            Range.model_validate(wrong)


def test_what_was_projected_stands_in_the_journal() -> None:
    seen = project(entry(), a_round(1, 0, 10, 1), experience_of(a_cutover()), START)
    event: Any = ev.CutoverBegun(power_before=Power.RUNNING, window="nights", projected=seen)
    assert ev.event_from_json(ev.event_to_json(event)) == event
    assert ev.event_from_json('{"kind":"cutover-begun","powerBefore":"running"}') == ev.CutoverBegun(
        power_before=Power.RUNNING
    )


def hooked(*hooks: dict[str, Any]) -> OutlinedEntry:
    return OutlinedEntry.model_validate(entry().model_dump() | {"hooks": hooks})


def a_hook(phase: str, seconds: float = 60) -> dict[str, Any]:
    return {"name": "tell", "on": phase, "kind": "command", "argv": ("true",), "timeout_seconds": seconds}


def ran(phase: str, seconds: float) -> Recorded:
    return Recorded(
        ev.HookRun(hook="tell", phase=HookPhase(phase), how="command", ok=True, seconds=seconds), when(0), 1
    )


def test_hooks_between_stop_and_start_take_up_to_their_time_or_as_long_as_they_did() -> None:
    rounds = [*a_round(1, 0, 4096, 40, whole=True), *a_round(2, 100, 200, 2)]
    at, prior = START + timedelta(seconds=150), experience_of(a_cutover()) + experience_of(a_cutover(back=True))
    bare = project(entry(), rounds, prior, at)
    three = hooked(a_hook("before-stop", 30), a_hook("after-stop"), a_hook("after-start", 90), a_hook("after-commit"))
    seen = project(three, rounds, prior, at)
    assert bare.downtime
    assert bare.proven
    assert seen.downtime == bare.downtime + Range(low=0, likely=75, high=150)
    assert seen.proven == bare.proven + Range(low=0, likely=90, high=180)
    assert (seen.back, seen.known_high) == (bare.back, pytest.approx(bare.known_high + 180))
    took = experience_of([ran("before-stop", 4), ran("after-stop", 10), ran("after-start", 20)])
    known = project(three, rounds, prior + took, at)
    assert known.downtime == bare.downtime + spread([10]) + spread([20])
    assert by_name(known)["hooks before the stop"].seconds == spread([4])


def test_the_time_of_hooks_is_no_boot() -> None:
    records = a_cutover()
    held = [*records[:-1], ran("after-start", 15), records[-1]]
    assert (experience_of(records).boots, experience_of(held).boots) == ((20,), (5,))


def test_the_time_that_a_hook_has_makes_nothing_known() -> None:
    seen = project(hooked(a_hook("after-stop")), (), Experience(), START)
    assert not seen.is_known
    assert seen.told() == "not known: no machine has moved yet"
