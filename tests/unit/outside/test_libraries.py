"""A library that is not there is one line with a command; a fault of ours is not taken for one."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from flows.cli import run
from kubeferry.documents import SourceConfig
from kubeferry.errors import ToolMissing
from kubeferry.outside import aws, libraries
from kubeferry.outside.aws import Access
from kubeferry.sources import open_source

ROOT = Path(__file__).resolve().parents[3]
MODULES = {"libvirt": "libvirt", "vmware": "pyVmomi", "aws": "boto3"}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process where no library of an extra can be imported, nor what was imported with it."""
    for name in list(sys.modules):
        if name.partition(".")[0] in libraries.BY_MODULE or name.startswith("kubeferry.sources."):
            monkeypatch.delitem(sys.modules, name)
    for name in libraries.BY_MODULE:
        monkeypatch.setitem(sys.modules, name, None)
    return monkeypatch


def test_each_library_is_what_its_extra_brings() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought = {
        extra: [re.split("[^a-z0-9-]", one)[0] for one in extras[extra]] for extra in ("libvirt", "vmware", "aws")
    }
    told: dict[str, list[str]] = {}
    for library in sorted(set(libraries.BY_MODULE.values()), key=lambda one: one.project):
        told.setdefault(library.extra, []).append(library.project)
    assert told == brought
    assert extras["all"] == ["kubeferry[libvirt,vmware,aws]"]


@pytest.mark.parametrize("kind", ["libvirt", "vmware"])
def test_a_source_without_its_library(bare: pytest.MonkeyPatch, kind: str) -> None:
    with pytest.raises(ToolMissing, match=rf"is not installed: it comes with the extra `{kind}`") as told:
        open_source("lab", SourceConfig(kind=kind))
    project = libraries.BY_MODULE[MODULES[kind]].project
    assert f"pipx inject kubeferry {project}" in told.value.fix
    assert ("apt-get install libvirt-dev" in told.value.fix) == (kind == "libvirt")


def test_aws_without_boto3(bare: pytest.MonkeyPatch) -> None:
    for ask in (lambda: aws.client("ec2", Access("eu-west-1")), lambda: aws.default_region(None), aws.failures):
        with pytest.raises(ToolMissing, match="boto3 is not installed"):
            ask()


@pytest.mark.parametrize("verb", ["discover", "doctor"])
@pytest.mark.parametrize("kind", MODULES)
def test_the_command_line_says_it_in_a_line(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str, verb: str
) -> None:
    bare.chdir(tmp_path)
    assert run(["init", "--source", kind]) == 0
    capsys.readouterr()
    assert run([verb]) == 2
    told = capsys.readouterr()
    assert "is not installed: it comes with the extra" in told.out + told.err
    assert "pipx inject kubeferry" in told.out + told.err
    assert "Traceback" not in told.out + told.err


def test_a_library_that_lacks_one_of_the_system() -> None:
    def load() -> None:
        with libraries.needed():
            raise ImportError("libvirt.so.0: cannot open shared object file", name="libvirtmod")

    with pytest.raises(ToolMissing, match="cannot be loaded") as told:
        load()
    assert "libvirt.so.0" in told.value.why
    assert told.value.fix == "apt-get install libvirt0"


def test_an_import_of_ours_that_fails_is_let_through() -> None:
    with pytest.raises(ModuleNotFoundError), libraries.needed():
        import kubeferry.nothing  # type: ignore[import-not-found]  # noqa: F401
