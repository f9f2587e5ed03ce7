"""The bootstrap of a bare machine, as far as it goes without installing anything.

`dpkg-query`, `id`, `apt-get` and `python3.11` are doubles here: they know no package or all but one, say that we are
root or not, and take their time. What they do not do: install, or judge versions. The real thing is what `make demo`
starts with.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubeferry.outside.process import Completed, run

BOOTSTRAP = Path(__file__).resolve().parents[2] / "lab" / "bootstrap"


# One package is missing, apt does something about it, and Python makes a copy of itself.
MISSING = """
case "$*" in *mtools) exit 1 ;; *) echo installed ;; esac
"""
APT = """
case "$*" in
*update*) echo 'Hit:1 bookworm' ;;
*install*) [ -e POLICY ] || exit 9; echo 'Unpacking mtools'; INSTALL ;;
esac
"""
PYTHON = """
case "$*" in
"-m venv "*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
*print*) echo "$0" ;;
esac
"""


def programs(folder: Path, **bodies: str) -> dict[str, str]:
    """The environment in which these programs are found first; `_` in a name stands for `-`."""
    folder.mkdir(exist_ok=True)
    for name, body in bodies.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a user on a machine without any of the packages."""
    return programs(tmp_path, dpkg_query="exit 1", id="echo 1000")


@dataclass(frozen=True)
class Clone:
    """A clone with a bootstrap that keeps its policy file here, and says each second that it moves."""

    folder: Path
    policy: Path
    env: dict[str, str]

    def bootstrap(self) -> Completed:
        return run([str(self.folder / "lab/bootstrap"), "demo"], env=self.env, check=False, timeout=60)


@pytest.fixture
def clone(tmp_path: Path, request: pytest.FixtureRequest) -> Clone:
    policy, folder = tmp_path / "policy-rc.d", tmp_path / "clone"
    apt = APT.replace("POLICY", str(policy)).replace("INSTALL", getattr(request, "param", "sleep 2.5"))
    python = {"python3.11": PYTHON}
    env = programs(tmp_path / "bin", dpkg_query=MISSING, id="echo 0", apt_get=apt, **python)
    (folder / "lab").mkdir(parents=True)
    for name in ("requirements.txt", "pyproject.toml"):
        (folder / name).touch()
    text = (
        BOOTSTRAP.read_text().replace("/usr/sbin/policy-rc.d", str(policy)).replace("TICK_SECONDS=20", "TICK_SECONDS=1")
    )
    script = folder / "lab" / "bootstrap"
    script.write_text(text)
    script.chmod(0o755)
    return Clone(folder, policy, env)


def bootstrap(*arguments: str, env: dict[str, str] | None = None) -> Completed:
    return run([str(BOOTSTRAP), *arguments], env=env, check=False, timeout=60)


def test_without_root_the_exact_line_is_printed(bare: dict[str, str]) -> None:
    done = bootstrap("demo", env=bare)
    assert done.code == 2
    assert "qemu-system-x86: boots the machines" in done.out
    assert "only root can install them" in done.err
    line = next(line for line in done.err.splitlines() if "fix:" in line)
    assert "sudo apt-get update && sudo apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils" in line
    assert "postgresql" not in line


def test_the_tests_ask_for_more_than_the_demo(bare: dict[str, str]) -> None:
    assert "postgresql" in bootstrap("test", env=bare).err


def test_it_must_be_told_what_for() -> None:
    done = bootstrap("everything")
    assert done.code == 2
    assert "lab/bootstrap demo, lab/bootstrap test, or lab/bootstrap cluster" in done.err


def test_each_step_says_how_long_it_took_and_a_long_one_that_it_moves(clone: Clone) -> None:
    done = clone.bootstrap()
    assert done.code == 0, done.err
    steps = dict(re.findall(r"^(\S.*): done in (\d+) s$", done.out, re.MULTILINE))
    assert list(steps) == [
        "asking the mirrors what they have",
        "installing 1 Debian packages",
        f"making .venv with {clone.env['PATH'].split(':')[0]}/python3.11",
        "installing what builds Python packages",
        "installing the locked Python packages",
        "installing kubeferry itself",
    ]
    assert int(steps["installing 1 Debian packages"]) >= 2
    assert re.search(r"^  \d s: Unpacking mtools$", done.out, re.MULTILINE)
    assert "\r" not in done.out
    assert "\033" not in done.out
    assert not clone.policy.exists()


@pytest.mark.parametrize("clone", ["true"], indirect=True)
def test_the_second_time_it_only_looks(clone: Clone) -> None:
    clone.bootstrap()
    (clone.policy.parent / "bin" / "dpkg-query").write_text("#!/bin/sh\necho installed\n")
    done = clone.bootstrap()
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("clone", ["echo 'E: no space' >&2; exit 100"], indirect=True)
def test_a_step_that_fails_shows_what_it_said(clone: Clone) -> None:
    done = clone.bootstrap()
    assert done.code == 2
    assert "Unpacking mtools\nE: no space\nfailed: installing 1 Debian packages: exit code 100 after" in done.err
    assert "fix: Read what it said above" in done.err
    assert "making .venv" not in done.out
    assert not clone.policy.exists()


def test_on_a_terminal_one_line_is_written_over(clone: Clone) -> None:
    ours, its = pty.openpty()
    with subprocess.Popen(
        [str(clone.folder / "lab/bootstrap"), "demo"], env=clone.env, stdout=its, stderr=its
    ) as running:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert running.returncode == 0, shown
    assert re.search(rb"\r\033\[Kinstalling 1 Debian packages: \d s  Unpacking mtools", shown)
    assert b"\r\033[Kinstalling 1 Debian packages: done in" in shown
