"""Configurations: where they are found and how they are read; waits; errors in words."""

from pathlib import Path

import pytest

from kubeferry.config import find_config, pick_source, read_config
from kubeferry.errors import InputInvalid, IntegrityFailed, Interrupted
from kubeferry.outside import stopping

CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources:
  lab: {kind: libvirt}
  old: {kind: libvirt, uri: "qemu+ssh://host/system"}
target: {kind: directory, path: out}
"""


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(CONFIG)
    config = read_config(path)
    assert config.target.path == str(tmp_path / "out")
    assert config.journal.url == f"sqlite:///{tmp_path}/kubeferry.db"


def test_other_journals_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(CONFIG + "journal: {url: 'postgresql+psycopg://ferry@db/journal', passwordEnv: FERRY_DB}\n")
    assert read_config(path).journal.url == "postgresql+psycopg://ferry@db/journal"


def test_the_source_is_named_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(CONFIG)
    config = read_config(path)
    assert config.members(pick_source(config, "old"))["old"].uri == "qemu+ssh://host/system"
    with pytest.raises(InputInvalid, match="several sources"):
        pick_source(config, None)
    with pytest.raises(InputInvalid, match=r"Name one of: lab, old"):
        pick_source(config, "prod")
    with pytest.raises(InputInvalid) as refused:
        pick_source(config, "prod")
    assert str(refused.value).count("prod") == 1  # told once


def test_the_environment_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config(None) == Path("kubeferry.yaml")
    monkeypatch.setenv("KUBEFERRY_CONFIG", "/etc/kubeferry.yaml")
    assert find_config(None) == Path("/etc/kubeferry.yaml")
    assert find_config(Path("own.yaml")) == Path("own.yaml")


def test_a_wait_ends_when_somebody_asks_to_stop() -> None:
    stopping.pause(0)
    stopping.request()
    try:
        with pytest.raises(Interrupted):
            stopping.pause(60)
    finally:
        stopping.reset()


def test_an_error_speaks_to_a_person() -> None:
    error = IntegrityFailed("block 3 differs", why="the disk was written", fix="run verify", machine="db", disk="vda")
    assert str(error) == "db/vda: block 3 differs\n  why: the disk was written\n  fix: run verify"


def test_a_kubeconfig_counts_from_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(CONFIG.replace("{kind: directory, path: out}", "{kind: kubevirt, kubeconfig: tenant.yaml}"))
    assert read_config(path).target.kubeconfig == str(tmp_path / "tenant.yaml")
    path.write_text(CONFIG.replace("{kind: directory, path: out}", "{kind: kubevirt}"))
    assert read_config(path).target.kubeconfig is None


ESTATE = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources:
  hv1: {kind: libvirt, uri: "qemu+ssh://hv1/system"}
  hv2: {kind: libvirt, uri: "qemu+ssh://hv2/system"}
  vc: {kind: vmware}
target: {kind: directory, path: out}
"""


def test_an_estate_is_several_sources_by_one_name(tmp_path: Path) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(ESTATE + "estates: {hvs: [hv1, hv2], all: [vc, hv1, hv2]}\n")
    config = read_config(path)
    assert list(config.members("hvs")) == ["hv1", "hv2"]
    assert list(config.members("vc")) == ["vc"]
    assert config.members("nobody") == {}
    assert [config.is_estate(name) for name in ("all", "vc")] == [True, False]
    assert pick_source(config, None) == "all"
    assert pick_source(config, "hvs") == "hvs"
    path.write_text(ESTATE + "estates: {hvs: [hv1, hv2]}\n")
    with pytest.raises(InputInvalid, match="several sources") as refused:
        pick_source(read_config(path), None)
    assert "hv1, hv2, hvs, vc" in refused.value.fix


@pytest.mark.parametrize(
    ("estates", "says"),
    [
        ("{hv1: [hv2]}", "a source is called hv1, too"),
        ("{all: [hv1, hv9]}", "no source is called hv9"),
        ("{all: [hv1, hv1]}", "a source is named twice"),
        ("{all: []}", "all"),
    ],
)
def test_an_estate_of_what_is_not_there_is_refused(tmp_path: Path, estates: str, says: str) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(f"{ESTATE}estates: {estates}\n")
    with pytest.raises(InputInvalid, match=says):
        read_config(path)
