"""The command line: instant help, exit codes, JSON for programs, and nothing written where nothing may be."""

from __future__ import annotations

import inspect
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from converters.engine.disks import copy_disk, parse_ref, prepare_target
from converters.engine.transfer import Options, Watch
from flows import doctor
from flows.cli import VERBS, cli, run
from kubeferry.documents import (
    KINDS,
    Config,
    Entry,
    Inventory,
    JournalConfig,
    Plan,
    SourceConfig,
    SshAccess,
    TargetConfig,
    load,
)
from kubeferry.errors import SourceUnavailable
from kubeferry.journal import Journal
from kubeferry.life.events import CutoverBegun, Planned, RollbackBegun, RolledBack
from kubeferry.model import Concern, Power, Severity
from kubeferry.outside.process import run as program
from kubeferry.targets.memory.target import MemoryTarget

ROOT = Path(__file__).resolve().parents[3]
Command = Callable[..., tuple[int, str, str]]

DOMAIN = """\
<domain type='kvm'>
  <name>{name}</name><uuid>6f1d2b3c-1111-4222-8333-44445555666{number}</uuid>
  <memory unit='MiB'>512</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/{name}.img'/>
      <target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:0{number}'/><source network='default'/>
      <model type='virtio'/></interface>
  </devices>
</domain>
"""


def command_of(verb: str) -> click.Command:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return command


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_says_what_the_verb_says_of_itself(verb: str) -> None:
    first = inspect.cleandoc(command_of(verb).help or "").split("\n\n")[0].splitlines()[0]
    assert VERBS[verb][1] == first
    assert command_of(verb).name == verb


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert VERBS[verb][1].split()[0] in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_each_option_says_what_it_is_for(verb: str) -> None:
    plain = {"help", "workers", "algorithm", "port"}  # these show their default or choices
    options = [option for option in command_of(verb).params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help and option.name not in plain] == []


def test_help_does_not_wait_for_prefect() -> None:
    imported = (
        "import sys; from flows.cli import run, VERBS; codes = [run([v, '--help']) for v in VERBS];"
        "assert not any(codes), codes; heavy = {'prefect', 'libvirt', 'fastapi'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    program([str(ROOT / ".venv/bin/python"), "-W", "error", "-c", imported], cwd=ROOT, timeout=60)


def test_help_answers_at_once() -> None:
    def took() -> float:
        began = time.monotonic()
        program([str(ROOT / ".venv/bin/python"), "-m", "flows", "--help"], cwd=ROOT, timeout=60)
        return time.monotonic() - began

    assert min(took() for _ in range(3)) < 2.0


def test_the_verbs_are_listed_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    places = [out.index(f"\n  {verb} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "arguments", [["fly"], ["migrate"], ["plan", "--colour"], ["schema", "Nothing"], ["copy", "a"]]
)
def test_what_cannot_be_understood_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_schema_of_each_kind_is_json(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", kind]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["properties"]


def test_all_schemas_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)) == sorted(KINDS)


# --- the verbs in the order of their use ---------------------------------------------------------------------------


def test_discover_assess_plan_status(kubeferry: Command, printed_json: Callable[..., Any], estate: Path) -> None:
    assert [one["name"] for one in printed_json("discover", "--json")["machines"]] == ["web"]
    assert load(estate / "inventory.yaml", Inventory).machines[0].name == "web"
    assessed = printed_json("assess", "inventory.yaml", "--json")
    assert assessed[0]["name"] == "web"
    assert (estate / "assessment" / "web" / "README.md").exists()
    made = printed_json("plan", "inventory.yaml", "--json")
    assert load(estate / "plan.yaml", Plan).digest == made["digest"]
    stands = printed_json("status", "plan.yaml", "--json")
    assert stands["machines"][0] | {"why": ""} == {
        "machine": "web",
        "phase": "planned",
        "failed": "",
        "next": "record-plan",
        "why": "",
    }
    assert stands["open"] == []


def test_tables_for_people(kubeferry: Command) -> None:
    for arguments in (["discover"], ["assess", "inventory.yaml"], ["plan", "inventory.yaml"], ["status", "plan.yaml"]):
        code, out, err = kubeferry(*arguments)
        assert (code, err) == (0, ""), arguments
        assert "web" in out


def test_a_plan_s_dry_run_prints_and_writes_nothing(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    code, out, _ = kubeferry("plan", "inventory.yaml", "--dry-run")
    assert code == 0
    assert "kind: Plan" in out
    assert not (estate / "plan.yaml").exists()


def test_a_migration_s_dry_run_lists_every_action_and_its_reason(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    source = {path: path.read_bytes() for path in (estate / "source").iterdir()}
    code, out, _ = kubeferry("migrate", "plan.yaml", "--dry-run")
    assert code == 0
    actions = [line.split()[0] for line in out.splitlines()[1:]]
    assert actions[0] == "record-plan"
    assert actions[-2:] == ["commit", "done"]
    assert all(len(line.split()) > 2 for line in out.splitlines()[1:])
    assert {path: path.read_bytes() for path in (estate / "source").iterdir()} == source


def test_a_dry_run_of_another_attempt_lists_that_attempt(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    plan = load(estate / "plan.yaml", Plan)
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        journal.register_plan(plan.digest, plan.name, "")
        with journal.lease(plan.digest, "web") as lease:
            for event in (
                Planned(plan_digest=plan.digest, disks=tuple(disk.disk for disk in plan.entry("web").disks)),
                CutoverBegun(power_before=Power.OFF),
                RollbackBegun(reason="asked for"),
                RolledBack(),
            ):
                journal.append(lease, event)
    assert [line.split()[0] for line in kubeferry("migrate", "plan.yaml", "--dry-run")[1].splitlines()[1:]] == ["done"]
    lines = kubeferry("migrate", "plan.yaml", "--dry-run", "--again")[1].splitlines()[1:]
    assert [line.split()[0] for line in lines][:2] == ["begin-cutover", "stop-source"]


def test_discover_from_exported_files_needs_no_configuration(kubeferry: Command, estate: Path) -> None:
    (estate / "kubeferry.yaml").unlink()
    (estate / "exported").mkdir()
    for number, name in enumerate(("web", "db"), 1):
        (estate / "exported" / f"{name}.xml").write_text(DOMAIN.format(name=name, number=number))
    code, out, _ = kubeferry("discover", "--from", "exported")
    assert code == 0
    assert "2 machines written to inventory.yaml" in out
    assert [machine.name for machine in load(estate / "inventory.yaml", Inventory).machines] == ["db", "web"]
    code, out, _ = kubeferry("assess", "inventory.yaml", "--out", "pages")
    assert code == 0
    assert kubeferry("discover", "--from", "exported", "-m", "db", "--out", "one.yaml")[0] == 0
    assert [machine.name for machine in load(estate / "one.yaml", Inventory).machines] == ["db"]
    code, _, err = kubeferry("discover", "--from", "exported", "-m", "nobody", "--out", "none.yaml")
    assert (code, (estate / "none.yaml").exists()) == (2, False)
    assert "nobody" in err
    assert "db, web" in err
    assert (estate / "pages" / "db" / "manifests").is_dir()


def test_a_machine_that_is_not_in_the_plan(kubeferry: Command) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    code, _, err = kubeferry("migrate", "plan.yaml", "--machine", "nobody", "--dry-run")
    assert code == 2
    assert "nobody" in err
    assert "web" in err


def test_a_rollback_of_nobody(kubeferry: Command) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    code, _, err = kubeferry("rollback", "plan.yaml")
    assert code == 2
    assert "--machine" in err


@pytest.mark.parametrize("arguments", [["status", "plan.yaml"], ["plan", "gone.yaml"], ["discover", "-c", "gone.yaml"]])
def test_a_file_that_is_not_there_is_named(kubeferry: Command, arguments: list[str]) -> None:
    code, _, err = kubeferry(*arguments)
    assert code == 2
    assert arguments[-1] in err
    assert err.startswith("failed: ")


def test_an_unexpected_error_can_be_seen_whole(estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEFERRY_DEBUG", "1")
    from kubeferry.errors import InputInvalid

    with pytest.raises(InputInvalid):
        run(["plan", "gone.yaml"])


def test_release_and_report_of_a_plan_that_never_ran(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    assert kubeferry("release", "plan.yaml", "--dry-run")[0] == 0
    assert kubeferry("report", "plan.yaml", "--out", "report")[0] == 0
    assert sorted(path.suffix for path in (estate / "report").iterdir()) == [".html", ".json", ".md"]


def test_doctor_says_everything_that_is_wrong(kubeferry: Command, estate: Path) -> None:
    assert kubeferry("doctor") == (0, "all is well\n", "")
    (estate / "journal.db").write_bytes(b"no database" * 1000)
    code, out, _ = kubeferry("doctor", "--json")
    assert code == 2
    assert [finding["id"] for finding in json.loads(out)] == ["journal.unusable"]
    (estate / "kubeferry.yaml").write_text("nonsense")
    code, out, _ = kubeferry("doctor")
    assert code == 2
    assert "config" in out


def test_doctor_says_what_a_plan_meets_at_its_target(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    assert kubeferry("doctor", "plan.yaml") == (0, "all is well\n", "")
    told = [
        Concern(id="mover.secret", severity=Severity.INFO, what="not looked at", fix=""),
        Concern(id="quota.exceeded", severity=Severity.CRITICAL, what="2 more pods", fix="Raise it."),
        Concern(id="mover.image", severity=Severity.WARNING, what="no registry", fix="Name it."),
    ]
    asked: list[tuple[Entry, ...]] = []
    monkeypatch.setattr(MemoryTarget, "concerns", lambda _, entries: asked.append(entries) or told[: len(entries) * 3])
    code, out, _ = kubeferry("doctor", "plan.yaml")
    assert code == 2
    assert [[entry.name for entry in entries] for entries in asked] == [["web"]]
    assert out.splitlines() == [
        "quota",
        "  critical: 2 more pods [quota.exceeded]",
        "    Raise it.",
        "mover",
        "  warning: no registry [mover.image]",
        "    Name it.",
        "  info: not looked at [mover.secret]",
    ]
    assert len(json.loads(kubeferry("doctor", "plan.yaml", "--json")[1])) == 3
    assert kubeferry("doctor") == (0, "all is well\n", ""), "without a plan the target is asked without entries"
    assert asked[-1] == ()


def test_doctor_refuses_a_plan_that_is_none(kubeferry: Command, estate: Path) -> None:
    (estate / "plan.yaml").write_text("kind: Policy")
    assert kubeferry("doctor", "plan.yaml")[0] == 2
    assert kubeferry("doctor", "nowhere.yaml")[0] == 2


SSH = SshAccess(host="hypervisor.example", host_key="ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("source", "ssh", "transfer", "ids"),
    [
        ("lab", SSH, "movers", ["mover.secret-not-checked"]),
        ("lab", None, "movers", ["source.no-way"]),
        ("lab", None, "upload", []),
        ("elsewhere", SSH, "movers", ["source.unknown"]),
    ],
)
def test_doctor_knows_the_way_from_a_cluster_to_the_source(
    kubeferry: Command, estate: Path, source: str, ssh: SshAccess | None, transfer: Any, ids: list[str]
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    config = Config(
        sources={source: SourceConfig(kind="memory", ssh=ssh)}, target=TargetConfig(kind="kubevirt", transfer=transfer)
    )
    assert [one.id for one in doctor.ways(config, load(estate / "plan.yaml", Plan))] == ids


@pytest.mark.parametrize(("kind", "content"), [("aws", "the keys of an AWS account"), ("vmware", "a login at vCenter")])
def test_doctor_names_the_secret_with_which_movers_log_in(
    kubeferry: Command, estate: Path, kind: str, content: str
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    source = SourceConfig.model_validate({"kind": kind, kind: {"secret": "ferry-login"}})
    config = Config(sources={"lab": source}, target=TargetConfig(kind="kubevirt"))
    (told,) = doctor.ways(config, load(estate / "plan.yaml", Plan))
    assert told.id == "mover.secret-not-checked"
    assert f"/ferry-login holds {content}" in told.what


def test_doctor_sends_disks_of_files_by_upload(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    config = Config(sources={"lab": SourceConfig(kind="ova", ssh=SSH)}, target=TargetConfig(kind="kubevirt"))
    (told,) = doctor.ways(config, load(estate / "plan.yaml", Plan))
    assert told.id == "source.no-way"
    assert "upload" in told.fix


def test_copy_verify_repair_a_disk(kubeferry: Command, printed_json: Callable[..., Any], estate: Path) -> None:
    source, target = estate / "source" / "web.img", estate / "copy.img"
    copied = printed_json("copy", str(source), str(target), "--json")
    assert target.read_bytes() == source.read_bytes()
    assert printed_json("verify", str(target), "--json")["root"] == copied["root"]
    with target.open("r+b") as damaged:
        damaged.write(b"\x00")
    code, _, err = kubeferry("verify", str(target))
    assert code == 2
    assert "kubeferry repair" in err
    assert kubeferry("repair", str(source), str(target))[0] == 0
    assert target.read_bytes() == source.read_bytes()


def test_a_copy_says_what_of_it_was_read_back(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path
) -> None:
    source, target = str(estate / "source" / "web.img"), str(estate / "copy.img")
    assert printed_json("copy", source, target, "--json")["readBackBytes"] == 0
    again = printed_json("copy", source, target, "--json")
    assert (again["readBackBytes"], again["writtenBytes"]) == (again["readBytes"], 0)
    assert printed_json("verify", target, "--json")["readBackBytes"] > 0
    assert "kubeferry verify" in kubeferry("copy", source, target)[1]


class Stopping(Watch):
    """Ends a copy in its middle."""

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if phase == "copying" and done >= 40 << 20:
            raise SourceUnavailable("stopped")


def test_a_copy_goes_on_in_a_target_that_was_changed_meanwhile_and_ends_equal(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path
) -> None:
    """Damaged in one block, emptied in another: what is not read again from the source was read back in this run."""
    source, target = estate / "random.img", estate / "copy.img"
    source.write_bytes(os.urandom(64 << 20))
    read, write, kff = parse_ref(str(source)), parse_ref(str(target)), estate / "copy.img.kff"
    prepare_target(write, 64 << 20, kff)
    options = Options(workers=1, checkpoint_seconds=0, bandwidth=100 << 20)
    with pytest.raises(SourceUnavailable):
        copy_disk(read, write, kff, target_reads_zero=True, options=options, watch=Stopping())
    with target.open("r+b") as disk:
        for block in (9, 14):
            disk.seek((block << 20) + 17)
            disk.write(bytes(1 << 20))
    done = printed_json("copy", str(source), str(target), "--json")
    assert done["resumedBytes"] > 0
    assert done["readBackBytes"] > 0
    assert target.read_bytes() == source.read_bytes()
    assert kubeferry("verify", str(target))[0] == 0


def test_an_image_that_is_said_to_be_raw_is_copied_only_if_somebody_insists(kubeferry: Command, estate: Path) -> None:
    image, target = estate / "image", estate / "copy.img"
    image.write_bytes(b"QFI\xfb" + bytes(4092))
    code, _, err = kubeferry("copy", str(image), str(target))
    assert (code, target.exists()) == (2, False)
    assert "--insist" in err
    assert kubeferry("copy", str(image), str(target), "--insist")[0] == 0
    assert target.read_bytes() == image.read_bytes()


def test_targets_that_differ_in_their_ending_have_digests_of_their_own(kubeferry: Command, estate: Path) -> None:
    """Of the digests of another disk nobody concludes that a file of somebody else is ours."""
    source, folder = estate / "source" / "web.img", estate / "a b"
    folder.mkdir()
    foreign = folder / "disk.sdb"
    foreign.write_bytes(b"precious" * (source.stat().st_size // 8 + 1))
    assert kubeferry("copy", str(source), (folder / "disk.sda").as_uri())[0] == 0
    code, _, err = kubeferry("copy", str(source), str(foreign))
    assert (code, "not ours" in err) == (2, True)
    assert foreign.read_bytes().startswith(b"precious")
    assert sorted(path.name for path in folder.iterdir()) == ["disk.sda", "disk.sda.kff", "disk.sdb"]
