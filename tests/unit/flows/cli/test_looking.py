"""doctor and discover: what they find, and that they touch nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import doctor
from kubeferry import __version__, marks
from kubeferry.documents import (
    API_VERSION,
    Config,
    Entry,
    Inventory,
    Plan,
    SourceConfig,
    SshAccess,
    TargetConfig,
    load,
)
from kubeferry.model import Concern, Power, Severity
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget

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
    assert "It is made of exported files" in kubeferry("plan", "inventory.yaml", "--out", "exported.yaml")[2]


def test_what_is_left_out_is_counted_by_files_whatever_is_wrong_in_each(kubeferry: Command, estate: Path) -> None:
    (estate / "exported").mkdir()
    (estate / "exported" / "web.xml").write_text(DOMAIN.format(name="web", number=1))
    (estate / "exported" / "odd.xml").write_text(
        "<domain type='kvm'><name>odd</name><memory>x</memory><vcpu>y</vcpu></domain>"
    )
    (estate / "exported" / "none.xml").write_text("<domain")
    code, out, _ = kubeferry("discover", "--from", "exported")
    assert out.count("[machine.unreadable]") > 2
    assert (code, "1 machine written to inventory.yaml, 2 machines or files left out" in out) == (2, True)


def test_what_is_left_out_is_counted_by_machines_in_a_file_that_holds_many(kubeferry: Command, estate: Path) -> None:
    known = {"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}}
    listed: list[dict[str, Any]] = [{"InstanceId": f"i-{at}", "InstanceType": "m5.large"} for at in range(5)]
    (estate / "exported").mkdir()
    (estate / "exported" / "all.json").write_text(
        json.dumps({"Reservations": [{"Instances": [*listed, {"InstanceId": "i-9", "InstanceType": "t"} | known]}]})
    )
    code, out, _ = kubeferry("discover", "--from", "exported")
    assert out.count("[machine.unreadable]") == 5
    assert (code, out.splitlines()[-1]) == (2, "1 machine written to inventory.yaml, 5 machines or files left out")


def test_what_is_left_out_is_counted_whatever_its_folder_is_called(kubeferry: Command, estate: Path) -> None:
    (estate / "exported" / "c-colon: x").mkdir(parents=True)
    (estate / "exported" / "web.xml").write_text(DOMAIN.format(name="web", number=1))
    for name in ("a", "b"):
        (estate / "exported" / "c-colon: x" / f"{name}.xml").write_text("<domain")
    code, out, _ = kubeferry("discover", "--from", "exported")
    assert (code, out.splitlines()[-1]) == (2, "1 machine written to inventory.yaml, 2 machines or files left out")
    assert "left out" not in kubeferry("discover", "--from", "exported", "-m", "web")[1]


def test_a_machine_that_an_unfinished_move_has_stopped_is_shown_as_that_and_planned_as_if_it_were_not(
    kubeferry: Command, estate: Path
) -> None:
    source, when = MemorySource("lab", estate / "source"), "2026-01-01T00:00:00Z"
    web = source.discover().machines[0]
    mark = marks.StopMark(marks.short(web.id), Power.RUNNING, when, "0" * 64, when, "", "theirs")
    source.write_power("web", Power.RUNNING)
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml", "--out", "before.yaml")
    source.write_power("web", Power.OFF)
    source.mark(web, mark, lambda _thing: None)
    _, out, _ = kubeferry("discover")
    assert "off, by a move" in out
    _, out, _ = kubeferry("plan", "inventory.yaml")
    before, after = (load(estate / name, Plan).entries[0] for name in ("before.yaml", "plan.yaml"))
    assert after.manifests == before.manifests
    told = [one for one in after.concerns if one.id == "machine.stopped-by-move"]
    assert [one.severity for one in told] == [Severity.WARNING]
    assert str(mark) in told[0].what
    source.write_power("web", Power.RUNNING)  # what is left of it says nothing any more
    assert "by a move" not in kubeferry("discover")[1]


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


def test_doctor_tells_versions_of_what_it_was_asked_about_and_of_no_more(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    plan = load(estate / "plan.yaml", Plan)
    code, out, _ = kubeferry("doctor", "plan.yaml", "--versions")
    lines = out.splitlines()
    assert (code, lines[0], lines[-1]) == (
        0,
        f"kubeferry: version {__version__}, apiVersion {API_VERSION}",
        "all is well",
    )
    assert lines[1] == f"plan: name {plan.name}, digest {plan.digest}, apiVersion {API_VERSION}"
    assert lines[2].startswith("journal: url sqlite")
    assert f"{estate}/journal.db, schema " in lines[2]
    told = json.loads(kubeferry("doctor", "plan.yaml", "--versions", "--json")[1])
    shown = json.loads(kubeferry("status", "plan.yaml", "--json")[1])
    assert (told["kubeferry"], told["journal"]) == (shown["kubeferry"], shown["journal"])
    assert (told["findings"], told["plan"]["digest"]) == ([], plan.digest)
    (estate / "plan.yaml").write_text("kind: Policy")
    (estate / "journal.db").write_bytes(b"no database" * 1000)
    code, out, _ = kubeferry("doctor", "plan.yaml", "--versions")
    assert (code, out.splitlines()[0]) == (2, f"kubeferry: version {__version__}, apiVersion {API_VERSION}")
    assert "journal.unusable" in out


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


def test_doctor_knows_it_of_a_plan_that_moves_no_machine(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    none = load(estate / "plan.yaml", Plan).model_copy(update={"entries": ()})
    config = Config(sources={"lab": SourceConfig(kind="memory")}, target=TargetConfig(kind="kubevirt"))
    assert [one.id for one in doctor.ways(config, none)] == ["source.no-way"]


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


def test_discover_tells_a_program_how_it_goes_on(kubeferry: Command) -> None:
    code, out, err = kubeferry("discover", "--json")
    asking, answered, inventory = (json.loads(line) for line in out.splitlines())
    assert (code, err) == (0, "")
    assert [asking["event"], answered["event"], answered["machines"]] == ["asking", "answered", 1]
    assert ("event" in inventory, inventory["kind"]) == (False, "Inventory")


def test_discover_says_unknown_for_what_nobody_told_and_counts_disks_that_are_alike(
    kubeferry: Command, estate: Path
) -> None:
    (estate / "answers").mkdir()
    mappings = [{"DeviceName": f"/dev/sd{letter}", "Ebs": {"VolumeId": f"vol-{letter}"}} for letter in "abcde"]
    cpu = {"CoreCount": 1, "ThreadsPerCore": 1}
    one = {"InstanceId": "i-1", "InstanceType": "m5.large", "CpuOptions": cpu, "BlockDeviceMappings": mappings}
    (estate / "answers" / "a.json").write_text(json.dumps({"Reservations": [{"Instances": [one]}]}))
    code, out, _ = kubeferry("discover", "--from", "answers")
    assert code == 0
    assert "unknown  5 of unknown size" in out
    assert " 0 B" not in out
    total = "total: 1 vCPU, unknown memory, 5 disks, 5 of them of unknown size, 0 NICs"
    assert total in out


def test_discover_says_what_all_machines_come_to(kubeferry: Command) -> None:
    *_, total, written = kubeferry("discover")[1].splitlines()
    assert total == "total: 1 vCPU, 64 MiB of memory, 1 disk with 1 MiB, 0 NICs"
    assert written == "1 machine written to inventory.yaml"


def test_a_source_without_machines_is_no_silent_success(kubeferry: Command, estate: Path) -> None:
    MemorySource("lab", estate / "source").write_machines()
    code, out, err = kubeferry("discover")
    assert (code, "0 machines written" in out) == (0, True)
    assert err.startswith("No machine was found: ")


def test_files_without_a_machine_are_not_said_to_be_a_matter_of_the_configuration(
    kubeferry: Command, estate: Path
) -> None:
    (estate / "exported").mkdir()
    ended = {"InstanceId": "i-1", "InstanceType": "t3.micro", "State": {"Name": "terminated"}}
    (estate / "exported" / "all.json").write_text(json.dumps({"Reservations": [{"Instances": [ended]}]}))
    code, out, err = kubeferry("discover", "--from", "exported")
    assert (code, "1 instance that ended" in out) == (0, True)
    assert err.startswith("No machine was found: the files were read")
    assert "uri" not in err
