"""The commands of Prefect that an operator types, with the versions that are locked, against a server."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from kubeferry.outside.process import run
from tests.runs.conftest import ROOT

# In one interpreter: each would need seconds to import what it has.
TYPED = """
import contextlib, io, json, sys
from prefect.cli import app
codes = {}
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            sys.argv[1:] = words
            app()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        except Exception as error:
            code = repr(error)
    codes[" ".join(words)] = [code, said.getvalue()[-300:]]
print(json.dumps(codes))
"""
LISTS = ("deployment", "flow-run", "flow", "work-pool", "work-queue", "automation", "block", "artifact", "variable")


@pytest.mark.timeout(120)
def test_what_an_operator_types_works_with_the_locked_versions(server: str, small: Any) -> None:
    words = [[one, "ls"] for one in LISTS]
    words += [["work-pool", "create", "--type", "process", "cutover"], ["work-pool", "inspect", "cutover"]]
    words += [
        ["--no-prompt", "deploy", f"{ROOT}/flows/programme/asking.py:discover", "--name", "asked", "--pool", "cutover"]
    ]
    words += [["deployment", "inspect", "discover/asked"], ["deployment", "delete", "discover/asked"]]
    words += [["--no-prompt", "work-pool", "delete", "cutover"]]
    done = run([sys.executable, "-c", TYPED, json.dumps(words)], cwd=small.folder, timeout=100, check=False)
    assert done.code == 0, done.err
    codes = json.loads(done.out.splitlines()[-1])
    assert {line: told for line, told in codes.items() if told[0] != 0} == {}
