"""The command line as a whole: instant help, exit codes, the verbs in the order of their use."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from flows.cli import VERBS, cli, run
from kubeferry.documents import (
    Inventory,
    Plan,
    load,
)
from kubeferry.outside.process import run as program

ROOT = Path(__file__).resolve().parents[4]
Command = Callable[..., tuple[int, str, str]]


def command_of(verb: str) -> click.Command:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return command


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_says_what_the_verb_says_of_itself(verb: str) -> None:
    first = inspect.cleandoc(command_of(verb).help or "").split("\n\n")[0].splitlines()[0]
    assert VERBS[verb][1] == first
    assert command_of(verb).name == verb


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert VERBS[verb][1].split()[0] in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_each_option_says_what_it_is_for(verb: str) -> None:
    plain = {"help", "workers", "algorithm", "port"}  # these show their default or choices
    options = [option for option in command_of(verb).params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help and option.name not in plain] == []


def test_help_does_not_wait_for_prefect() -> None:
    imported = (
        "import sys; from flows.cli import run, VERBS; codes = [run([v, '--help']) for v in VERBS];"
        "assert not any(codes), codes; heavy = {'prefect', 'libvirt', 'fastapi'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    program([str(ROOT / ".venv/bin/python"), "-W", "error", "-c", imported], cwd=ROOT, timeout=60)


def test_help_answers_at_once() -> None:
    def took() -> float:
        began = time.monotonic()
        program([str(ROOT / ".venv/bin/python"), "-m", "flows", "--help"], cwd=ROOT, timeout=60)
        return time.monotonic() - began

    assert min(took() for _ in range(3)) < 2.0


def test_the_verbs_are_listed_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    places = [out.index(f"\n  {verb} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "arguments", [["fly"], ["migrate"], ["plan", "--colour"], ["schema", "Nothing"], ["copy", "a"]]
)
def test_what_cannot_be_understood_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["status", "plan.yaml"], ["plan", "gone.yaml"], ["discover", "-c", "gone.yaml"]])
def test_a_file_that_is_not_there_is_named(kubeferry: Command, arguments: list[str]) -> None:
    code, _, err = kubeferry(*arguments)
    assert code == 2
    assert arguments[-1] in err
    assert err.startswith("failed: ")


def test_an_unexpected_error_can_be_seen_whole(estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEFERRY_DEBUG", "1")
    from kubeferry.errors import InputInvalid

    with pytest.raises(InputInvalid):
        run(["plan", "gone.yaml"])


def test_discover_assess_plan_status(kubeferry: Command, printed_json: Callable[..., Any], estate: Path) -> None:
    assert [one["name"] for one in printed_json("discover", "--json")["machines"]] == ["web"]
    assert load(estate / "inventory.yaml", Inventory).machines[0].name == "web"
    assessed = printed_json("assess", "inventory.yaml", "--json")
    assert assessed[0]["name"] == "web"
    assert (estate / "assessment" / "web" / "README.md").exists()
    made = printed_json("plan", "inventory.yaml", "--json")
    assert load(estate / "plan.yaml", Plan).digest == made["digest"]
    stands = printed_json("status", "plan.yaml", "--json")
    assert stands["machines"][0] | {"why": ""} == {
        "machine": "web",
        "phase": "planned",
        "failed": "",
        "next": "record-plan",
        "why": "",
    }
    assert stands["open"] == []


def test_tables_for_people(kubeferry: Command) -> None:
    for arguments in (["discover"], ["assess", "inventory.yaml"], ["plan", "inventory.yaml"], ["status", "plan.yaml"]):
        code, out, err = kubeferry(*arguments)
        assert (code, err) == (0, ""), arguments
        assert "web" in out
