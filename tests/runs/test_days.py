"""The operator's day, a bad night and the owner's day, in a real browser on a real server (on PostgreSQL) with a real
worker: small machines that QEMU boots. What is seen is kept as pictures, for docs/operations.md.

KUBEFERRY_REGENERATE=1 .venv/bin/pytest tests/runs/test_days.py      makes docs/pictures anew
"""

from __future__ import annotations

import csv
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.serving.ports import free_port
from kubeferry.documents import Plan, load
from kubeferry.model import Power
from tests.browser import Browser, browsing
from tests.needs import needs
from tests.receivers import KEY, listening
from tests.runs.conftest import MIB, ROOT
from tests.runs.test_approval_form import Forms, decisions
from tests.runs.test_deployments import deployed, prefect, working
from tests.runs.test_ova_moved import BOOT

__all__ = ["deployed", "prefect"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs("chromium", "qemu-system-x86_64", "ssh-keygen")]

DIALOG = "[role=dialog]"
CARD = ".p-modal__card"
LARGEST = 150_000  # bytes of a picture in the tree
SAYS_READY = {"kind": "serial", "expect": "READY", "timeoutSeconds": 60}
NEVER_SAID = {"kind": "serial", "expect": "what it never says", "timeoutSeconds": 3}
ALL_DAY = {"start": "00:00", "end": "24:00", "timeZone": "UTC"}


@pytest.fixture
def forms(server: str) -> Forms:
    return Forms(server)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path) as browser:
        yield browser


@pytest.fixture
def estate(small: Any) -> Any:
    """A shop of two machines, a wiki and a crm: each says READY on its serial port once it is booted."""
    for name in ("db", "web", "wiki", "crm"):
        add(small, name)
    return small


def add(small: Any, name: str, mib: int = 2) -> None:
    small.disk(name).write_bytes(BOOT.ljust(510, b"\0") + b"\x55\xaa" + os.urandom(mib * MIB - 512))
    small.add(name, disk=small.disk(name))


POLICY: dict[str, Any] = {
    "mode": "warm",
    "probes": [SAYS_READY],
    "windows": {"all-day": ALL_DAY},
    "window": "all-day",
    "apps": {
        "shop": {"owner": "ann", "members": ["db", "web"], "order": [["db"], ["web"]], "wave": "wave-1"},
        "wiki": {"owner": "bob", "members": ["wiki"], "wave": "wave-1"},
    },
    "machines": {"crm": {"wave": "wave-2", "probes": [NEVER_SAID]}},
}


def artifact(page: Browser, forms: Forms, key: str) -> None:
    """Open the newest page of a key."""
    (found,) = forms.ask("/artifacts/latest/filter", {"artifacts": {"key": {"any_": [key]}}})
    page.open(f"{forms.url.removesuffix('/api')}/artifacts/artifact/{found['latest_id']}")


def picture(page: Browser, tmp_path: Path, name: str, width: int = 1280, height: int = 800, only: str = "") -> None:
    """The page as it is seen now, or one thing on it. It is kept in the tree where that is asked for."""
    page.size(width, height)
    time.sleep(0.7)  # what moves has come to rest
    made = page.picture(tmp_path / f"{name}.png", only)
    assert made.stat().st_size < LARGEST, f"{name} is too large: {made.stat().st_size}"
    if os.environ.get("KUBEFERRY_REGENERATE"):
        (ROOT / "docs" / "pictures" / made.name).write_bytes(made.read_bytes())


def answered(page: Browser, forms: Forms, moving: str, **fields: str) -> None:
    """Open the run, fill in its form, and send it off."""
    page.open(f"{forms.url.removesuffix('/api')}/runs/flow-run/{moving}")
    page.sees("Suspended")
    page.click("Resume")
    page.sees("Cut over")
    for label, value in fields.items():
        page.fill(label, value, DIALOG)
    page.click("Submit", within=DIALOG)
    page.until(f"!document.querySelector({DIALOG!r})", seconds=20)


def cancelled(page: Browser, forms: Forms, moving: str) -> None:
    """Open the run, and cancel it by its menu."""
    page.open(f"{forms.url.removesuffix('/api')}/runs/flow-run/{moving}")
    page.sees("Running")
    page.until("!!document.querySelector('.p-icon-button-menu button')")
    page.value("document.querySelector('.p-icon-button-menu button').click()")
    page.click("Cancel", what=".p-overflow-menu-item, li, button")
    page.sees("Cancel Flow Run")
    page.click("Confirm", within=CARD)


def edited(sheet: Path, machine: str, **cells: str) -> None:
    """Somebody changes a row of the wave sheet."""
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for one in (row for row in rows if row["machine"] == machine):
        one.update(cells)
    with sheet.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def test_the_operator_s_day_and_a_bad_night(
    estate: Any, deployed: Any, forms: Forms, page: Browser, tmp_path: Path
) -> None:
    ui = forms.url.removesuffix("/api")
    estate.policy(**POLICY, approval={"identity": "claimed"}, approvers=[{"name": "ann"}, {"name": "bob"}])
    assert estate.command("discover")[0] == 0
    assert estate.command("assess", "inventory.yaml", "--policy", "policy.yaml", "--config", "kubeferry.yaml")[0] == 0
    page.open((estate.folder / "assessment" / "index.html").as_uri())
    page.sees("shop", "wave-2")
    picture(page, tmp_path, "assessment")

    plan = deployed("--policy", "policy.yaml")
    assert (
        estate.command("deploy", "plan.yaml", "--policy", "policy.yaml", "--caretake-every", "0")[1]
        == "nothing to change\n"
    )
    page.open(f"{ui}/deployments")
    page.sees("precopy", "rehearse", "cutover", "caretake")
    picture(page, tmp_path, "deployments")

    with working(forms.url, estate.folder, "kubeferry"):
        assert forms.end(forms.start("precopy/lab"))["name"] == "Completed"
        artifact(page, forms, f"wave-{plan.digest[:12]}-wave-1")
        page.sees("db", "synced")
        picture(page, tmp_path, "wave", 1440, 640)
        assert forms.end(forms.start("rehearse/lab", app="wiki"))["name"] == "Rehearsed"

        moving = forms.start("cutover/lab", wave="wave-1")
        assert "**db** (shop): synced, copied" in forms.asked(moving)
        page.open(f"{ui}/runs/flow-run/{moving}")
        page.sees("Suspended")
        page.click("Resume")
        page.sees("Cut over 3 machines of plan lab: wave wave-1?")
        picture(page, tmp_path, "form", 1000, 1000, CARD)
        answered(page, forms, moving, Name="ann")
        assert forms.end(moving)["name"] == "Deferred", "nobody has said yes"
        assert estate.power("db") is Power.RUNNING

        moving = forms.start("cutover/lab", wave="wave-1")
        assert "Before: deferred by ann" in forms.asked(moving)
        answered(page, forms, moving, Name="bob", Decision="approve", Note="CHG-4711")
        assert forms.end(moving)["message"] == "3 of 3 done"
        artifact(page, forms, f"machine-{plan.digest[:12]}-web")
        page.sees("downtime")
        picture(page, tmp_path, "machine", 1100, 640)

        night = forms.start("cutover/lab", wave="wave-2")
        forms.asked(night)
        answered(page, forms, night, Name="bob", Decision="approve")
        assert forms.end(night)["name"] == "RolledBack"
        artifact(page, forms, f"cutover-{plan.digest[:12]}")
        page.sees("RolledBack", "crm")
        picture(page, tmp_path, "bad-night", 1100, 640)

    assert decisions(estate, plan) == [
        ("deferred", "ann", "claimed"),
        ("approved", "bob", "claimed"),
        ("approved", "bob", "claimed"),
    ]
    assert estate.power("crm") is Power.RUNNING
    assert estate.command("report", "plan.yaml", "--out", "report")[0] in {0, 1}
    page.open((estate.folder / "report" / "report.html").as_uri())
    page.sees("CHG-4711", "bob")


def test_the_owner_s_day(
    estate: Any, deployed: Any, forms: Forms, page: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "ann"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", key], check=True)
    monkeypatch.setenv("HOOK_KEY", KEY)
    monkeypatch.setenv("PREFECT_API_URL", forms.url)
    ann = {"name": "ann", "key": key.with_suffix(".pub").read_text().strip(), "apps": ["shop"]}
    bob = {"name": "bob", "key": other(tmp_path)}  # somebody has to be there for the rest
    machines = POLICY["machines"] | {
        "slow": {"wave": "wave-3", "mode": "cold"},
        "zero": {"wave": "wave-4", "after": ["slow"]},
    }
    estate.configure(bandwidthBytesPerSecond=2 * MIB)
    add(estate, "slow", 50)
    add(estate, "zero")
    estate.policy(**POLICY | {"machines": machines}, approval={"identity": "signed"}, approvers=[ann, bob])
    with listening() as hook:
        told_at(estate, hook.url)
        assert estate.command("discover")[0] == 0
        check_probed(estate, int(hook.url.rpartition(":")[2]))
        words = ("assess", "inventory.yaml", "--policy", "policy.yaml", "--config", "kubeferry.yaml")
        assert estate.command(*words)[0] == 0
        page.open((estate.folder / "assessment" / "app-shop.html").as_uri())
        page.sees("shop", "ann", "db", "web")
        picture(page, tmp_path, "owner", 1000, 1000)

        plan = deployed()
        with working(forms.url, estate.folder, "kubeferry"):
            moving = forms.start("cutover/lab", app="shop")
            assert "which no form can give" in forms.asked(moving)
            wanted = [one.body for one in hook.got if one.body["event"] == "approval-wanted"]
            assert "kubeferry approve" in wanted[0]["fix"]
            page.open(f"{forms.url.removesuffix('/api')}/runs/flow-run/{moving}")
            page.sees("Suspended")
            page.click("Resume")
            page.sees(f"kubeferry approve --plan {plan.digest[:12]} --app shop --key KEY")
            picture(page, tmp_path, "signed-form", 1000, 900, CARD)
            page.click("Submit", within=DIALOG)
            page.until(f"!document.querySelector({DIALOG!r})", seconds=20)
            forms.asked(moving)  # it has looked, and waits on
            code, out, err = estate.command("approve", "plan.yaml", "--app", "shop", "--key", str(key), "--yes")
            assert code == 0, err
            assert "goes on in Prefect" in out
            assert forms.end(moving)["message"] == "2 of 2 done"

            bob_approves(estate, tmp_path, "slow", "zero")
            check_cancelled(estate, page, forms, forms.start("cutover/lab", machines=["slow", "zero"]))
    assert decisions(estate, plan) == [("approved", "ann", "signed"), ("approved", "bob", "signed")]
    assert estate.command("report", "plan.yaml", "--out", "report")[0] in {0, 1}
    page.open((estate.folder / "report" / "report.html").as_uri())
    page.sees("approved by ann", "the signature was verified again")
    machine = estate.folder / "report" / "machines" / "web.html"
    machine.write_text(machine.read_text().replace(str(estate.folder), "/srv/moves"))  # the test's own folder
    page.open(machine.as_uri())
    page.sees("passed its only probe", "owner ann", "Projected")
    picture(page, tmp_path, "owner-after", 1000, 1000)
    check_sheet(estate, plan)


def told_at(estate: Any, url: str) -> None:
    config = estate.folder / "kubeferry.yaml"
    told = {"webhooks": {"owner": {"url": f"{url}/hook", "secretEnv": "HOOK_KEY"}}}
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"notify": told}))


def check_probed(estate: Any, port: int) -> None:
    """The probes of the app are asked of its running machines first: one that fails there proves nothing later."""
    for name in ("db", "web"):
        estate.source.write_addresses(name, "127.0.0.1")
    for at, code, said in ((port, 0, "2 of 2 probes passed"), (free_port(), 1, "0 of 2 probes passed")):
        tcp = {"kind": "tcp", "port": at, "timeoutSeconds": 2}
        document = {"apiVersion": "kubeferry.io/v1alpha1", "kind": "Policy", **POLICY, "probes": [tcp], "machines": {}}
        (estate.folder / "probes.yaml").write_text(yaml.safe_dump(document))
        words = ("inventory.yaml", "--policy", "probes.yaml", "--out", "probes-plan.yaml")
        assert estate.command("plan", *words)[0] == 0
        found = estate.command("probe", "probes-plan.yaml", "--app", "shop", "--at", "source")
        assert (found[0], said in found[1]) == (code, True), found


def bob_approves(estate: Any, tmp_path: Path, *names: str) -> None:
    chosen = (word for name in names for word in ("-m", name))
    code, _, err = estate.command("approve", "plan.yaml", *chosen, "--key", str(tmp_path / "bob"), "--yes")
    assert code == 0, err


def check_cancelled(estate: Any, page: Browser, forms: Forms, moving: str) -> None:
    """Somebody cancels by the page's menu while a machine is copied after its stop: that one goes back, none begins."""
    limit = time.monotonic() + 60
    while "copy-begun" not in estate.kinds("slow"):
        assert time.monotonic() < limit
        time.sleep(0.3)
    cancelled(page, forms, moving)
    assert forms.end(moving, 60)["name"] == "Cancelled"
    assert (estate.kinds("slow")[-1], estate.power("slow")) == ("rolled-back", Power.RUNNING)
    assert ("cutover-begun" in estate.kinds("zero"), estate.power("zero")) == (False, Power.RUNNING)


def check_sheet(estate: Any, plan: Plan) -> None:
    """Somebody moves the wiki to another wave in the sheet: it is another plan, of which nothing is approved."""
    words = ("plan", "inventory.yaml", "--policy", "policy.yaml", "--sheet", "waves.csv")
    assert estate.command(*words)[0] == 0
    edited(estate.folder / "waves.csv", "wiki", wave="wave-2")
    code, out, err = estate.command(*words)
    assert (code, "wiki" in out, "wave-1 -> wave-2" in out) == (0, True, True), err
    changed = load(estate.folder / "plan.yaml", Plan)
    assert changed.digest != plan.digest
    told = estate.command("status", "plan.yaml")[1]
    assert f"of plan lab ({plan.digest[:12]})" in told
    assert "it is void here" in told


def other(folder: Path) -> str:
    """One more key."""
    path = folder / "bob"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()
