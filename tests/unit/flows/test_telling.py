"""Beside a run people are told, and no machine waits for that; the verbs that send, and what says what waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import telling
from flows.cli import run
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal
from tests.lives import failed, goes_back, recorded
from tests.receivers import KEY, Listener, listening

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setenv("HOOK_KEY", KEY)
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    with listening() as made:
        yield made


@pytest.fixture
def told(estate: Path, listener: Listener, kubeferry: Command) -> Path:
    """A plan of one machine, and who is told of it."""
    config = estate / "kubeferry.yaml"
    hook = f"{{url: '{listener.url}/hook', secretEnv: HOOK_KEY}}"
    config.write_text(config.read_text() + f"notify: {{webhooks: {{ops: {hook}}}}}\n")
    assert kubeferry("discover")[0] == 0
    assert kubeferry("plan", "inventory.yaml")[0] == 0
    return estate


def journal_of(folder: Path) -> tuple[Journal, Plan]:
    journal, plan = Journal.open(JournalConfig(url=f"sqlite:///{folder}/journal.db")), load(folder / "plan.yaml", Plan)
    journal.keep_plan(plan)
    return journal, plan


def test_a_run_tells_how_it_ended(told: Path, kubeferry: Command, listener: Listener, no_server: None) -> None:
    assert kubeferry("migrate", "plan.yaml")[0] == 0
    assert [(one.body["event"], one.body["machine"]) for one in listener.got] == [("committed", "web")]
    assert listener.got[0].is_signed()


def test_a_receiver_that_hangs_holds_up_no_machine(
    told: Path, kubeferry: Command, listener: Listener, no_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "END_SECONDS", 0.5)
    listener.then = "hang"
    begun = time.monotonic()
    code, out, _ = kubeferry("migrate", "plan.yaml")
    assert (code, time.monotonic() - begun < 20) == (0, True)
    assert "1 committed" in out
    listener.over.set()
    listener.then = 204
    with Journal.open(JournalConfig(url=f"sqlite:///{told}/journal.db")) as journal:
        queue = journal.outbox.queues()[0]
        assert queue.waiting + len(listener.taken) == 1


def test_who_waits_for_a_window_is_told_of_once_for_each(told: Path, listener: Listener, kubeferry: Command) -> None:
    journal, plan = journal_of(told)
    config = read_config(told / "kubeferry.yaml")
    with journal:
        for opening in ("Sat 21:00", "Sat 21:00", "Sun 21:00"):
            error = KubeferryError(f"it is deferred; it opens next {opening}", fix="Wait.", machine="web")
            outcomes = [Outcome("web", telling.DEFERRED, error), Outcome("db", "committed")]
            telling.announce_outcomes(journal, config, plan, outcomes)
        assert kubeferry("notify")[0] == 0
    assert [(one.body["event"], one.body["reason"][-9:], one.body["wave"]) for one in listener.got] == [
        ("deferred", "Sat 21:00", "wave-1"),
        ("deferred", "Sun 21:00", "wave-1"),
    ]


def test_without_the_key_nothing_is_begun_but_a_way_back(
    told: Path, kubeferry: Command, monkeypatch: pytest.MonkeyPatch, no_server: None
) -> None:
    monkeypatch.delenv("HOOK_KEY")
    for verb in ("migrate", "precopy"):
        code, _, err = kubeferry(verb, "plan.yaml")
        assert (code, "the environment has no HOOK_KEY" in err) == (2, True)
    assert "HOOK_KEY" not in kubeferry("rollback", "plan.yaml", "-m", "web", "--yes")[2]


def test_the_verb_sends_what_waits_and_says_what_does_not_go(
    told: Path, kubeferry: Command, listener: Listener
) -> None:
    assert kubeferry("notify")[0] == 0
    journal, plan = journal_of(told)
    with journal:
        goes_back(journal, plan, "web")
        listener.answers = [503]
        code, out, _ = kubeferry("notify", "--dry-run")
        assert (code, out) == (0, "would be told: webhook/ops: web: rolled-back\n")
        assert listener.got == []
        code, out, _ = kubeferry("notify")
        assert code == 1
        assert "503 Service Unavailable: why it is so; tried again at" in out
        status = kubeferry("status", "plan.yaml")[1]
        assert "outbox: 1 message waits for webhook/ops since" in status
        assert "tried 1 time: 503 Service Unavailable" in status
        facts = json.loads(kubeferry("status", "plan.yaml", "--json")[1])["outbox"][0]
        assert (facts["receiver"], facts["waiting"], facts["tries"]) == ("webhook/ops", 1, 1)
        findings = json.loads(kubeferry("doctor", "--json")[1])
        assert [one["severity"] for one in findings if one["id"] == "notify.waiting"] == ["warning"]
        code, out, _ = kubeferry("notify", "--again", "--json")
        assert (code, json.loads(out)["sent"]) == (0, 1)
        assert "outbox" not in kubeferry("status", "plan.yaml")[1]


def test_what_was_set_aside_is_said(told: Path, kubeferry: Command, listener: Listener) -> None:
    kubeferry("notify")
    journal, plan = journal_of(told)
    with journal:
        recorded(journal, plan, "web", failed())
        listener.answers = [400] * 5
        for _ in range(5):
            kubeferry("notify")
            journal.outbox.again([])
            with journal._writing() as db:
                db.exec_driver_sql("UPDATE kubeferry_outbox SET next_at = ''")
        assert (
            "1 message was refused by webhook/ops and set aside: 400 Bad Request" in kubeferry("status", "plan.yaml")[1]
        )
        assert kubeferry("notify")[0] == 0
        assert "1 set aside: 400 Bad Request" in kubeferry("notify")[1]
        assert kubeferry("notify", "--again")[0] == 0
    assert len(listener.taken) == 1


def test_a_test_names_each_receiver(told: Path, kubeferry: Command, listener: Listener) -> None:
    code, out, _ = kubeferry("notify", "--test")
    assert code == 0
    assert out.splitlines()[1].split() == ["webhook/ops", "taken", "204", "No", "Content"]
    listener.then = 401
    code, out, _ = kubeferry("notify", "--test", "--json")
    assert (code, json.loads(out)["webhook/ops"]) == (1, {"fate": "refused", "said": "401 Unauthorized: why it is so"})


def test_without_receivers_the_verb_says_how_to_name_some(estate: Path, kubeferry: Command) -> None:
    code, _, err = kubeferry("notify")
    assert (code, "Write `notify` into it" in err) == (2, True)


def test_all_that_is_wrong_with_receivers_is_said_at_once(estate: Path, kubeferry: Command) -> None:
    config = estate / "kubeferry.yaml"
    wrong: dict[str, Any] = {
        "webhooks": {
            "a": {"url": "http://hooks.example/verysecret", "secretEnv": "KEY"},
            "b": {"secretEnv": "KEY"},
            "c": {"url": "https://hooks.example/", "secretEnv": "not a name"},
        },
        "mail": {"host": "mail", "sender": "x", "to": []},
        "pages": "https://r.example/{secret}",
    }
    config.write_text(config.read_text() + f"notify: {json.dumps(wrong)}\n")
    code, _, err = kubeferry("notify")
    assert code == 2
    for words in ("not encrypted", "either url, or urlEnv", "secretEnv", "no mail address", "mail.to", "it may name"):
        assert words in err, words
    config.write_text(
        config.read_text().replace("http://hooks.example/verysecret", "https://h.example/?token=verysecret")
    )
    assert "verysecret" not in kubeferry("notify")[2]


@pytest.mark.parametrize("way", ["option", "environment"])
def test_logs_as_json_say_what_they_are_about(
    told: Path, kubeferry: Command, listener: Listener, no_server: None, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "environment":
        monkeypatch.setenv("KUBEFERRY_LOG_FORMAT", "json")
    assert run(["migrate", "plan.yaml", *(["--log-format", "json"] if way == "option" else [])]) == 0
    (log,) = (told / ".kubeferry" / "logs").glob("*migrate*.log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    recorded_ones = [one for one in lines if "recorded" in one["message"]]
    assert recorded_ones
    assert {(one["plan"], one["wave"], one["machine"]) for one in recorded_ones} == {("lab", "wave-1", "web")}
    assert all({"at", "level", "logger", "message"} <= one.keys() for one in lines)


def test_an_error_is_whole_in_one_line_of_json(estate: Path, kubeferry: Command) -> None:
    code, _, err = kubeferry("-v", "--log-format", "json", "discover", "--source", "nobody")
    assert code == 2
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert any("Traceback" in one.get("error", "") for one in lines)
