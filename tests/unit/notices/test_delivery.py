"""Messages reach their receivers: once where nothing breaks, in order, later where one is away, as one where many are
due. The receivers are real HTTP servers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest

from kubeferry.documents import NoticeKind
from kubeferry.journal import Journal
from kubeferry.life import events as ev
from kubeferry.model import Power
from kubeferry.notices import Announcement, announce, deliver, problems, try_out, webhook
from kubeferry.notices.answers import Answer, Fate
from kubeferry.notices.delivery import REFUSED_TRIES, pause
from tests.lives import a_plan, failed, goes_back, moves, recorded
from tests.receivers import Got, Listener, listening
from tests.unit.notices.conftest import NOW, after, configured, hook


def told(got: Sequence[Got]) -> list[tuple[str, str]]:
    return [(one.body["event"], one.body["machine"]) for one in got]


def test_what_happened_is_told_once_in_order_and_signed(journal: Journal, listener: Listener) -> None:
    plan = a_plan("web", "db")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)}, pages="https://reports.example/{plan}/report.html#{machine}")
    assert deliver(journal, config, NOW).sent == 0
    moves(journal, plan, "web")
    recorded(journal, plan, "db", ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True), failed())
    recorded(journal, plan, "db", ev.RollbackBegun(reason="the disk is gone"), ev.RolledBack())
    assert deliver(journal, config, NOW).sent == 3
    assert deliver(journal, config, NOW).sent == 0
    assert told(listener.got) == [("committed", "web"), ("failed", "db"), ("rolled-back", "db")]
    assert all(one.is_signed() and one.path == "/hook" for one in listener.got)
    assert not listener.got[0].is_signed("another key, as long as the one that counts")
    body = listener.got[2].body
    assert list(body) == [
        *("event", "time", "id", "plan", "wave", "app", "machine", "from", "to", "reason", "fix", "page", "actor")
    ]
    assert (body["from"], body["to"], body["wave"]) == ("rolling-back", "rolled-back", plan.waves[0].name)
    assert (body["reason"], body["fix"]) == ("the disk is gone", "Bring it back.")
    assert body["page"] == "https://reports.example/programme/report.html#db"
    assert body["id"] == listener.got[2].ident
    assert body["actor"]["how"] == "process"
    assert body["actor"]["identity"].startswith("process ")
    assert listener.got[0].body["reason"] == "1 probe passed"


def test_who_comes_later_is_told_from_then_on(journal: Journal, listener: Listener) -> None:
    plan = a_plan("web", "db")
    journal.keep_plan(plan)
    goes_back(journal, plan, "web")
    config = configured(webhooks={"ops": hook(listener)})
    assert deliver(journal, config, NOW).sent == 0
    goes_back(journal, plan, "db")
    deliver(journal, config, NOW)
    with listening() as second:
        both = configured(webhooks={"ops": hook(listener), "chat": hook(second)})
        deliver(journal, both, NOW)
        recorded(journal, plan, "web", ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True), failed())
        deliver(journal, both, NOW)
        assert told(second.got) == [("failed", "web")]
    assert told(listener.got) == [("rolled-back", "db"), ("failed", "web")]


def test_only_what_somebody_wants_to_hear_of(journal: Journal, listener: Listener) -> None:
    plan, other = a_plan("web"), a_plan("web", name="other")
    for one in (plan, other):
        journal.keep_plan(one)
    config = configured(webhooks={"ops": hook(listener, events=["cutover-begun", "rollback-begun"], plans=["prog*"])})
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    goes_back(journal, other, "web")
    deliver(journal, config, NOW)
    assert told(listener.got) == [("cutover-begun", "web"), ("rollback-begun", "web")]


def test_a_stop_that_was_asked_for_is_no_failure_and_the_same_failure_is_told_once(
    journal: Journal, listener: Listener
) -> None:
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    stopped = ev.Failed(at="copy-disks", what="stopped on request", error_type="Interrupted")
    recorded(journal, plan, "web", ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True), stopped)
    recorded(journal, plan, "web", failed(), failed(), failed("something else"), failed("something else"))
    deliver(journal, config, NOW)
    assert [one.body["reason"] for one in listener.got] == [
        "it cannot be read: the disk is gone",
        "something else: the disk is gone",
    ]


@pytest.mark.parametrize("answer", [500, 503, 408, 429, "cut"])
def test_a_receiver_that_is_away_hears_it_later_and_in_order(
    journal: Journal, listener: Listener, answer: int | str
) -> None:
    plan = a_plan("web", "db")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    listener.answers = [answer] * 8
    goes_back(journal, plan, "web")
    goes_back(journal, plan, "db")
    left = deliver(journal, config, NOW).told[0].left
    assert (left.waiting, left.tries, left.undeliverable) == (2, 1, 0)
    assert left.error
    assert deliver(journal, config, after(4)).sent == 0
    assert len(listener.got) == 1, "it is left alone for a while"
    for number in range(1, 9):
        deliver(journal, config, after(number * 1000))
    assert told(listener.got) == [("rolled-back", "web")] * 9 + [("rolled-back", "db")]
    assert len({one.ident for one in listener.got}) == 2
    assert deliver(journal, config, after(20000)).waiting == 0


def test_an_answer_that_ends_in_its_middle_is_one(journal: Journal, listener: Listener) -> None:
    """The receiver has said that it has it; what else it wanted to say is none of our business."""
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    listener.answers = ["half"]
    goes_back(journal, plan, "web")
    assert deliver(journal, config, NOW).sent == 1
    assert deliver(journal, config, after(9999)).sent == 0


@pytest.mark.parametrize("answer", [400, 401, 404, 413, "redirect"])
def test_what_is_refused_is_set_aside_and_blocks_nobody(
    journal: Journal, listener: Listener, answer: int | str
) -> None:
    plan = a_plan("web", "db")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    goes_back(journal, plan, "db")
    listener.answers = [answer] * REFUSED_TRIES
    for number in range(REFUSED_TRIES):
        done = deliver(journal, config, after(number * 1000))
    assert told(listener.got) == [("rolled-back", "web")] * REFUSED_TRIES + [("rolled-back", "db")]
    assert {one.path for one in listener.got} == {"/hook"}, "no redirect is followed"
    assert (done.sent, done.waiting, done.undeliverable) == (1, 0, 1)
    assert "why it is so" in done.told[0].left.refusal or answer == "redirect"
    assert deliver(journal, config, after(99999)).sent == 0
    assert journal.outbox.again(["webhook/ops"]) == 1
    assert deliver(journal, config, after(99999)).sent == 1
    assert told(listener.got)[-1] == ("rolled-back", "web")


def test_many_of_a_wave_are_one_message(journal: Journal, listener: Listener) -> None:
    names = [f"m{number:03}" for number in range(100)]
    plan = a_plan(*names)
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    for name in names:
        goes_back(journal, plan, name, reason="x" * 5000)
    listener.answers = [503]
    assert deliver(journal, config, NOW).sent == 0
    goes_back(journal, plan, names[0])
    assert deliver(journal, config, after(60)).sent == 2
    first, digest, single = listener.got
    assert first.ident == digest.ident, "it is the same message, although one more is due"
    assert digest.body["event"] == "digest"
    assert digest.body["reason"] == "100 messages: 100 rolled-back"
    assert [one["machine"] for one in digest.body["machines"]] == names
    assert digest.body["machine"] is None
    assert (digest.body["to"], digest.body["wave"]) == ("rolled-back", plan.waves[0].name)
    assert len({one["id"] for one in digest.body["machines"]}) == 100
    assert len(digest.data) < webhook.LARGEST_BODY
    assert told([single]) == [("rolled-back", names[0])]


def test_a_few_are_told_one_by_one(journal: Journal, listener: Listener) -> None:
    names = [f"m{number}" for number in range(4)]
    plan = a_plan(*names)
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener, digestAbove=4)})
    deliver(journal, config, NOW)
    for name in names:
        goes_back(journal, plan, name)
    assert deliver(journal, config, NOW).sent == 4
    assert told(listener.got) == [("rolled-back", name) for name in names]


def test_one_that_hangs_holds_up_no_other(
    journal: Journal, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "SILENCE_SECONDS", 0.3)
    plan = a_plan("web")
    journal.keep_plan(plan)
    with listening() as slow:
        slow.then = "hang"
        config = configured(webhooks={"slow": hook(slow), "ops": hook(listener)})
        deliver(journal, config, NOW)
        goes_back(journal, plan, "web")
        done = {one.receiver: one for one in deliver(journal, config, NOW).told}
    assert done["webhook/ops"].sent == 1
    assert "no answer within" in done["webhook/slow"].left.error


def test_a_machine_whose_events_cannot_be_read_costs_no_other(journal: Journal, listener: Listener) -> None:
    plan = a_plan("web", "db")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    goes_back(journal, plan, "db")
    with journal._writing() as db:
        db.exec_driver_sql("DROP TRIGGER kubeferry_event_no_update")
        db.exec_driver_sql("UPDATE kubeferry_event SET payload = '{}' WHERE machine = 'web' AND seq = 2")
    done = deliver(journal, config, NOW)
    assert told(listener.got) == [("rolled-back", "db")]
    assert len(done.unread) == 1
    assert "web" in done.unread[0]


def test_what_no_event_says_is_told_once(journal: Journal, listener: Listener) -> None:
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener), "deaf": hook(listener, events=["failed"])})
    said = Announcement(NoticeKind.APPROVAL_WANTED, "wave-1 today", plan.digest, wave="wave-1", reason="Sat 21:00")
    assert announce(journal, config, said)
    assert not announce(journal, config, said)
    assert deliver(journal, config, NOW).sent == 1
    body = listener.got[0].body
    assert (body["event"], body["wave"], body["machine"], body["reason"]) == (
        *("approval-wanted", "wave-1", None, "Sat 21:00"),
    )
    assert not announce(journal, configured(), said)


def test_secrets_do_not_leave(journal: Journal, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "hunter2-hunter2")
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web", reason="login with hunter2-hunter2 at https://me:pass@host/ failed\x1b[2J")
    deliver(journal, config, NOW)
    text = listener.got[0].body["reason"]
    assert "hunter2" not in text
    assert "pass@" not in text
    assert text.isprintable()


def test_a_secret_address_is_told_nowhere(
    journal: Journal, listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    plan = a_plan("web")
    journal.keep_plan(plan)
    monkeypatch.setenv("HOOK_URL", "http://127.0.0.1:9/services/T0000/verysecret")
    config = configured(webhooks={"chat": {"urlEnv": "HOOK_URL", "secretEnv": "HOOK_KEY"}})
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    done = deliver(journal, config, NOW)
    assert done.told[0].left.error == "127.0.0.1: Connection refused"
    assert "verysecret" not in caplog.text
    monkeypatch.setenv("HOOK_URL", f"{listener.url}/hook")
    assert deliver(journal, config, after(60)).sent == 1


def test_settings_that_cannot_work_are_named_and_lose_nothing(
    journal: Journal, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a_plan("web")
    journal.keep_plan(plan)
    hooks = {
        "ops": hook(listener),
        "unset": {"urlEnv": "NO_SUCH_URL", "secretEnv": "NO_SUCH_KEY"},
        "short": {"url": "https://hooks.example/x", "secretEnv": "SHORT_KEY"},
        "plain": {"urlEnv": "PLAIN_URL", "secretEnv": "HOOK_KEY"},
    }
    monkeypatch.setenv("SHORT_KEY", "short")
    monkeypatch.setenv("PLAIN_URL", "http://hooks.example/services/verysecret")
    config = configured(webhooks=hooks)
    found = problems(config)
    assert [one.where for one in found] == [
        "notify.webhooks.unset.urlEnv",
        "notify.webhooks.unset.secretEnv",
        "notify.webhooks.short.secretEnv",
        "notify.webhooks.plain.urlEnv",
    ]
    assert all(one.fix for one in found)
    assert "verysecret" not in str(found)
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    done = {one.receiver: one for one in deliver(journal, config, NOW).told}
    assert done["webhook/ops"].sent == 1
    assert done["webhook/short"].problems
    assert done["webhook/short"].left.waiting == 1


def test_a_test_says_what_came_back(journal: Journal, listener: Listener) -> None:
    listener.answers = [500]
    config = configured(webhooks={"ops": hook(listener), "none": {"url": "https://h.example/", "secretEnv": "UNSET"}})
    answers = try_out(journal, config)
    assert answers["webhook/ops"].fate is Fate.AWAY
    assert answers["webhook/ops"].said == "500 Internal Server Error: why it is so"
    assert "UNSET" in answers["webhook/none"].said
    assert listener.got[0].body["event"] == "test"
    assert listener.got[0].is_signed()
    assert try_out(journal, config)["webhook/ops"].fate is Fate.TAKEN


def test_a_receiver_says_how_long_to_wait(journal: Journal, listener: Listener) -> None:
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    listener.answers, listener.headers = [429], {"Retry-After": "120"}
    deliver(journal, config, NOW)
    assert deliver(journal, config, after(119)).sent == 0
    assert deliver(journal, config, after(121)).sent == 1


def test_pauses_grow_and_have_a_cap() -> None:
    nothing = Answer(Fate.AWAY, "")
    assert [pause(tries, nothing) for tries in (0, 1, 2, 7, 8, 5000)] == [5, 10, 20, 640, 900, 900]
    assert pause(3, Answer(Fate.AWAY, "", wait_seconds=1000)) == 1000


def test_of_two_deliverers_one_is_at_it(journal: Journal, listener: Listener) -> None:
    plan = a_plan("web")
    journal.keep_plan(plan)
    config = configured(webhooks={"ops": hook(listener)})
    deliver(journal, config, NOW)
    goes_back(journal, plan, "web")
    listener.answers = ["hang"]
    first = threading.Thread(target=deliver, args=(journal, config, NOW))
    first.start()
    while not listener.got:
        first.join(0.01)
    second = deliver(journal, config, NOW)
    assert (second.sent, second.told[0].busy) == (0, True)
    listener.over.set()
    first.join()
    assert deliver(journal, config, NOW + timedelta(hours=1)).sent == 1
    assert len({one.ident for one in listener.got}) == 1
