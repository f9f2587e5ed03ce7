"""`kubeferry manifests`: rights as the files have them, for any namespace and account, and whole build folders."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import run
from flows.setup.manifests import CONTENT, MOVERS_ACCOUNT, roles
from kubeferry.documents import MoverSettings
from kubeferry.outside.process import run as program

ROOT = Path(__file__).resolve().parents[4]
DEPLOY = ROOT / "deploy"


def of_file(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def printed(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert run(["manifests", *arguments]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def test_the_rights_are_those_of_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    given = {(one["kind"], one["metadata"]["name"]): one for one in printed("-n", "apps", capsys=capsys)}
    files = [*of_file("cluster-role.yaml"), *of_file("namespace-role.yaml")]
    assert set(given) == {(one["kind"], one["metadata"]["name"]) for one in files} | {
        ("ClusterRoleBinding", "kubeferry-apps")
    }
    for one in files:
        assert given[one["kind"], one["metadata"]["name"]].get("rules") == one.get("rules")


def test_each_namespace_gets_its_own_and_the_account_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    documents = printed("-n", "apps", "-n", "shop", "--account", "mover-1", "--file-probes", capsys=capsys)
    assert sum(one["kind"] == "ClusterRole" for one in documents) == 1
    for namespace in ("apps", "shop"):
        own = [one for one in documents if one["metadata"].get("namespace") == namespace]
        assert sorted(one["kind"] for one in own) == [
            *("Role", "Role", "RoleBinding", "RoleBinding", "ServiceAccount", "ServiceAccount")
        ]
        accounts = [one for one in own if one["kind"] == "ServiceAccount"]
        assert [one["metadata"]["name"] for one in accounts] == ["mover-1", "kubeferry-mover"]
        assert [one["automountServiceAccountToken"] for one in accounts] == [False, False]
        who = [{"kind": "ServiceAccount", "name": "mover-1", "namespace": namespace}]
        bound = [one for one in own if one["kind"] == "RoleBinding"]
        bound += [one for one in documents if one["metadata"]["name"] == f"kubeferry-{namespace}"]
        assert [one["subjects"] for one in bound] == [who] * 3
        assert {one["roleRef"]["name"] for one in bound} == {"kubeferry", "kubeferry-file-probes"}


def test_file_probes_are_a_right_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert "pods/exec" not in str(printed("-n", "apps", capsys=capsys))
    assert "pods/exec" in str(printed("-n", "apps", "--file-probes", capsys=capsys))


def test_on_openshift_movers_may_use_their_constraint(capsys: pytest.CaptureFixture[str]) -> None:
    """It is bound to the movers' account in each namespace, and to nobody else; without the option nothing asks for a
    kind that other clusters have not."""
    assert "security.openshift.io" not in str(printed("-n", "apps", capsys=capsys))
    documents = printed("-n", "apps", "-n", "shop", "--account", "own", "--openshift", capsys=capsys)
    (constraint,) = [one for one in documents if one["kind"] == "SecurityContextConstraints"]
    assert constraint["runAsUser"] == {"type": "MustRunAs", "uid": MoverSettings().user}
    assert constraint["metadata"] == {"name": MOVERS_ACCOUNT}
    for namespace in ("apps", "shop"):
        own = [one for one in documents if one["metadata"] == {"name": MOVERS_ACCOUNT, "namespace": namespace}]
        by_kind = {one["kind"]: one for one in own}
        assert set(by_kind) == {"ServiceAccount", "Role", "RoleBinding"}
        assert by_kind["Role"]["rules"] == [
            {
                "apiGroups": ["security.openshift.io"],
                "resources": ["securitycontextconstraints"],
                "resourceNames": [MOVERS_ACCOUNT],
                "verbs": ["use"],
            }
        ]
        who = {"kind": "ServiceAccount", "name": MOVERS_ACCOUNT, "namespace": namespace}
        assert by_kind["RoleBinding"]["subjects"] == [who]


def test_the_comments_stay() -> None:
    said = [line for line in (DEPLOY / "namespace-role.yaml").read_text().splitlines() if line.lstrip().startswith("#")]
    assert set(said) <= set(roles(("apps",)).splitlines())


@pytest.mark.parametrize(
    "arguments", [["-n", "apps}"], ["-n", "Apps"], ["-n", "apps", "--account", "a b"], ["-n", ""], []]
)
def test_what_is_no_name_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["manifests", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "namespace" in told.err or "account" in told.err


@pytest.mark.parametrize("image", CONTENT)
def test_a_build_folder_has_all_that_its_containerfile_takes(image: str, tmp_path: Path) -> None:
    folder = tmp_path / "image"
    assert run(["manifests", f"--{image}", str(folder)]) == 0
    text = (folder / "Containerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) ", text, re.MULTILINE))
    assert copied - {"site"} == {path.name for path in folder.iterdir() if path.is_dir()}, "`site` is build-image's"
    for file in ("Containerfile", "requirements.txt"):
        assert (folder / file).read_bytes() == (DEPLOY / image / file).read_bytes()
    assert (folder / "build-image").stat().st_mode & 0o111
    for package in copied - {"site"}:
        assert (folder / package / "__init__.py").read_bytes() == (ROOT / package / "__init__.py").read_bytes()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Containerfile").write_text("mine")
    assert run(["manifests", "--mover", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("programs", "told"), [({}, "install buildah, podman or docker"), ({"podman": "exit 0"}, "python3 has no pip")]
)
def test_what_an_image_cannot_be_built_without_is_named(programs: dict[str, str], told: str, tmp_path: Path) -> None:
    """The programs are doubles that do nothing; the script is the one of the folder, with nothing else on its path."""
    for name in ("bash", "dirname", "head"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    assert run(["manifests", "--mover", str(tmp_path / "mover")]) == 0
    done = program([str(tmp_path / "mover" / "build-image"), "name"], env={"PATH": str(tmp_path)}, check=False)
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "mover" / "site").exists()


@pytest.mark.parametrize("image", CONTENT)
def test_an_image_has_the_versions_that_were_tested(image: str) -> None:
    def versions(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([a-z][\w.-]*)==(\S+)", path.read_text(), re.MULTILINE))

    tested, inside = versions(ROOT / "requirements.txt"), versions(DEPLOY / image / "requirements.txt")
    assert inside
    assert {name: tested.get(name) for name in inside} == inside, "run `make lock`"


def test_for_a_program_objects_and_folders_are_one_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["manifests", "-n", "apps", "--mover", str(tmp_path / "mover"), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["written"] == {"mover": str(tmp_path / "mover")}
    assert told["objects"] == list(yaml.safe_load_all(roles(("apps",))))
    assert (tmp_path / "mover" / "Containerfile").exists()


def test_a_name_that_is_none_is_refused_before_a_folder_is_written(tmp_path: Path) -> None:
    assert run(["manifests", "-n", "No Name", "--mover", str(tmp_path / "mover")]) == 2
    assert not (tmp_path / "mover").exists()
