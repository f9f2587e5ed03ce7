"""`make demo`: three real machines move from a local libvirtd, and each is proven.

What a user types, in the order a user types it: discover, assess, plan, migrate, report. Around that: a source
estate (`lab.estate`), a Prefect server, and a check of our own that trusts none of it: `qemu-img compare` of every
disk, and the boot counters read from the sources' disks.

Safe to kill at any moment and to run again: it goes on. After a finished run it starts afresh.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import click

from flows.cli import tables
from flows.serving.server import local_server
from kubeferry.documents import Plan, load
from kubeferry.errors import KubeferryError
from kubeferry.outside import stopping
from kubeferry.outside.process import run, show
from lab import estate

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "demo"
MACHINES = ("web", "db", "legacy")
STARTED = time.monotonic()

CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources:
  lab:
    kind: libvirt
    uri: qemu:///system
target:
  kind: directory
  path: target
journal:
  url: sqlite:///journal.db
limits:
  concurrentMachines: 2
"""

POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
namespace: demo
stop:
  agentSeconds: 60
  acpiSeconds: 60
  lastWords: [/data/boots]
probes:
  - {kind: agent, timeoutSeconds: 240}
  - {kind: http, port: 80, path: /boots, timeoutSeconds: 120}
  - {kind: counter, path: /data/boots, timeoutSeconds: 60}
machines:
  web: {mode: warm, warm: {rounds: 3, enoughBytes: 1048576}}  # copied while it runs and writes; the others after a stop
"""


def main() -> int:
    """Run or clean; returns the exit code: 0 only when all three machines are proven."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", action="store_true", help="remove everything the demo made")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, lambda *_: stopping.request())
    signal.signal(signal.SIGTERM, lambda *_: stopping.request())
    try:
        return clean() if arguments.clean else demonstrate()
    except KubeferryError as error:
        click.secho(f"\nfailed: {error}", fg="red", err=True)
        return error.exit_code


def clean() -> int:
    """Remove machines, processes, sockets and files of the demo."""
    kubeferry = [sys.executable, "-m", "flows"]
    if (FOLDER / "plan.yaml").exists() and (FOLDER / "journal.db").exists():
        show(
            [
                *kubeferry,
                "release",
                str(FOLDER / "plan.yaml"),
                "--config",
                str(FOLDER / "kubeferry.yaml"),
                "--everything",
            ]
        )
    for line in estate.down(FOLDER / "source"):
        click.echo(f"  {line}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    click.echo("the demo has left nothing behind")
    return 0


def demonstrate() -> int:
    """The whole way; goes on where an earlier run was stopped."""
    if (FOLDER / "finished").exists():
        say("an earlier demo is finished: starting afresh")
        clean()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "kubeferry.yaml").write_text(CONFIG)
    (FOLDER / "policy.yaml").write_text(POLICY)
    plan = FOLDER / "plan.yaml"
    say("source estate: three machines on a local libvirtd")
    # Once there is a plan, the machines belong to the migration: starting one again would change its disks.
    estate.up(FOLDER / "source", start=not plan.exists())
    say("Prefect server")
    with local_server(FOLDER / ".kubeferry" / "prefect"):
        if not plan.exists():
            # Only the estate: other machines of this host are none of the demo's business.
            kubeferry("discover", *(word for name in MACHINES for word in ("-m", name)), "--out", "inventory.yaml")
            choices = ("--policy", "policy.yaml", "--config", "kubeferry.yaml")  # the target says what it has, too
            kubeferry("assess", "inventory.yaml", *choices, "--out", "assessment")
            kubeferry("plan", "inventory.yaml", *choices, "--name", "demo", "--out", "plan.yaml")
        moved = kubeferry("migrate", "plan.yaml", check=False)
        kubeferry("report", "plan.yaml", "--out", ".")
    proven = judge(load(plan, Plan)) and moved == 0
    if proven:
        (FOLDER / "finished").touch()
    return 0 if proven else 1


def kubeferry(verb: str, *arguments: str, check: bool = True) -> int:
    """One command as a user types it, in the demo's folder."""
    command = ["kubeferry", verb, *arguments]
    say("$ " + " ".join(command))
    os.chdir(FOLDER)
    environment = {"KUBEFERRY_CONFIG": "kubeferry.yaml", "PYTHONPATH": str(ROOT)}
    code = show([sys.executable, "-m", "flows", verb, *arguments], env=environment)
    stopping.check()
    if check and code:
        raise SystemExit(code)
    return code


def judge(plan: Plan) -> bool:
    """Our own look at the result, with other tools than the product's; prints the summary."""
    say("independent check: qemu-img compare, boot counters")
    report = json.loads((FOLDER / "report.json").read_text())
    verdicts = {machine["name"]: machine["verdict"] for machine in report["machines"]}
    rows, good = [], []
    for name in MACHINES:
        equal = compare(plan, name)
        source_boots = estate.boots(FOLDER / "source", name)
        copy_boots = counted(name)
        same = bool(equal) and all(equal.values())
        good.append(verdicts.get(name) == "proven" and same and copy_boots == source_boots + 1)
        shown = ", ".join(f"{disk}: {'equal' if same else 'DIFFERENT'}" for disk, same in equal.items())
        rows.append((name, verdicts.get(name, "missing"), shown, str(source_boots), str(copy_boots)))
    heading, *lines = tables.lines(("machine", "verdict", "qemu-img compare", "boots at source", "boots at copy"), rows)
    click.secho(heading, bold=True)
    for line, fine in zip(lines, good, strict=True):
        click.secho(line, fg=None if fine else "red")
    proven = all(good) and sorted(verdicts) == sorted(MACHINES)
    took = f"{time.monotonic() - STARTED:.0f} s"
    click.secho(f"\n{'PROVEN' if proven else 'NOT PROVEN'} in {took}", fg="green" if proven else "red", bold=True)
    click.echo(f"report:     {FOLDER / 'report.html'}")
    click.echo("Prefect UI: make demo-ui")
    click.echo("clean up:   make demo-clean")
    return proven


def compare(plan: Plan, name: str) -> dict[str, bool]:
    """For each disk, whether the migrated bytes equal the source's, by qemu-img."""
    entry = plan.entry(name)
    equal = {}
    for disk in entry.disks:
        source = next(d for d in entry.machine.disks if d.id == disk.disk)
        path = (source.uri or "").removeprefix("file://")
        copied = next((FOLDER / "target").rglob(f"{disk.claim}.img"))
        done = run(["qemu-img", "compare", "-f", source.format or "raw", "-F", "raw", path, str(copied)], check=False)
        equal[disk.disk] = done.code == 0
    return equal


def counted(name: str) -> int:
    """The boot counter as the started copy's own console showed it, 0 where it did not."""
    console = next((FOLDER / "target" / "machines" / name / "evidence").glob("serial.log"), None)
    found = re.findall(r"READY name=\S+ boots=([0-9]+)", console.read_text(errors="replace")) if console else []
    return int(found[-1]) if found else 0


def say(text: str) -> None:
    click.secho(f"\n[{time.monotonic() - STARTED:5.1f} s] {text}", bold=True)


if __name__ == "__main__":
    sys.exit(main())
