"""The wheel as a stranger gets it: built from the tree, installed by pip and by pipx into empty environments, and used.

The libraries come from the package index, as new as the wheel allows. Nothing of the checkout is on the path.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.setup.manifests import roles
from kubeferry import __version__
from kubeferry.sources.memory.source import MemorySource
from lab import ova
from tests.needs import needs
from tests.unit.flows.conftest import CONFIG, a_machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.xdist_group("installed-wheel"),
    needs("qemu-img", "qemu-nbd", "setpriv"),
]
ROOT = Path(__file__).resolve().parents[2]
BUILT_FROM = ("kubeferry", "converters", "mappings", "reports", "flows", "pyproject.toml", "README.md", "LICENSE")
INSTALL_SECONDS = 900
LIBRARIES = {"libvirt": "libvirt-python", "vmware": "pyvmomi", "aws": "boto3"}


@dataclass(frozen=True)
class Installed:
    """A command line that was installed, and what the environment needs beyond the system's."""

    program: Path
    environment: dict[str, str]

    def __call__(self, folder: Path, *arguments: str, code: int = 0, path: str = "") -> str:
        """Run it in a folder; gives what it printed to both streams, without a traceback in it."""
        environment = {**self.environment, "HOME": str(folder)} | ({"PATH": path} if path else {})
        done = ran([str(self.program), *arguments], environment, folder)
        said = done.stdout + done.stderr
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{said[-3000:]}"
        assert "Traceback" not in said
        return said


def ran(argv: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env=environment, cwd=folder, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )


def made(argv: list[str], environment: dict[str, str], folder: Path) -> None:
    done = ran(argv, environment, folder)
    assert done.returncode == 0, f"{argv}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def clean() -> dict[str, str]:
    """Our environment without what leads into the checkout or into another configuration."""
    ours = ("PYTHON", "KUBEFERRY", "PREFECT", "VIRTUAL_ENV", "GOVC", "AWS", "KUBECONFIG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone has, as far as a wheel is made of it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dist = tmp_path_factory.mktemp("dist")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(tree)]
    made(argv, clean(), tree)
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def kubeferry(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installed by pip without any extra."""
    venv = tmp_path_factory.mktemp("environment")
    made([sys.executable, "-m", "venv", str(venv)], clean(), venv)
    made([str(venv / "bin" / "pip"), "install", "--quiet", str(wheel)], clean(), venv)
    return Installed(venv / "bin" / "kubeferry", clean())


@pytest.fixture(scope="module")
def piped(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installed by pipx with README's own line."""
    (line,) = re.findall(r"^pipx install .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    here = tmp_path_factory.mktemp("pipx")
    made([sys.executable, "-m", "venv", str(here / "own")], clean(), here)
    made([str(here / "own" / "bin" / "pip"), "install", "--quiet", "pipx"], clean(), here)
    places = {"PIPX_HOME": here / "home", "PIPX_BIN_DIR": here / "bin", "PIPX_MAN_DIR": here / "man"}
    environment = clean() | {name: str(place) for name, place in places.items()}
    environment["PATH"] = f"{here / 'own' / 'bin'}:{environment['PATH']}"
    made(shlex.split(line, comments=True), environment, tree)
    return Installed(here / "bin" / "kubeferry", environment)


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """A folder to work in, with a machine in `exports`."""
    (tmp_path / "exports").mkdir()
    disk = ova.PackedDisk("vmdisk1", "web-disk1.vmdk", 2**20, os.urandom(2**20))
    ova.export(tmp_path / "exports" / "web.ova", "web", [disk])
    return tmp_path


def test_it_says_who_it_is_and_what_it_can(kubeferry: Installed, tmp_path: Path) -> None:
    assert kubeferry(tmp_path, "--version") == f"kubeferry, version {__version__}\n"
    assert "migrate" in kubeferry(tmp_path, "--help")
    assert json.loads(kubeferry(tmp_path, "schema"))["Plan"]["properties"]


def test_the_first_minutes_with_exported_machines(kubeferry: Installed, exports: Path) -> None:
    kubeferry(exports, "init", "--source", "ova")
    assert "all is well" in kubeferry(exports, "doctor")
    kubeferry(exports, "discover")
    kubeferry(exports, "assess", "inventory.yaml", "--policy", "policy.yaml")
    kubeferry(exports, "plan", "inventory.yaml", "--policy", "policy.yaml")
    assert "all is well" in kubeferry(exports, "doctor", "plan.yaml")
    assert "commit" in kubeferry(exports, "migrate", "plan.yaml", "--dry-run")


def test_a_machine_is_moved_and_reported(kubeferry: Installed, tmp_path: Path) -> None:
    """With Prefect's server of its own, from the versions that the index has now. Source and target are doubles: no
    disk boots here, but bytes are moved and compared."""
    disk = tmp_path / "source" / "web.img"
    disk.parent.mkdir()
    disk.write_bytes(os.urandom(2**20))
    MemorySource("lab", disk.parent).write_machines(a_machine("web", disk))
    (tmp_path / "kubeferry.yaml").write_text(CONFIG.format(folder=tmp_path))
    kubeferry(tmp_path, "discover")
    kubeferry(tmp_path, "plan", "inventory.yaml")
    kubeferry(tmp_path, "migrate", "plan.yaml")
    machines = json.loads(kubeferry(tmp_path, "status", "plan.yaml", "--json"))["machines"]
    assert [(one["machine"], one["phase"]) for one in machines] == [("web", "committed")]
    kubeferry(tmp_path, "report", "plan.yaml", "--out", "report")
    assert sorted(path.suffix for path in (tmp_path / "report").glob("report.*")) == [".html", ".json", ".md"]


@pytest.mark.parametrize("kind", LIBRARIES)
def test_a_source_whose_extra_is_not_there(kubeferry: Installed, tmp_path: Path, kind: str) -> None:
    kubeferry(tmp_path, "init", "--source", kind)
    for verb in ("discover", "doctor"):
        said = kubeferry(tmp_path, verb, code=2)
        assert f"{LIBRARIES[kind]} is not installed: it comes with the extra `{kind}`" in said
        assert f"pipx inject kubeferry {LIBRARIES[kind]}" in said
    assert f"source.{kind}.unusable" in said
    assert "target." not in said, "the rest was looked at, and is well"


def test_programs_that_are_not_there(kubeferry: Installed, exports: Path) -> None:
    kubeferry(exports, "init", "--source", "ova")
    said = kubeferry(exports, "doctor", code=2, path="/nowhere")
    assert "qemu-img is not installed" in said
    assert "apt-get install qemu-utils" in said


def test_roles_and_folders_come_with_the_wheel(kubeferry: Installed, tmp_path: Path) -> None:
    assert kubeferry(tmp_path, "manifests", "-n", "apps", "--file-probes") == roles(("apps",), file_probes=True)
    kubeferry(tmp_path, "manifests", "--mover", "mover", "--control-plane", "control-plane", "--install", "install")
    for path in (path for path in (ROOT / "deploy" / "install").rglob("*") if path.is_file()):
        assert (tmp_path / "install" / path.relative_to(ROOT / "deploy" / "install")).read_bytes() == path.read_bytes()
    for image in ("mover", "control-plane"):
        given = ROOT / "deploy"
        for name in ("Containerfile", "requirements.txt"):
            assert (tmp_path / image / name).read_bytes() == (given / image / name).read_bytes()
        assert (tmp_path / image / "build-image").read_bytes() == (given / "build-image").read_bytes()
        assert os.access(tmp_path / image / "build-image", os.X_OK)
        assert (tmp_path / image / "converters" / "mover" / "__main__.py").exists()


@needs("pkg-config", "gcc")
def test_pipx_with_an_extra_and_what_doctor_says_to_add(piped: Installed, tmp_path: Path) -> None:
    assert __version__ in piped(tmp_path, "--version")
    piped(tmp_path, "init", "--uri", "test:///default")  # libvirt's own driver for tests: it needs no daemon
    assert "all is well" in piped(tmp_path, "doctor")
    assert "test" in piped(tmp_path, "discover")
    for kind, missing in (("vmware", "GOVC_USERNAME"), ("aws", "region")):
        folder = tmp_path / kind
        folder.mkdir()
        piped(folder, "init", "--source", kind)
        assert f"pipx inject kubeferry {LIBRARIES[kind]}" in piped(folder, "doctor", code=2)
        made(["pipx", "inject", "kubeferry", LIBRARIES[kind]], piped.environment, folder)
        said = piped(folder, "doctor", code=2)
        assert "is not installed" not in said
        assert missing in said, "the next thing that is missing: it is looked for with the library"
