"""`kubeferry init`: what it writes loads, says what each line is for, and overwrites nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from flows.cli import run
from flows.cli.setting_up import init
from flows.setup.first_files import configuration, policy
from kubeferry.config import read_config
from kubeferry.documents import Policy, Probe, load
from kubeferry.kinds import SOURCES, TARGETS
from lab import ova
from tests.needs import needs

CHOICES = {option.name: list(getattr(option.type, "choices", ())) for option in init.params}
KINDS, PLACES = CHOICES["source"], CHOICES["target"]
PAIRS = list(itertools.product(KINDS, PLACES))


def written(folder: Path, *arguments: str) -> int:
    return run(["init", "--folder", str(folder), *arguments])


def test_it_knows_the_kinds_that_users_have_and_none_that_there_is_not() -> None:
    assert {"libvirt", "vmware", "aws", "ova"} <= set(KINDS) <= set(SOURCES)
    assert {"directory", "kubevirt"} <= set(PLACES) <= set(TARGETS)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_is_written_loads(source: str, target: str, tmp_path: Path) -> None:
    assert written(tmp_path, "--source", source, "--target", target) == 0
    config = read_config(tmp_path / "kubeferry.yaml")
    assert [one.kind for one in config.sources.values()] == [source]
    assert config.target.kind == target
    assert config.target.transfer == ("upload" if (source, target) == ("ova", "kubevirt") else "movers")
    chosen = load(tmp_path / "policy.yaml", Policy)
    probes = {} if source == "libvirt" else {"probes": (Probe(kind="tcp", port=22),)}  # no agent is known to be there
    assert chosen == Policy(namespace="apps", **probes), "but for these it says what holds without it"


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_stands_there_as_a_comment_loads_too(source: str, target: str, tmp_path: Path) -> None:
    """A user takes the `# ` away and changes a value: the field must be there, and where it belongs."""
    uncommented = {}
    texts = {"config": configuration(source, target, ""), "policy": policy(source, target)}
    for name, text in texts.items():
        lines = [
            line.replace("# ", "", 1).replace("#   ", "    ", 1) if line.lstrip().startswith("#") else line
            for line in text.splitlines()
            if not line.lstrip().startswith("#") or "  # " in line.lstrip()[1:]
        ]
        path = tmp_path / f"{name}.yaml"
        path.write_text("\n".join(lines).replace("AAAA...", "AAAA"))
        uncommented[name] = path
    config = read_config(uncommented["config"])
    assert config.journal.password_env == "KUBEFERRY_JOURNAL_PASSWORD"  # noqa: S105 (the name of a variable)
    assert config.limits.bandwidth_bytes_per_second == 100 * 2**20
    if (source, target) == ("libvirt", "kubevirt"):
        assert config.sources["libvirt"].ssh is not None
    chosen = load(uncommented["policy"], Policy)
    assert chosen.of("web01").after == ("db01",)
    assert (chosen.apps or {})["shop"].together
    assert chosen.waves.capacity is not None
    assert (chosen.storage.storage_class == "fast") == (target == "kubevirt")


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_each_line_says_what_it_is_for(source: str, target: str) -> None:
    for line in (configuration(source, target, "x://y") + policy(source, target)).splitlines():
        assert line.lstrip().startswith("# ") or "  # " in line, line
        assert len(line) <= 120, line


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text("mine")
    assert written(tmp_path) == 2
    assert "policy.yaml: it is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["policy.yaml"]
    assert (tmp_path / "policy.yaml").read_text() == "mine"


def test_the_next_step_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 2
    assert "kubeferry init" in capsys.readouterr().out
    assert run(["init"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: kubeferry doctor"
    assert run(["init", "--folder", "other"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: kubeferry doctor --config other/kubeferry.yaml"


def test_the_address_can_be_given(tmp_path: Path) -> None:
    assert written(tmp_path, "--uri", "qemu+ssh://root@kvm2/system") == 0
    assert read_config(tmp_path / "kubeferry.yaml").sources["libvirt"].uri == "qemu+ssh://root@kvm2/system"


def test_an_address_with_a_quote_stays_one(tmp_path: Path) -> None:
    assert written(tmp_path, "--uri", 'test:///a"b\\c') == 0
    assert read_config(tmp_path / "kubeferry.yaml").sources["libvirt"].uri == 'test:///a"b\\c'


@needs("qemu-img", "qemu-nbd")
def test_doctor_and_plan_take_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exports = tmp_path / "exports"
    exports.mkdir()
    ova.export(exports / "web.ova", "web", [ova.PackedDisk("vmdisk1", "web-disk1.vmdk", 2**20, bytes(2**20))])
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--source", "ova"]) == 0
    assert run(["doctor"]) == 0
    assert "all is well" in capsys.readouterr().out
    for arguments in (["discover"], ["plan", "inventory.yaml", "--policy", "policy.yaml"]):
        assert run(arguments) == 0
    assert "web" in capsys.readouterr().out


def test_for_a_program_the_files_are_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--folder", str(tmp_path), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"written": [str(tmp_path / name) for name in ("kubeferry.yaml", "policy.yaml")]}
