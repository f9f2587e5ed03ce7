"""How hooks are run: real programs, a real HTTP server, an agent that runs real programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Hook, HookPhase
from kubeferry.errors import Interrupted
from kubeferry.life.hooks import Call
from kubeferry.outside import stopping
from kubeferry.steps import hook_kinds
from kubeferry.steps.hook_kinds import by_command, by_guest, by_http, hindrances, kept
from tests.host_agent import HostAgent

CALL = Call("web", "estate", "d" * 64, "shop", "wave-1", HookPhase.BEFORE_STOP, "drain", "c" * 32)


def program(text: str, *words: str, **more: Any) -> Hook:
    return Hook(
        name="drain", on=HookPhase.BEFORE_STOP, kind="command", argv=(sys.executable, "-c", text, *words), **more
    )


# --- a program of this host ------------------------------------------------------------------------------------------


def test_a_program_is_told_what_it_is_run_for_and_no_shell_reads_its_words() -> None:
    text = "import os, sys; print(sorted(k for k in os.environ if k.startswith('KUBEFERRY_')), os.environ"
    text += "['KUBEFERRY_MACHINE'], os.environ['KUBEFERRY_PHASE'], os.environ['KUBEFERRY_CALL'], sys.argv[1])"
    heard = by_command(program(text, "$(touch /tmp/x); `id`"), CALL, 30)
    assert (heard.ok, heard.code, heard.why) == (True, 0, "")
    assert "web before-stop " + "c" * 32 + " $(touch /tmp/x); `id`" in heard.said
    for name in ("MACHINE", "PLAN", "APP", "WAVE", "PHASE"):
        assert f"KUBEFERRY_{name}" in heard.said


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("import sys; print('no', flush=True); sys.exit(3)", 3, "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, "signal 9"),
    ],
)
def test_any_other_end_than_zero_is_a_failure(text: str, code: int, why: str) -> None:
    heard = by_command(program(text), CALL, 30)
    assert (heard.ok, heard.code) == (False, code)
    assert why in heard.why


def test_a_program_that_is_not_there_is_a_failure_and_is_found_out_beforehand() -> None:
    hook = Hook(name="x", on=HookPhase.AFTER_COMMIT, kind="command", argv=("no-such-program-here",))
    assert "not installed: no-such-program-here" in by_command(hook, CALL, 5).why
    assert list(hindrances(hook)) == ["not installed: no-such-program-here"]


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = (
        "import os, subprocess, sys, time; c = subprocess.Popen(['sleep', '60']); "
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {c.pid}'); print('began', flush=True); time.sleep(60)"
    )
    begun = time.monotonic()
    heard = by_command(program(text, str(pids)), CALL, 2)
    assert time.monotonic() - begun < 20
    assert (heard.ok, heard.why) == (False, "it did not end within 2 s")
    assert "began" in heard.said
    for pid in pids.read_text().split():
        state = Path(f"/proc/{pid}/stat")
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_program_that_prints_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_kinds, "OUTPUT_BYTES", 1 << 20)
    heard = by_command(program("while True: print('x' * 100)"), CALL, 60)
    assert heard.why == "it printed more than 1 MiB"
    assert len(kept(heard, program("")).said) <= hook_kinds.SAID_SIGNS


def test_who_asks_to_stop_ends_a_program_at_once() -> None:
    timer = threading.Timer(0.3, stopping.request)
    timer.start()
    try:
        with pytest.raises(Interrupted):
            by_command(program("import time; time.sleep(60)"), CALL, 60)
    finally:
        timer.join()
        stopping.reset()


def test_what_is_kept_is_bounded_and_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    monkeypatch.setenv("DRAIN_KEY", "not-told-by-its-name")
    text = "import os; print('\\x1b[31mred', os.environ['DB_PASSWORD'], 'postgres://u:sesame@db/x', 'y' * 4000)"
    heard = kept(by_command(program(text), CALL, 30), program(text))
    assert len(heard.said) == hook_kinds.SAID_SIGNS
    text = "print('hunter22', 'postgres://u:sesame@db/x', '\\x1b[31mred')"
    heard = kept(by_command(program(text), CALL, 30), program(text))
    assert "hunter22" not in heard.said
    assert "sesame" not in heard.said
    assert "\x1b" not in heard.said
    hook = Hook(name="x", on=HookPhase.AFTER_STOP, kind="http", url="https://lb.example/", token_env="DRAIN_KEY")  # noqa: S106 (a name)
    assert kept(hook_kinds.Heard(ok=False, said="you sent not-told-by-its-name"), hook).said == "you sent ***"


# --- a call by HTTP --------------------------------------------------------------------------------------------------


class Receiver(BaseHTTPRequestHandler):
    seen: list[tuple[str, dict[str, str], dict[str, str]]]
    status, body, drips = 200, b"taken", False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "1000" if self.drips else str(len(self.body)))
        self.end_headers()
        for _ in range(20 if self.drips else 0):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.2)
        if not self.drips:
            self.wfile.write(self.body)

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[type[Receiver], str]]:
    kind = type("Mine", (Receiver,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kind, f"http://127.0.0.1:{server.server_port}/drain"
        server.shutdown()


def call_to(url: str, **more: Any) -> Hook:
    return Hook(name="drain", on=HookPhase.BEFORE_STOP, kind="http", url=url, **more)


def test_a_call_carries_what_it_is_for_its_key_and_its_secrets_by_reference(receiver: Any) -> None:
    kind, url = receiver
    environ = {"LB": url, "TOKEN": "sesame", "TENANT": "blue"}
    hook = Hook(
        name="drain",
        on=HookPhase.BEFORE_STOP,
        kind="http",
        url_env="LB",
        token_env="TOKEN",  # noqa: S106 (a name)
        headers_env={"X-Tenant": "TENANT"},
    )
    first, second = by_http(hook, CALL, 10, environ), by_http(hook, CALL, 10, environ)
    assert (first.ok, first.code, first.said) == (True, 200, "taken")
    assert second.ok
    path, headers, body = kind.seen[0]
    assert path == "/drain"
    assert body["machine"] == "web"
    assert (body["phase"], body["app"], body["wave"], body["plan"]) == ("before-stop", "shop", "wave-1", "estate")
    assert (headers["Authorization"], headers["X-Tenant"]) == ("Bearer sesame", "blue")
    assert headers["Idempotency-Key"] == kind.seen[1][1]["Idempotency-Key"] == body["call"] == CALL.call


@pytest.mark.parametrize("status", [302, 404, 500])
def test_any_other_answer_than_a_success_is_a_failure_and_no_redirect_is_followed(receiver: Any, status: int) -> None:
    kind, url = receiver
    kind.status, kind.body = status, b"pool is locked"
    heard = by_http(call_to(url), CALL, 10)
    assert (heard.ok, heard.code, heard.said) == (False, status, "pool is locked")
    assert f"it answered {status}" in heard.why
    assert len(kind.seen) == 1


def test_an_answer_that_drips_ends_with_the_time(receiver: Any) -> None:
    kind, url = receiver
    kind.drips = True
    begun = time.monotonic()
    by_http(call_to(url), CALL, 1)
    assert time.monotonic() - begun < 3.5


def test_nobody_there_a_variable_that_is_not_set_and_a_stop(receiver: Any) -> None:
    _kind, url = receiver
    assert "127.0.0.1: Connection refused" in by_http(call_to("http://127.0.0.1:1/"), CALL, 5).why
    hook = call_to(url, token_env="NOT_SET_ANYWHERE")  # noqa: S106 (a name)
    assert by_http(hook, CALL, 5, {}).why == "the environment has no NOT_SET_ANYWHERE"
    assert list(hindrances(hook, {})) == ["the environment has no NOT_SET_ANYWHERE"]
    plain = Hook(name="x", on=HookPhase.AFTER_STOP, kind="http", url_env="LB")
    assert "LB holds no address" in next(hindrances(plain, {"LB": "ftp://lb.example"}))


# --- a program of the guest ------------------------------------------------------------------------------------------


def in_guest(*argv: str) -> Hook:
    return Hook(name="warm", on=HookPhase.AFTER_START, kind="guest", argv=argv)


def test_a_program_of_the_guest_is_run_once_its_agent_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeferry.inside.programs.ANSWER_POLL_SECONDS", 0.01)
    with closing(HostAgent(silent=3)) as agent:
        hook = in_guest("sh", "-c", "echo $KUBEFERRY_MACHINE; echo wrong >&2; exit $KUBEFERRY_CODE")
        heard = by_guest(hook, CALL, 10, agent, windows=False)
        assert (heard.ok, heard.code, heard.said) == (True, 0, "web\nwrong")
        assert agent.asked[:4] == ["guest-ping"] * 4
        assert by_guest(in_guest("sh", "-c", "exit 4"), CALL, 10, agent, windows=False).code == 4
        assert "starts no such program" in by_guest(in_guest("no-such"), CALL, 10, agent, windows=False).why


def test_a_guest_that_does_not_answer_or_end_costs_no_more_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeferry.inside.programs.ANSWER_POLL_SECONDS", 0.05)
    with closing(HostAgent(silent=10**6)) as agent:
        assert "did not answer within 0.2 s" in by_guest(in_guest("true"), CALL, 0.2, agent, windows=False).why
        agent.silent = 0
        heard = by_guest(in_guest("sleep", "60"), CALL, 0.3, agent, windows=False)
        assert heard.why == "it did not end within 0.3 s, and may run on in the guest"
