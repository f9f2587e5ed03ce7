"""A night of two waves: apps that depend on each other are copied ahead and cut over by their schedules, rehearsed and
approved, from a real Prefect server by a real worker into real KubeVirt. One whose probe fails comes back by itself.

    wave-1   store (db)
    wave-2   shop (web, after db)   crm (legacy): its page is not there
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import Config, JournalConfig, load
from kubeferry.journal import Journal
from kubeferry.model import Power
from kubeferry.sources import open_source
from lab import estate
from lab.domains import MACHINES
from lab.ground import Ground, until
from lab.tenant import Tenant
from tests.cluster.moves import Move, moving
from tests.needs import needs
from tests.receivers import KEY, Listener, listening
from tests.runs.test_approval_form import Forms
from tests.runs.test_deployments import working

pytestmark = [
    *(pytest.mark.cluster, pytest.mark.timeout(1200), pytest.mark.xdist_group("libvirt")),
    needs("ssh-keygen"),
]

NAMESPACE = "kubeferry-programme"
PREFIX = "kfprog-"
DB, WEB, CRM = (f"{PREFIX}{name}" for name in ("db", "web", "legacy"))
AGENT = {"kind": "agent", "timeoutSeconds": 240}
PAGE = {"kind": "http", "port": 80, "path": "/boots", "timeoutSeconds": 240}
NO_PAGE = {"kind": "http", "port": 80, "path": "/nowhere", "timeoutSeconds": 5}


def minute(after: int) -> datetime:
    """The beginning of the minute so many from now."""
    return datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=after)


def policy(ann: str) -> dict[str, Any]:
    """Copied ahead in the next minute but one at the latest, cut over from a minute after that."""
    ahead, opens = minute(2), minute(3)
    start, end = (f"{moment:%Y-%m-%dT%H:%M}" for moment in (opens, opens + timedelta(hours=1)))
    return {
        "namespace": NAMESPACE,
        "mode": "warm",
        "stop": {"agentSeconds": 60, "acpiSeconds": 60},
        "probes": [AGENT, PAGE],
        "precopy": {"cron": f"{ahead.minute} {ahead.hour} * * *"},
        "windows": {"tonight": {"start": start, "end": end, "timeZone": "UTC"}},
        "window": "tonight",
        "approval": {"identity": "signed"},
        "approvers": [{"name": "ann", "key": ann}],
        "apps": {
            "store": {"members": [DB], "wave": "wave-1"},
            "shop": {"members": [WEB], "wave": "wave-2", "after": ["store"]},
            "crm": {"members": [CRM], "wave": "wave-2"},
        },
        "machines": {CRM: {"probes": [dict(AGENT), NO_PAGE]}},
    }


@pytest.fixture(scope="module")
def move(
    own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant], prefect: str, tmp_path_factory: Any
) -> Iterator[Move]:
    """The estate runs; nothing is planned yet."""
    with moving(own, make_tenant(NAMESPACE), tmp_path_factory, {}) as made:
        estate.up(made.estate, prefix=PREFIX)
        made.kubeferry("discover", *(word for name in MACHINES for word in ("-m", PREFIX + name)))
        yield made
        made.kubeferry("deploy", "plan.yaml", "--remove", check=False)


@pytest.fixture(scope="module")
def receiver(move: Move) -> Iterator[Listener]:
    """Who is told what happened."""
    with listening() as hook, pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOOK_KEY", KEY)
        path = move.folder / "kubeferry.yaml"
        told = {"webhooks": {"ops": {"url": f"{hook.url}/hook", "secretEnv": "HOOK_KEY"}}}
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"notify": told}))
        yield hook


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "ann"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", path], check=True)
    return path


def by_schedule(forms: Forms, name: str, seconds: float) -> str:
    """The run of a deployment that its schedule has made, once it has begun."""
    found: list[str] = []

    def begun() -> bool:
        runs = forms.ask(
            "/flow_runs/filter",
            {"deployments": {"id": {"any_": [forms.deployment(name)["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"},
        )
        found[:] = [one["id"] for one in runs if one["auto_scheduled"] and one["state_type"] != "SCHEDULED"]
        return bool(found)

    until(begun, seconds=seconds, what=f"the schedule to begin {name}")
    return found[0]


@contextmanager
def telling(move: Move, forms: Forms) -> Iterator[None]:
    """Where the night goes wrong, what each run says in the end, and its worker."""
    try:
        yield
    except BaseException:
        for one in forms.ask("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"}):
            said = (one["state"] or {}).get("message")
            print(one["name"], one["state_name"], said)  # noqa: T201 (pytest shows it with the failure)
        print((move.folder / "worker.log").read_text(errors="replace")[-6000:])  # noqa: T201
        raise


def test_a_night_of_two_waves(move: Move, prefect: str, receiver: Listener, key: Path) -> None:
    forms = Forms(prefect)
    document = {"apiVersion": "kubeferry.io/v1alpha1", "kind": "Policy"}
    ann = key.with_suffix(".pub").read_text().strip()
    (move.folder / "policy.yaml").write_text(yaml.safe_dump(document | policy(ann)))
    move.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml", "--config", "kubeferry.yaml", "--name", "night")
    assert [wave.machines for wave in move.plan.waves] == [(DB,), (CRM, WEB)]
    move.kubeferry("deploy", "plan.yaml", "--config", "kubeferry.yaml", "--caretake-every", "0")
    with telling(move, forms), working(prefect, move.folder, "kubeferry"):
        ahead = by_schedule(forms, "precopy/night", 200)
        cutover = by_schedule(forms, "cutover/night", 200)
        assert forms.end(ahead, 300)["name"] == "Completed"
        rehearsed = [forms.end(forms.start("rehearse/night", wave=wave), 300)["name"] for wave in ("wave-1", "wave-2")]
        assert rehearsed == ["Rehearsed", "Rehearsed"]
        assert "kubeferry approve" in forms.asked(cutover)
        for wave in ("wave-1", "wave-2"):
            move.kubeferry("approve", "plan.yaml", "--wave", wave, "--key", str(key), "--yes")
        state = forms.end(cutover, 500)
        assert state["name"] == "RolledBack", state["message"]
    kinds = {name: dict.fromkeys(kind for _, kind in history(move, name)) for name in (DB, WEB, CRM)}
    assert [("committed" in kinds[name], "rolled-back" in kinds[name]) for name in (DB, WEB, CRM)] == [
        *((True, False), (True, False)),
        (False, True),
    ]
    assert all("rehearsed" in told for told in kinds.values())
    (moved,) = (at for at, kind in history(move, DB) if kind == "committed")
    (begun,) = (at for at, kind in history(move, WEB) if kind == "cutover-begun")
    assert moved < begun, "web comes after db"


def history(move: Move, name: str) -> list[tuple[str, str]]:
    """When what was recorded of a machine."""
    with Journal.open(JournalConfig(url=f"sqlite:///{move.folder}/journal.db")) as journal:
        return [(record.at, str(record.event.kind)) for record in journal.events(move.plan.digest, name)]


def test_what_moved_runs_in_the_cluster_and_what_did_not_at_its_source(move: Move) -> None:
    settings = load(move.folder / "kubeferry.yaml", Config)
    source = open_source("lab", settings.sources["lab"])
    powers = {entry.name: source.power(entry.machine) for entry in move.plan.entries}
    source.close()
    assert powers == {DB: Power.OFF, WEB: Power.OFF, CRM: Power.RUNNING}
    running = {
        one["metadata"]["name"]: one["status"]["phase"]
        for one in move.ground.read("get", "vmi", f"--namespace={NAMESPACE}")["items"]
    }
    assert running == {DB: "Running", WEB: "Running"}


def test_the_night_is_told_once_with_reason_and_fix(move: Move, receiver: Listener) -> None:
    move.kubeferry("caretake", check=False)
    limit = time.monotonic() + 30
    while not any(one.body["event"] == "rolled-back" for one in receiver.got):
        assert time.monotonic() < limit, [one.body["event"] for one in receiver.got]
        time.sleep(0.5)
    (told,) = [one.body for one in receiver.got if one.body["event"] == "rolled-back"]
    assert told["machine"] == CRM
    assert "/nowhere" in told["reason"]
    assert told["fix"]


def test_the_report_says_who_approved_and_how_the_night_ended(move: Move) -> None:
    move.kubeferry("report", "plan.yaml", "--out", ".", check=False)
    verdicts = {name: one["verdict"] for name, one in move.report.items()}
    assert verdicts == {DB: "proven", WEB: "proven", CRM: "rolled back"}
    assert "approved by ann" in (move.folder / "report.html").read_text()
    status = json.loads(move.kubeferry("status", "plan.yaml", "--json", check=False).out.splitlines()[-1])
    assert {one["machine"]: one["phase"] for one in status["machines"]} == {
        DB: "committed",
        WEB: "committed",
        CRM: "rolled-back",
    }
