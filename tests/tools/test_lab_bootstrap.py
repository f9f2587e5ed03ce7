"""The bootstrap of a bare machine, as far as it goes without installing anything.

`dpkg-query` and `id` are doubles here: the first knows no package, the second says that we are not root. What they do
not do: install, or judge versions. The real thing is what `make demo` starts with.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubeferry.outside.process import Completed, run

BOOTSTRAP = Path(__file__).resolve().parents[2] / "lab" / "bootstrap"


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a user on a machine without any of the packages."""
    for name, body in {"dpkg-query": "exit 1", "id": "echo 1000"}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


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
