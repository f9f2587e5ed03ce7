"""The command line as a whole: instant help, exit codes, the verbs in the order of their use."""

from __future__ import annotations

import inspect
import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from flows.cli import VERBS, cli, run
from kubeferry import __version__
from kubeferry.documents import (
    Inventory,
    Plan,
    load,
)
from kubeferry.errors import KubeferryError
from kubeferry.outside.process import run as program
from kubeferry.sources.memory.source import MemorySource
from tests.needs import needs
from tests.unit.flows.conftest import a_machine

ROOT = Path(__file__).resolve().parents[4]
PYTHON = sys.executable
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
        """The seconds of a processor: those on the clock tell of whoever else is at work on this machine, too."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program([str(ROOT / ".venv/bin/python"), "-m", "flows", "--help"], cwd=ROOT, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(took() for _ in range(3)) < 1.5


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
    assert stands["machines"][0].pop("projected")["downtime"] is None
    assert stands["machines"][0] | {"why": ""} == {
        "machine": "web",
        "phase": "planned",
        "failed": "",
        "next": "record-plan",
        "why": "",
        "source": {"power": "off", "at": made["createdAt"], "offSince": None},
        "lease": None,
        "progress": None,
        "waitsFor": [],
    }
    assert stands["open"] == []


def test_tables_for_people(kubeferry: Command) -> None:
    for arguments in (["discover"], ["assess", "inventory.yaml"], ["plan", "inventory.yaml"], ["status", "plan.yaml"]):
        code, out, err = kubeferry(*arguments)
        assert (code, err) == (0, ""), arguments
        assert "web" in out


# --- how it behaves --------------------------------------------------------------------------------------------------


def test_without_a_verb_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    bare = capsys.readouterr()
    assert run(["--help"]) == 0
    assert (bare.out, bare.err) == (capsys.readouterr().out, "")


def test_it_knows_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"kubeferry, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["stats", "plan.yaml"], "Did you mean 'status'"),
        (["migrat"], "Did you mean 'migrate'"),
        (["fly"], "`kubeferry --help` lists them"),
        (["status", "plan.yaml", "--confg", "x"], "--config"),
    ],
)
def test_what_was_meant_is_asked(arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert meant in capsys.readouterr().err


def test_an_unknown_machine_is_asked_about_by_a_similar_name(kubeferry: Command) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    code, _, err = kubeferry("migrate", "plan.yaml", "-m", "wbe", "--dry-run")
    assert (code, "Did you mean 'web'?" in err) == (2, True)
    code, _, err = kubeferry("discover", "-m", "webb")
    assert (code, "Did you mean 'web'?" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["fly", "--json"], "InputInvalid"),
        (["report", "--json"], "InputInvalid"),
        (["status", "gone.yaml", "--json"], "InputInvalid"),
        (["verify", "gone.img", "--json"], "SourceRefused"),
    ],
)
def test_for_a_program_an_error_is_one_line_of_json_on_standard_error(
    kubeferry: Command, arguments: list[str], kind: str
) -> None:
    code, out, err = kubeferry(*arguments)
    told = json.loads(err)["error"]
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told["exitCode"] == 2
    assert told["what"]
    assert told["kind"] == kind or arguments[0] == "verify"


def test_an_error_for_a_program_has_each_problem_with_its_place(kubeferry: Command, estate: Path) -> None:
    (estate / "plan.yaml").write_text("kind: Policy\n")
    told = json.loads(kubeferry("status", "plan.yaml", "--json")[2])["error"]
    assert {problem["where"] for problem in told["problems"]} == {"plan.yaml:1"}
    assert all(problem["fix"] for problem in told["problems"])


def test_what_stands_after_two_dashes_is_no_option(kubeferry: Command) -> None:
    assert kubeferry("status", "--", "--json")[2].startswith("failed: --json cannot be read")


@pytest.mark.parametrize("arguments", [["-v", "status", "plan.yaml"], ["status", "-v", "plan.yaml"]])
def test_verbose_works_on_both_sides_of_the_verb(kubeferry: Command, arguments: list[str]) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    code, out, err = kubeferry(*arguments)
    assert (code, "web" in out) == (0, True)
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z DEBUG \S+ reads plan.yaml", err, re.MULTILINE)
    assert len(set(err.splitlines())) == len(err.splitlines()), "each line once"
    assert kubeferry("status", "plan.yaml")[2] == "", "and ends with the command"


def test_every_verb_takes_verbose_and_json() -> None:
    for verb in VERBS:
        names = {option for param in command_of(verb).params for option in param.opts}
        assert {"--json", "--verbose", "-v"} <= names, verb


@needs("script")
def test_no_color_is_kept_to_on_a_terminal(estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of its own, as `script` gives one: colours without NO_COLOR, none with it."""
    doctor = ["script", "-qec", f"{PYTHON} -m flows doctor", "/dev/null"]
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in program(doctor, cwd=estate, env={"PYTHONPATH": str(ROOT)}).out
    plain = program(doctor, cwd=estate, env={"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}).out
    assert ("\x1b[" in plain, "all is well" in plain) == (False, True)


# --- what it waits for -----------------------------------------------------------------------------------------------

HEAVY = ("prefect", "fastapi", "boto3", "botocore", "pyVmomi", "kubernetes", "libvirt", "jinja2", "rich", "moto")


@pytest.mark.parametrize(
    ("arguments", "besides"),
    [
        (["--help"], ("sqlalchemy", "pydantic", "yaml", "kubeferry.documents", "mappings")),
        (["--version"], ("sqlalchemy", "pydantic", "yaml", "kubeferry.documents", "mappings")),
        (["schema", "Plan"], ("sqlalchemy", "mappings.assessment")),
        (["verify", "--help"], ("sqlalchemy", "mappings")),
        (["status", "plan.yaml"], ("mappings", "reports", "psycopg", "sqlalchemy.dialects.postgresql")),
    ],
)
def test_nothing_heavy_is_imported_by_what_does_not_use_it(
    kubeferry: Command, estate: Path, arguments: list[str], besides: tuple[str, ...]
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    code = (
        "import sys; from flows.cli import run; code = run(sys.argv[1:]); "
        f"heavy = {set(HEAVY + besides)!r} & set(sys.modules); sys.exit(f'imported: {{heavy}}' if heavy else code)"
    )
    program([PYTHON, "-c", code, *arguments], cwd=estate, env={"PYTHONPATH": str(ROOT)}, timeout=60)


# --- completion ------------------------------------------------------------------------------------------------------


def completed(folder: Path, line: str) -> list[str]:
    """What a bash offers for the last word of a line, by click's own way."""
    words = line.split(" ")
    env = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_KUBEFERRY_COMPLETE": "bash_complete"}
    out = program([PYTHON, "-m", "flows"], cwd=folder, env={"PYTHONPATH": str(ROOT), **env}).out
    return [one.partition(",")[2] for one in out.splitlines() if one]


def test_verbs_options_and_machines_of_the_plan_are_completed(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    assert completed(estate, "kubeferry re") == ["rehearse", "release", "report", "repair"]
    assert completed(estate, "kubeferry migrate plan.yaml --ag") == ["--again"]
    assert completed(estate, "kubeferry migrate plan.yaml -m w") == ["web"]
    assert completed(estate, "kubeferry migrate gone.yaml -m w") == []


def test_the_shell_s_script_is_given_under_the_documented_name(estate: Path) -> None:
    env = {"PYTHONPATH": str(ROOT), "_KUBEFERRY_COMPLETE": "bash_source"}
    assert "complete -o nosort -F _kubeferry_completion kubeferry" in program([PYTHON, "-m", "flows"], env=env).out


# --- what goes wrong around it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("discover", "--out"),
        ("plan", "inventory.yaml", "--out"),
        ("assess", "inventory.yaml", "--out"),
        ("init", "--folder"),
        ("manifests", "--mover"),
        ("report", "plan.yaml", "--out"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_to_people_and_programs(
    kubeferry: Command, estate: Path, arguments: tuple[str, ...]
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    (estate / "file").write_text("in the way")
    code, out, err = kubeferry(*arguments, "file/there/x")
    assert (code, err.startswith("failed: "), "file/there" in err) == (2, True, True), err
    assert "Not a directory" in err
    code, out, err = kubeferry(*arguments, "file/there/x", "--json")
    told = json.loads(err.splitlines()[-1])["error"]
    assert (told["exitCode"], told["why"].endswith("Not a directory")) == (2, True)
    assert all("event" in json.loads(line) for line in out.splitlines()), "no result"


def test_a_defect_is_told_to_programs_too(kubeferry: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("flows.cli.planning.json_schema", broken)
    code, out, err = kubeferry("schema", "Plan", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"]["what"] == "a defect: ZeroDivisionError: by nothing"
    monkeypatch.setenv("KUBEFERRY_DEBUG", "1")
    with pytest.raises(KubeferryError, match="a defect") as told:
        run(["schema", "Plan"])
    assert isinstance(told.value.__cause__, ZeroDivisionError)


def test_a_machine_s_name_commands_no_terminal(kubeferry: Command, estate: Path) -> None:
    name = "web\x1b[2J\n\u202e[/old]{0}"
    MemorySource("lab", estate / "source").write_machines(a_machine(name, estate / "source" / "web.img"))
    (estate / "policy.yaml").write_text("apiVersion: kubeferry.io/v1alpha1\nkind: Policy\nnetworks: []\n")
    said = ""
    for line in (
        "discover",
        "assess inventory.yaml",
        "plan inventory.yaml",
        "status plan.yaml",
        "migrate plan.yaml --dry-run",
        "migrate plan.yaml -m wbe",
    ):
        code, out, err = kubeferry(*line.split())
        assert code == (2 if "wbe" in line else 0), err
        assert "web\ufffd[2J" in (said := out + err), line
        assert not {"\x1b", "\u202e"} & set(said), line
