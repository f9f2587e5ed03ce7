"""What CI runs, up to its last line: whether the real KubeVirt was there.

`make` and `kubectl` are doubles here: the first says what it was asked for and which folder of KubeVirt it got, the
second knows a cluster's kinds and phases. What they do not do: run anything.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kubeferry.outside.process import Completed, run

ROOT = Path(__file__).resolve().parents[2]
MAKE = """
echo "make $1 with ${KUBEFERRY_LAB_KUBEVIRT:-none}"
[ "$1" != test-cluster ] || CLUSTER
"""
KUBECTL = """
case "$*" in
*' crd '*) echo KINDS ;;
*) echo Deployed PHASE ;;
esac
"""
TINY = """
def test_with_kubevirt(kubevirt):
    assert kubevirt.kubevirt
"""


def double(folder: Path, name: str, body: str) -> dict[str, str]:
    """An environment in which this program is found first, and home is `folder`."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "XDG_"))}
    return kept | {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}


def ci(folder: Path, cluster: str, **more: str) -> Completed:
    """CI on a clone that has nothing but this script."""
    script = folder / "clone" / ".ci" / "run"
    script.parent.mkdir(parents=True)
    script.write_text((ROOT / ".ci" / "run").read_text())
    env = double(folder, "make", MAKE.replace("CLUSTER", cluster)) | more
    return run(["env", "-i", *(f"{name}={value}" for name, value in env.items()), "bash", str(script)], check=False)


@pytest.mark.parametrize("seen", ["KubeVirt: the real one ran, on the lab's node", "KubeVirt: skipped, there is none"])
def test_the_last_line_says_whether_kubevirt_ran(tmp_path: Path, seen: str) -> None:
    done = ci(tmp_path, f'echo "{seen}"')
    assert done.code == 0, done.err
    assert done.out.splitlines()[-2:] == ["make lab-down with none", seen]


@pytest.mark.parametrize(
    ("cluster", "seen"),
    [
        ("exit 7", "KubeVirt: the tests did not come to it"),
        ("{ echo 'KubeVirt: the real one ran'; exit 7; }", "KubeVirt: the real one ran"),
    ],
)
def test_tests_that_failed_fail_ci_and_the_line_is_there_too(tmp_path: Path, cluster: str, seen: str) -> None:
    done = ci(tmp_path, cluster)
    assert done.code != 0
    assert done.out.splitlines()[-2:] == ["make lab-down with none", seen]


@pytest.mark.parametrize("cache", [".cache", "elsewhere"])
def test_the_folder_of_the_user_is_taken_where_there_is_one(tmp_path: Path, cache: str) -> None:
    folder = tmp_path / cache / "kubeferry" / "lab-kubevirt"
    folder.mkdir(parents=True)
    more = {} if cache == ".cache" else {"XDG_CACHE_HOME": str(tmp_path / cache)}
    assert f"make test-cluster with {folder}" in ci(tmp_path, "true", **more).out


def test_one_that_was_named_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".cache" / "kubeferry" / "lab-kubevirt").mkdir(parents=True)
    assert "make test-cluster with /named" in ci(tmp_path, "true", KUBEFERRY_LAB_KUBEVIRT="/named").out


@pytest.mark.parametrize(
    ("kinds", "phase", "says"),
    [
        ("kubevirts cdis", "Deployed", "KubeVirt: the real one ran, on KUBECONFIG's cluster"),
        ("kubevirts cdis", "Deploying", "KubeVirt: skipped, the cluster has none"),
        ("", "", "KubeVirt: skipped, the cluster has none"),
    ],
)
def test_the_tests_on_a_cluster_say_what_they_met(tmp_path: Path, kinds: str, phase: str, says: str) -> None:
    tiny = tmp_path / "test_tiny.py"
    tiny.write_text(TINY)
    env = double(tmp_path, "kubectl", KUBECTL.replace("KINDS", kinds).replace("PHASE", phase))
    env |= {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "tests.cluster.conftest", "-p", "no:cacheprovider", str(tiny)]
    done = run(command, env=env, cwd=tmp_path, check=False)
    assert done.code == 0, done.out
    assert says in done.out.splitlines()
