"""Nights on which something fails: a test for each row of the table in docs/reliability.md, with the real program and a
real kill. Nobody touches anything afterwards; `kubeferry caretake` is called, as its timer does each minute.

The same at every point of the way, and with faults that nobody can make in earnest, is in
`tests/unit/flows/test_after_the_stop.py` and its neighbours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.serving.ports import free_port
from flows.serving.server import SETTINGS
from kubeferry.documents import MoverProgress, Plan, load
from kubeferry.life.events import CutoverBegun, SourceRestarted
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside import clock as host_clock
from kubeferry.outside.process import run
from kubeferry.steps.in_time import InTime
from lab import daemons
from lab.bare import Bare
from lab.daemons import virsh
from tests.clocks import waiting_takes_no_time
from tests.needs import here, needs, or_skip
from tests.receivers import KEY, Listener, listening
from tests.runs.conftest import MIB
from tests.runs.test_deployments import Prefect, deployed, prefect, process_of, until_copied, working
from tests.runs.test_ova_moved import BOOT
from tests.runs.test_prefect_away import ended, started
from tests.runs.test_signals import command_lines
from tests.tools.conftest import PASSWORD, PASSWORD_ENV, Server, _new_server
from tests.unit.flows.conftest import no_server

__all__ = ["deployed", "no_server", "prefect"]  # fixtures

pytestmark = [pytest.mark.timeout(300), needs("qemu-system-x86_64")]

NOBODY = "http://127.0.0.1:9/api"  # the port `discard`: no Prefect is needed here
SAYS_READY = {"kind": "serial", "expect": "READY", "timeoutSeconds": 60}
NEVER_SAID = {"kind": "serial", "expect": "what it never says", "timeoutSeconds": 2}
STARTED_ONCE = Path("/run/libvirt/qemu/autostarted")  # by it libvirtd knows that its host did not start since
PAGES = "https://reports.example/{plan}/machines/{machine}.html"


class Estate:
    """Small machines that really boot, and what is seen of them afterwards."""

    def __init__(self, small: Any) -> None:
        self.small = small

    def add(self, name: str, mib: int = 2) -> None:
        """One more machine that runs and is started with its host; booted, it says READY on its serial port."""
        disk = self.small.disk(name)
        disk.write_bytes(BOOT.ljust(510, b"\0") + b"\x55\xaa" + os.urandom(mib * MIB - 512))
        self.small.add(name, disk=disk)
        self.small.source.write_autostart(name, at="boot")

    def configure(self, **fields: Any) -> None:
        path = self.small.folder / "kubeferry.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))

    def told(self, port: int) -> None:
        """Somebody is told of what happens, at this port."""
        ops = {"url": f"http://127.0.0.1:{port}/hook", "secretEnv": "HOOK_KEY"}
        self.configure(notify={"webhooks": {"ops": ops}, "pages": PAGES})

    @property
    def plan(self) -> Plan:
        return load(self.small.folder / "plan.yaml", Plan)

    def planned(self, **policy: Any) -> Plan:
        self.small.policy(**{"probes": [SAYS_READY]} | policy)
        plan: Plan = self.small.plan()
        return plan

    def migrate(self, api: str = NOBODY) -> subprocess.Popen[str]:
        return started(self.small, "migrate", "plan.yaml", api=api)

    def caretake(self) -> Any:
        """One look, in this process: what it has found, with its exit code."""
        code, out, err = self.small.command("caretake", "--json")
        assert out, err
        return json.loads(out.splitlines()[-1]) | {"code": code}

    def events(self, name: str, kind: type[Any]) -> list[Any]:
        with self.small.journal() as journal:
            return [one for one in journal.events(self.plan.digest, name) if isinstance(one.event, kind)]

    def until(self, kind: str, name: str, program: subprocess.Popen[str], seconds: float = 60) -> None:
        """Wait until this is recorded of a machine."""
        limit = time.monotonic() + seconds
        while kind not in self.small.kinds(name):
            assert program.poll() is None, program.communicate()
            assert time.monotonic() < limit
            time.sleep(0.1)

    def check_back(self, name: str, why: str, *, in_time: bool = False) -> None:
        """The source serves as it did, and nothing of the copy runs; `in_time`: recorded before its deadline."""
        state = self.small.state(name)
        assert (state.phase, self.small.power(name)) == (Phase.ROLLED_BACK, Power.RUNNING)
        assert why in state.rollback_reason
        assert self.small.kinds(name).count("stop-asked") == 1
        self._check_as_before(name)
        (begun,), (back,) = self.events(name, CutoverBegun), self.events(name, SourceRestarted)
        if in_time:
            assert datetime.fromisoformat(back.at) < datetime.fromisoformat(begun.event.deadline)

    def check_moved(self, name: str) -> None:
        """The copy is the source's disk, and the source is off for good."""
        assert (self.small.state(name).phase, self.small.power(name)) == (Phase.COMMITTED, Power.OFF)
        assert self.small.source.autostart(self.machine(name)) is None
        (copy,) = (self.folder(name) / "disks").glob("*.img")
        assert copy.read_bytes() == self.small.disk(name).read_bytes()
        assert self.nothing_runs()

    def check_untouched(self, name: str) -> None:
        assert self.small.power(name) is Power.RUNNING
        assert "stop-asked" not in self.small.kinds(name)
        self._check_as_before(name)

    def _check_as_before(self, name: str) -> None:
        assert self.small.source.autostart(self.machine(name)).settings == {"at": "boot"}
        assert self.nothing_runs()

    def folder(self, name: str) -> Path:
        made: Path = self.small.target / "machines" / name
        return made

    def machine(self, name: str) -> Any:
        return next(one for one in self.small.machines if one.name == name)

    def nothing_runs(self) -> bool:
        """Whether no program of ours is at work on this estate: mover, copy, or run."""
        return not any(str(self.small.folder) in line for line in command_lines() if "postgres" not in line)


@pytest.fixture
def estate(small: Any) -> Estate:
    return Estate(small)


@pytest.fixture
def hook(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Who is told of what happens, with the pages of the report."""
    monkeypatch.setenv("HOOK_KEY", KEY)
    with listening() as made:
        estate.told(int(made.url.rpartition(":")[2]))
        yield made


def kill(program: subprocess.Popen[str]) -> None:
    os.killpg(program.pid, signal.SIGKILL)
    program.communicate()


# --- a probe fails ---------------------------------------------------------------------------------------------------


def test_a_probe_fails(estate: Estate, hook: Listener, server: str) -> None:
    """The copy is fenced, the source serves before its deadline, the machine's run is RolledBack; one message has the
    reason, the fix and the page; what does not depend on it moves, what does waits, and the stop rule counts it."""
    for name in ("crm", "mail", "wiki"):
        estate.add(name)
    apps = {"crm": {"members": ["crm"]}, "mail": {"members": ["mail"], "after": ["crm"]}}
    plan = estate.planned(
        downtime={"budgetSeconds": 240},
        waves={"stopAfter": {"failures": 2}},
        apps=apps,
        machines={"crm": {"probes": [NEVER_SAID]}},
    )
    code, out = ended(estate.migrate(server), 200)
    assert code == 2, out
    why = "the target did not pass: the serial console holds 'what it never says'"
    estate.check_back("crm", why, in_time=True)
    assert (estate.folder("crm") / "kubeferry-fence").exists()
    estate.check_moved("wiki")
    estate.check_untouched("mail")

    (message,) = (one.body for one in hook.got if one.body["machine"] == "crm")
    assert (message["event"], message["app"], message["reason"]) == ("rolled-back", "crm", why)
    assert "--again" in message["fix"]
    assert message["page"] == "https://reports.example/lab/machines/crm.html"
    assert sorted(one.body["machine"] for one in hook.got) == ["crm", "wiki"]

    text = estate.small.command("status", "plan.yaml")[1]
    assert "held back: it comes after crm" in text
    assert states_of(Prefect(server), plan) == [
        ("crm", "RolledBack"),
        ("cutover lab", "RolledBack"),
        ("wiki", "Completed"),
    ]
    assert (
        "wave wave-1 goes on: 1 of 2 machines that came to an end there failed or went back; it stops once 2 have"
        in text
    )
    assert estate.caretake()["taken"] == []


def states_of(prefect: Prefect, plan: Plan) -> list[tuple[str, str]]:
    """The runs of a plan and its machines, as Prefect shows them."""
    runs = prefect.ask("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 50})
    return sorted((one["name"], one["state_name"]) for one in runs if one["parameters"].get("digest") == plan.digest)


# --- the worker is killed --------------------------------------------------------------------------------------------


def test_the_worker_is_killed_and_its_time_is_over(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the stop and the start; the next look comes when the downtime budget is used up: it goes back."""
    estate.configure(limits={"bandwidthBytesPerSecond": MIB})
    estate.add("web", mib=30)
    estate.planned(downtime={"budgetSeconds": 600})
    program = estate.migrate()
    estate.until("copy-begun", "web", program)
    kill(program)
    assert (estate.small.power("web"), estate.small.state("web").phase) == (Power.OFF, Phase.CUTTING_OVER)
    waiting_takes_no_time(monkeypatch).ahead = 700
    found = estate.caretake()
    assert (found["code"], [one["phase"] for one in found["taken"]]) == (0, ["rolled-back"])
    estate.check_back("web", "its downtime budget was used up")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_worker_is_killed_and_there_is_time_left(
    estate: Estate, deployed: Callable[..., Plan], prefect: Prefect
) -> None:
    """Killed between the stop and the start, with its worker: the next look goes on with it to its end, without
    Prefect; and Prefect's run becomes Crashed, by the automation."""
    estate.configure(limits={"bandwidthBytesPerSecond": MIB})
    estate.add("web", mib=60)
    estate.small.policy(probes=[SAYS_READY], downtime={"budgetSeconds": 1800})
    deployed("--policy", "policy.yaml")
    small = estate.small
    with working(prefect.url, small.folder, "kubeferry") as worker:
        moving = prefect.start("cutover/lab")
        until_copied(small, lambda: worker.poll() is None)
        time.sleep(35)  # a heartbeat at least
        os.killpg(worker.pid, signal.SIGKILL)
        os.kill(process_of(moving), signal.SIGKILL)
        assert small.state("web").phase is Phase.CUTTING_OVER
        found = estate.caretake()
        assert (found["code"], [one["phase"] for one in found["taken"]]) == (0, ["committed"])
        estate.check_moved("web")
        state = prefect.end(moving, 400)
    assert (state["type"], "its process has died" in state["message"]) == ("CRASHED", True)


# --- databases that go away ------------------------------------------------------------------------------------------


class Postgres:
    """A real one that is killed, and started again."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._up = contextlib.ExitStack()

    def start(self) -> None:
        self._up.enter_context(self.server.running())

    def kill(self) -> None:
        """All its processes at once, as when its machine dies."""
        first = int((self.server.folder / "data" / "postmaster.pid").read_text().split()[0])
        family = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *map(int, family)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self._up.close()


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    monkeypatch.setenv(PASSWORD_ENV, PASSWORD)
    with _new_server() as made:
        database = Postgres(made)
        database.start()
        yield database
        database.close()


@contextlib.contextmanager
def prefect_on(postgres: Postgres, folder: Path) -> Iterator[str]:
    """A real Prefect server with its data there."""
    url = f"http://127.0.0.1:{free_port()}/api"
    where = f"postgresql+asyncpg://postgres:{PASSWORD}@127.0.0.1:{postgres.server.port}/prefect"
    postgres.server.execute("postgres", "CREATE DATABASE prefect")
    own = {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": url, "PREFECT_SERVER_UI_API_URL": url}
    port = url.rpartition(":")[2].removesuffix("/api")
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port],
            env=os.environ | SETTINGS | own | {"PREFECT_API_DATABASE_CONNECTION_URL": where},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        limit = time.monotonic() + 120
        while not answers(url):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < limit
            time.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def answers(url: str) -> bool:
    try:
        Prefect(url).ask("/health", method="GET")
    except OSError:
        return False
    return True


def downtime(estate: Estate, name: str) -> float:
    """Seconds from the stop of the source to the start of the copy, by the journal, without those of the copy itself:
    a mover knows no Prefect, and on a host with much to do it is what differs."""
    with estate.small.journal() as journal:
        records = journal.events(estate.plan.digest, name)
    at = {str(one.event.kind): datetime.fromisoformat(one.at) for one in records}
    return (at["started"] - at["disk-copied"] + at["copy-begun"] - at["source-stopped"]).total_seconds()


def test_prefect_s_database_is_away_in_mid_cutover(estate: Estate, postgres: Postgres) -> None:
    """The cutover ends as if nothing had happened, as long as without the fault; states arrive later."""
    estate.configure(limits={"bandwidthBytesPerSecond": MIB, "concurrentMachines": 1})
    for name in ("db", "web"):
        estate.add(name, mib=5)
    plan = estate.planned(machines={"web": {"after": ["db"]}})
    with prefect_on(postgres, estate.small.folder) as url:
        program = estate.migrate(url)
        estate.until("copy-begun", "web", program)
        postgres.kill()
        estate.until("committed", "web", program)
        postgres.start()
        code, out = ended(program, 100)
        states = states_of(Prefect(url), plan)
    assert code == 0, out
    assert "Traceback" not in out
    for name in ("db", "web"):
        estate.check_moved(name)
    assert abs(downtime(estate, "web") - downtime(estate, "db")) < 5
    assert sorted(state for state in states if state[1] != "Superseded") == [
        ("cutover lab", "Completed"),
        ("db", "Completed"),
        ("web", "Completed"),
    ]


@pytest.fixture
def journalled(estate: Estate, postgres: Postgres) -> Estate:
    """A machine that is copied after its stop, another one that is copied ahead, and a journal on PostgreSQL."""
    estate.configure(limits={"bandwidthBytesPerSecond": MIB})
    journal = postgres.server.config("postgres")
    estate.configure(journal={"url": journal.url, "passwordEnv": PASSWORD_ENV})
    return estate


def test_the_journal_s_database_is_away_and_comes_back_in_time(journalled: Estate, postgres: Postgres) -> None:
    """Machines in their cutover wait for it within their budget, and end as if nothing had been."""
    journalled.add("web", mib=5)
    journalled.planned(downtime={"budgetSeconds": 240})
    program = journalled.migrate()
    journalled.until("copy-begun", "web", program)
    postgres.kill()
    time.sleep(7)
    postgres.start()
    code, out = ended(program, 100)
    assert code == 0, out
    journalled.check_moved("web")


def test_the_journal_s_database_stays_away(journalled: Estate, postgres: Postgres) -> None:
    """No new source is stopped; who is in its cutover waits within its budget, then goes back by what was recorded
    last, and that is recorded when the journal is there again."""
    journalled.add("web", mib=60)
    journalled.add("zero", mib=9)
    warm = {"zero": {"mode": "warm", "warm": {"rounds": 1}}}
    journalled.planned(downtime={"budgetSeconds": 12}, machines=warm)
    program = journalled.migrate()
    small = journalled.small
    journalled.until("copy-begun", "web", program)
    journalled.until("copy-begun", "zero", program)
    postgres.kill()
    limit = time.monotonic() + 60
    while small.power("web") is not Power.RUNNING:
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < limit
        assert small.power("zero") is Power.RUNNING
        time.sleep(0.2)
    time.sleep(1)
    assert small.power("zero") is Power.RUNNING
    postgres.start()
    code, out = ended(program, 100)
    assert code == 2, out
    journalled.check_back("web", "journal did not answer")
    journalled.check_moved("zero")  # with the journal there again its turn came


# --- windows, guests, receivers --------------------------------------------------------------------------------------


def test_the_window_ends_while_disks_are_copied_after_the_stop(
    estate: Estate, hook: Listener, no_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes back, what was copied is kept, and the page names the next opening."""
    estate.configure(limits={"bandwidthBytesPerSecond": MIB})
    estate.add("web", mib=60)
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(minutes=one):%H:%M}" for one in (-30, 30))
    estate.planned(windows={"nights": {"start": start, "end": end, "timeZone": "UTC"}}, window="nights")
    late = datetime.now(UTC) + timedelta(hours=1)
    over, copying = threading.Event(), InTime.check

    def check(watched: InTime, progress: MoverProgress) -> None:
        if progress.done_bytes > 2 * MIB and not over.is_set():
            over.set()
            monkeypatch.setattr(host_clock, "moment", lambda: max(late, datetime.now(UTC)))
        copying(watched, progress)

    monkeypatch.setattr(InTime, "check", check)
    code, out, err = estate.small.command("migrate", "plan.yaml")
    assert (code, over.is_set()) == (1, True), err
    opens = "opens next " + f"{now + timedelta(minutes=-30, days=1):%a %Y-%m-%d %H:%M}"
    assert f"ended during its cutover: its source runs as before, and the copy is kept; it {opens}" in out
    estate.check_back("web", "it was not copied in time")
    assert estate.small.state("web").waits_for_window
    assert 2 * MIB < sum(one.stat().st_blocks * 512 for one in (estate.folder("web") / "disks").iterdir()) < 60 * MIB
    assert opens in estate.small.command("status", "plan.yaml")[1]
    assert estate.small.command("report", "plan.yaml", "--out", "report")[0] in {0, 1}
    assert "it moves in a later opening of it" in (estate.small.folder / "report" / "report.html").read_text()
    assert estate.caretake()["taken"] == []
    told = [one.body for one in hook.got]
    assert [one["event"] for one in told] == ["failed", "rolled-back", "deferred"]
    back, deferred = told[1:]
    assert opens in deferred["reason"]
    assert "its window nights was used up" in back["reason"]


def test_who_is_to_be_told_is_away(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told later, once, and in order."""
    monkeypatch.setenv("HOOK_KEY", KEY)
    port = free_port()
    estate.told(port)
    for name in ("crm", "wiki"):
        estate.add(name)
    estate.small.source.write_deaf("crm")
    stop = {"agentSeconds": 0, "acpiSeconds": 0}
    estate.planned(stop=stop, machines={"wiki": {"wave": "wave-2"}, "crm": {"wave": "wave-1"}}, waves={"stopAfter": {}})
    code, out = ended(estate.migrate(), 100)
    assert code == 2, out
    assert "outbox: 3 messages wait for webhook/ops" in estate.small.command("status", "plan.yaml")[1]
    clock = waiting_takes_no_time(monkeypatch)
    estate.caretake()
    with listening(port) as hook:
        for _ in range(3):
            clock.ahead += 900
            assert estate.caretake()["code"] == 0
    told = [(one.body["machine"], one.body["event"]) for one in hook.got]
    assert told == [("crm", "failed"), ("crm", "rolled-back"), ("wiki", "committed")]
    assert all(one.is_signed() for one in hook.got)
    estate.check_moved("wiki")


# --- a real hypervisor -----------------------------------------------------------------------------------------------


@pytest.fixture
def hypervisor(estate: Estate) -> Iterator[Bare]:
    """Machines of a real libvirtd that boot, say READY, and hear nobody who asks them to stop."""
    here(*daemons.PROGRAMS, "root")
    machines = Bare(estate.small.folder, f"kft-{os.getpid()}-")
    with daemons.running(estate.small.folder):
        yield machines
        machines.remove()


def domain(machines: Bare, name: str, *, runs: bool = True) -> str:
    """One more of them, started with its host; its whole name."""
    raw = machines.image(f"{name}.raw")
    with raw.open("r+b") as disk:
        disk.write(BOOT.ljust(510, b"\0") + b"\x55\xaa" + os.urandom(MIB - 512))
    image = machines.folder / f"{name}.qcow2"
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)])
    whole = machines.define(name, (image, "qcow2"))
    virsh("autostart", whole)
    if runs:
        virsh("start", whole)
    return whole


def at_libvirt(estate: Estate, *names: str, **policy: Any) -> Plan:
    estate.configure(sources={"lab": {"kind": "libvirt", "uri": daemons.URI}})
    estate.small.policy(probes=[SAYS_READY], **policy)
    for words in (
        ("discover", *(f"-m{name}" for name in names)),
        ("plan", "inventory.yaml", "--policy", "policy.yaml"),
    ):
        code, _, err = estate.small.command(*words)
        assert code == 0, err
    return estate.plan


def starts_by_itself(name: str) -> bool:
    return "Autostart:      enable" in virsh("dominfo", name)


@pytest.mark.xdist_group("libvirt")
def test_a_guest_does_not_shut_down(estate: Estate, hypervisor: Bare, hook: Listener) -> None:
    """It is not forced: it runs on, its copy is kept, the message names what can be chosen, and the next one moves."""
    deaf, other = domain(hypervisor, "deaf"), domain(hypervisor, "other", runs=False)
    stop = {"agentSeconds": 0, "acpiSeconds": 2}
    at_libvirt(estate, deaf, other, mode="warm", warm={"rounds": 1}, stop=stop, machines={other: {"mode": "cold"}})
    code, out = ended(estate.migrate(), 120)
    assert code == 2, out
    assert (virsh("domstate", deaf).strip(), starts_by_itself(deaf)) == ("running", True)
    assert (virsh("domstate", other).strip(), starts_by_itself(other)) == ("shut off", False)
    assert estate.small.state(other).phase is Phase.COMMITTED
    state = estate.small.state(deaf)
    assert (state.phase, set(state.copied)) == (Phase.ROLLED_BACK, {"vda"})
    (kept,) = (estate.folder(deaf) / "disks").glob("*.img")
    assert kept.read_bytes() == (hypervisor.folder / "deaf.raw").read_bytes()
    failed, back = (one.body for one in hook.got if one.body["machine"] == deaf)
    assert (failed["event"], back["event"]) == ("failed", "rolled-back")
    choices = ("Shut it down by hand", "stop.force", "include: false", "what was copied of it is kept")
    assert all(choice in told["fix"] for told in (failed, back) for choice in choices)
    assert estate.caretake()["taken"] == []
    assert virsh("domstate", deaf).strip() == "running"


@pytest.mark.xdist_group("libvirt")
def test_the_hypervisor_is_started_anew_after_the_commit(estate: Estate, hypervisor: Bare, hook: Listener) -> None:
    """The old machine stays off, others come up; whoever starts it is an alarm with the next look, and the copy is not
    harmed; a rollback lets it be started with its host again."""
    web, beside = domain(hypervisor, "web"), domain(hypervisor, "beside")
    at_libvirt(estate, web, stop={"agentSeconds": 0, "acpiSeconds": 0, "force": True})
    code, out = ended(estate.migrate(), 120)
    assert code == 0, out
    reboot(hypervisor)
    assert virsh("list", "--name").split() == [beside]
    assert (estate.caretake()["code"], starts_by_itself(web)) == (0, False)
    copy = next((estate.folder(web) / "disks").glob("*.img")).read_bytes()
    virsh("start", web)
    found = estate.caretake()
    assert (found["code"], [one["machine"] for one in found["alarms"]]) == (1, [web])
    alarm = hook.got[-1].body
    assert (alarm["event"], alarm["machine"]) == ("alarm", web)
    assert next((estate.folder(web) / "disks").glob("*.img")).read_bytes() == copy
    assert (estate.small.state(web).phase, virsh("domstate", web).strip()) == (Phase.COMMITTED, "running")
    code, out = ended(started(estate.small, "rollback", "plan.yaml", "-m", web, "--lose-writes", api=NOBODY), 60)
    assert (code, starts_by_itself(web)) == (0, True), out


def reboot(machines: Bare) -> None:
    """What a hypervisor's reboot is to libvirt: nothing runs, and what says that machines were started is gone."""
    if others := set(virsh("list", "--name").split()) - set(machines.names):
        or_skip(RuntimeError(f"a hypervisor on which {', '.join(sorted(others))} runs is not started anew"))
    for name in virsh("list", "--name").split():
        virsh("destroy", name)
    if "libvirtd ended" not in daemons.stop(machines.folder):
        or_skip(RuntimeError("somebody else has started libvirtd here"))
    STARTED_ONCE.unlink()
    daemons.start(machines.folder)
