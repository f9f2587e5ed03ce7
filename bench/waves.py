"""What the control of a wave costs: `python -m bench.waves [MACHINES]`, `make bench-wave`.

Machines of the memory source go to the memory target, so that hardly a byte is moved. All else is real: the journal and
the Prefect server are on a PostgreSQL, process workers take the machines of one deployed run. Of a hundred machines one
does not stop, and goes back. In the middle a process that is at work on a machine is killed, then a worker, then the
server, which is started again. At the end each machine has moved or runs at its source, by the journal and the source.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from flows.serving.ports import free_port
from flows.serving.server import SETTINGS
from kubeferry.config import read_config
from kubeferry.documents import Plan, load
from kubeferry.journal import Journal
from kubeferry.journal.errands import TAKEN
from kubeferry.life.machine_state import Phase
from kubeferry.life.states import fold
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from lab.machines import a_disk, a_machine

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "BENCH_PASSWORD"  # noqa: S105 (a name)
DEAF = 100  # of so many machines one does not stop
ENDS = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources: {{lab: {{kind: memory, uri: 'memory://{folder}/source'}}}}
target: {{kind: memory, path: target}}
journal: {{url: 'postgresql://postgres@127.0.0.1:{port}/journal', passwordEnv: {password}}}
limits: {{concurrentMachines: 2}}
spread: {{machines: {at_once}, takeSeconds: 300, lingerSeconds: 30}}
"""
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
waves: {stopAfter: {}}
"""


@dataclass
class Bench:
    """One run, in a folder of its own; processes that it has started end with it."""

    folder: Path
    machines: int
    at_once: int
    workers: int
    port: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api}/api"

    @property
    def environment(self) -> dict[str, str]:
        own = {"PREFECT_API_URL": self.url, "PREFECT_HOME": str(self.folder / "prefect"), "PYTHONPATH": str(ROOT)}
        return os.environ | SETTINGS | own | {"PREFECT_WORKER_QUERY_SECONDS": "2"}

    # --- what runs -----------------------------------------------------------------------------------------------

    def begun(self, name: str, *command: str, **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def end(self) -> None:
        for process in reversed(self.running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(self.running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def postgres(self) -> None:
        """A private one, with both databases."""
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        data, secret = self.folder / "data", self.folder / "password"
        secret.write_text(os.environ[PASSWORD])
        root = os.geteuid() == 0
        become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if root else []
        if root:
            data.mkdir()
            shutil.chown(data, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        create = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8"]
        command = [*become, *create, f"--pwfile={secret}", "--locale=C"]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}"]
        options += ["-c", "max_connections=200"]
        self.begun("postgres", *become, str(programs / "postgres"), "-D", str(data), "-p", str(self.port), *options)
        ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until(lambda: subprocess.run(ready, check=False).returncode == 0, 60)
        for name in ("journal", "prefect"):
            self.sql("postgres", f"CREATE DATABASE {name}")

    def sql(self, database: str, statement: str) -> Any:
        where = f"postgresql+psycopg://postgres:{os.environ[PASSWORD]}@127.0.0.1:{self.port}/{database}"
        engine = create_engine(where, isolation_level="AUTOCOMMIT")
        with contextlib.closing(engine.connect()) as db:
            found = db.execute(text(statement))
            return found.scalar_one() if found.returns_rows else None

    def server(self) -> subprocess.Popen[bytes]:
        where = f"postgresql+asyncpg://postgres:{os.environ[PASSWORD]}@127.0.0.1:{self.port}/prefect"
        program = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.api)]
        process = self.begun("server", *program, PREFECT_API_DATABASE_CONNECTION_URL=where)
        until(self.answers, 180)
        return process

    def answers(self) -> bool:
        try:
            self.ask("/health", None, "GET")
        except OSError:
            return False
        return True

    def worker(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "kubeferry", "--type", "process"]
        return self.begun("worker", *program)

    def ask(self, path: str, body: Any, method: str = "POST") -> Any:
        data, headers = None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}
        query = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)  # noqa: S310
        with urllib.request.urlopen(query, timeout=30) as answer:  # noqa: S310 (loopback, our own address)
            return json.loads(answer.read() or "null")

    def kubeferry(self, *words: str) -> None:
        program = [sys.executable, "-P", "-m", "flows", *words]
        subprocess.run(program, cwd=self.folder, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    # --- what is done --------------------------------------------------------------------------------------------

    def set_up(self) -> Plan:
        """Machines, plan, server, deployments, workers."""
        (self.folder / "source").mkdir()
        made = []
        for number in range(self.machines):
            path = self.folder / "source" / f"m{number:05}.img"
            path.write_bytes(path.name.encode() * 400)
            made.append(a_machine(path.stem, a_disk(path), power=Power.RUNNING))
        self.source.write_machines(*made)
        self.source.write_deaf(*(one.name for one in made[DEAF // 2 :: DEAF]))
        config = CONFIG.format(folder=self.folder, port=self.port, password=PASSWORD, at_once=self.at_once)
        (self.folder / "kubeferry.yaml").write_text(config)
        (self.folder / "policy.yaml").write_text(POLICY)
        self.postgres()
        self.kubeferry("discover")
        self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
        self.server()
        self.kubeferry("deploy", "plan.yaml")
        return load(self.folder / "plan.yaml", Plan)

    @property
    def source(self) -> MemorySource:
        return MemorySource("lab", self.folder / "source")

    def start(self) -> str:
        deployment = self.ask("/deployments/name/cutover/lab", None, "GET")
        return str(self.ask(f"/deployments/{deployment['id']}/create_flow_run", {})["id"])

    def state(self, run: str) -> str:
        with contextlib.suppress(OSError):
            return str(self.ask(f"/flow_runs/{run}", None, "GET")["state"]["type"])
        return "UNKNOWN"

    def moved(self, journal: Journal, plan: Plan, kill: bool) -> Iterator[str]:
        """Let the run come to its end, with the faults on its way; what is done, as it is done."""
        server, workers = self.running[-1], [self.worker() for _ in range(self.workers)]
        run, faults = self.start(), ["process", "worker", "server"] if kill else []
        share = len(faults) + 1
        while self.state(run) not in ENDS:
            time.sleep(2)
            done = sum(one.ended for one in journal.cutovers() if one.plan == plan.digest)
            if not faults or done < self.machines * (share - len(faults)) / share:
                continue
            fault = faults.pop(0)
            if fault == "process":
                taken = [one for one in journal.errands.of_plan(plan.digest) if one.state == TAKEN and not one.lost]
                if not taken:
                    faults.insert(0, fault)
                    continue
                os.kill(int(taken[0].owner.split(":")[1]), signal.SIGKILL)
            elif fault == "worker":
                workers[0].kill()
                workers.append(self.worker())
            else:
                os.killpg(server.pid, signal.SIGKILL)
                time.sleep(5)
                server = self.server()
            yield f"killed at {done} machines: {fault}"
        yield f"the run is {self.state(run)}"


def until(true: Any, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(0.2)


def verdict(bench: Bench, journal: Journal, plan: Plan) -> Iterator[str]:
    """What came of all machines; ends the program where one is lost."""
    histories = journal.histories(plan.digest)  # each chain is checked
    states = {name: fold(records) for name, records in histories.items()}
    phases = Counter(str(one.resumes) for one in states.values())
    power = {one.name: bench.source.power(one) for one in bench.source.discover().machines}
    lost = []
    for entry in plan.entries:
        state = states.get(entry.name)
        moved = state is not None and state.resumes is Phase.COMMITTED and power[entry.name] is Power.OFF
        stays = state is not None and state.resumes is Phase.ROLLED_BACK and power[entry.name] is Power.RUNNING
        if not (moved or stays):
            lost.append(f"{entry.name}: {state.phase if state else 'nothing'}, source {power[entry.name]}")
    yield f"phases: {dict(phases)}; lost: {lost or 'none'}"
    ends = sorted(datetime.fromisoformat(records[-1].at) for records in histories.values())
    begun = min(datetime.fromisoformat(records[0].at) for records in histories.values())
    half = len(ends) // 2
    first, second = (ends[half - 1] - begun).total_seconds(), (ends[-1] - ends[half - 1]).total_seconds()
    yield f"first half {60 * half / first:.0f}, second half {60 * (len(ends) - half) / second:.0f} machines a minute"
    for name in ("journal", "prefect"):
        size = bench.sql(name, f"SELECT pg_database_size('{name}')")
        yield f"database {name}: {size / 2**20:.1f} MiB, {size / bench.machines / 1024:.1f} KiB a machine"
    runs = bench.ask("/flow_runs/count", {})
    yield f"runs shown by Prefect: {runs}"
    yield f"machines_per_minute={60 * len(ends) / (ends[-1] - begun).total_seconds():.0f}"
    if lost:
        raise SystemExit(f"{len(lost)} machines are lost")


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.waves", description=__doc__)
    options.add_argument("machines", type=int, nargs="?", default=1000)
    options.add_argument("--at-once", type=int, default=4, help="machines that are handed out at once")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--no-kills", action="store_true")
    asked = options.parse_args()
    os.environ[PASSWORD] = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="kubeferry-wave-"))
    folder.chmod(0o755)
    bench = Bench(folder, asked.machines, asked.at_once, asked.workers)
    try:
        plan = bench.set_up()
        load_before = os.getloadavg()[0]
        print(f"{asked.machines} machines, {os.cpu_count()} cores, load {load_before:.1f} before", flush=True)
        with contextlib.closing(Journal.open(read_config(folder / "kubeferry.yaml").journal)) as journal:
            for line in bench.moved(journal, plan, not asked.no_kills):
                print(line, flush=True)
            for line in verdict(bench, journal, plan):
                print(line, flush=True)
    finally:
        bench.end()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
