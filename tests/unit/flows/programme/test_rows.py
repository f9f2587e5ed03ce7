"""The table of a wave, and the keys that it stands under."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from flows.programme.artifacts import artifact_key
from flows.programme.endings import Ending
from flows.programme.rows import Seen, headline, rows
from flows.programme.texts import verdict_page
from flows.progress import Glimpse
from flows.told import Outcome
from kubeferry.errors import PermanentError
from kubeferry.life.events import Synced
from kubeferry.life.states import MachineState, Phase
from kubeferry.model import Marker
from tests.lives import a_plan

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
MIB = 1 << 20
SYNCED = MachineState(
    phase=Phase.SYNCED,
    marker=Marker(source="lab", token="t", taken_at="2026-12-01T11:00:00Z"),  # noqa: S106 (a point in time)
    rounds=(Synced(round=1, data_bytes=30 * MIB),),
)


def test_a_row_says_how_old_the_copy_is_and_how_long_it_takes() -> None:
    seen = Seen(
        {"web": "shop"},
        {"web": SYNCED},
        {"web": Glimpse("copy-disks vda: why", "vda: copy 50 %", 10 * MIB, (5.0, 8.0), "20 s to 45 s")},
        links={"web": {"run": "http://prefect/runs/1"}},
    )
    (row,) = rows(["web"], seen, NOW)
    assert row == {
        "machine": "web",
        "app": "shop",
        "state": "synced",
        "sync age": "60 min",
        "delta MiB": "30",
        "MiB/s": "10",
        "left": "5 s to 8 s",
        "downtime": "projected: 20 s to 45 s",
        "last error": "—",
        "links": "[run](http://prefect/runs/1)",
        "now": "copy-disks vda: why; vda: copy 50 %",
    }
    assert headline(["web"], seen) == "OK, 0 of 1 moved"


def test_what_is_not_known_leaves_room_for_the_rest() -> None:
    why = "not known: no machine of this source was seen to start"
    (row,) = rows(["web"], Seen(glimpses={"web": Glimpse("waits", projected=why)}), NOW)
    assert row["downtime"] == "not known"


def test_the_page_of_a_run_tells_a_reason_at_full_length_below_its_table() -> None:
    why = "the target did not pass: the serial console never said READY"
    ending = Ending("failed", "RolledBack", "1 of 2 rolled back: crm")
    outcomes = [Outcome("crm", "failed", PermanentError(why), stands="rolled-back"), Outcome("web", "committed")]
    text = verdict_page(a_plan("crm", "web"), ending, outcomes, {"crm": "/page"}, {"report": "/report"})
    assert "| [crm](/page) | rolled-back |" in text
    assert "| web | committed |" in text
    assert f"- [crm](/page): {why}\n" in text


def test_a_name_is_no_link_and_an_error_is_told() -> None:
    name = "[x](javascript:alert(1))"
    seen = Seen(
        outcomes={name: Outcome(name, "failed", PermanentError("it has no <b>room</b>"))}, held={"b": "it waits"}
    )
    first, second = rows([name, "b"], seen, NOW)
    assert first["machine"] == r"\[x\](javascript:alert(1))"
    assert first["last error"] == "it has no &lt;b&gt;room&lt;/b&gt;"
    assert (second["state"], second["now"]) == ("held back", "it is held back: it waits")
    assert headline([name, "b"], seen) == "ERROR, 0 of 2 moved"


@given(st.lists(st.text(alphabet="aB.-_1", min_size=1, max_size=8), unique=True, min_size=2, max_size=6))
def test_two_names_never_make_the_same_key(names: list[str]) -> None:
    keys = {artifact_key("machine", name) for name in names}
    assert len(keys) == len(names)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)
