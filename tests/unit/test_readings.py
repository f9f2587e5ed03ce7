"""A large plan is read once; what is kept of that is believed only where it is the plan that the file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.commands import a_machine
from kubeferry.documents import (
    Inventory,
    MachinePolicy,
    Plan,
    Policy,
    dump,
    files,
    freeze,
    load,
    load_outline,
    outline,
    parse,
    readings,
    save,
)
from kubeferry.documents.lines import NotLines, outline_of, plan_of, to_lines
from kubeferry.errors import InputInvalid
from mappings.plan import make_plan


@pytest.fixture(autouse=True)
def _every_plan_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE_PLAN", 0)


def plan(name: str = "p") -> Plan:
    made_at = "2026-01-01T00:00:00Z"
    return freeze(Plan(name=name, created_at=made_at, source="lab", inventory_digest="", waves=(), entries=()))


def write(made: Plan, path: Path) -> None:
    """As somebody else did it: nothing is kept of it."""
    path.write_text(made.model_dump_json(by_alias=True, indent=1) if path.suffix == ".json" else dump(made))


def kept(folder: Path) -> list[Path]:
    return sorted((folder / ".kubeferry" / "readings").glob("*"))


@pytest.fixture
def moved() -> Plan:
    """Three machines, one of which stays off, and one that is left out."""
    machines = tuple(a_machine(number) for number in range(4))
    inventory = Inventory(source="lab", source_kind="memory", observed_at="", machines=machines)
    names = [machine.name for machine in machines]
    choices = {names[1]: MachinePolicy(run_strategy="Halted", mode="cold"), names[3]: MachinePolicy(include=False)}
    return make_plan(inventory, Policy(machines=choices), name="lab", created_at="2026-01-01T00:00:00Z")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of documents that were read as YAML."""
    names: list[str] = []
    real = files.parse_yaml

    def told(text: str, name: str) -> object:
        names.append(name)
        return real(text, name)

    monkeypatch.setattr(files, "parse_yaml", told)
    return names


@pytest.mark.parametrize("name", ["plan.yaml", "plan.json"])
def test_the_second_reading_is_the_first_one_s(tmp_path: Path, parsed: list[str], name: str) -> None:
    write(plan(), tmp_path / name)
    assert load(tmp_path / name, Plan) == load(tmp_path / name, Plan) == plan()
    assert parsed == [str(tmp_path / name)]
    assert len(kept(tmp_path)) == 1


def test_a_plan_that_was_edited_is_refused_as_ever(tmp_path: Path, parsed: list[str]) -> None:
    path = tmp_path / "plan.yaml"
    write(plan(), path)
    load(path, Plan)
    path.write_text(path.read_text().replace("source: lab", "source: prod"))
    for _ in range(2):
        with pytest.raises(InputInvalid, match="changed after it was made"):
            load(path, Plan)
    assert len(parsed) == 3
    assert len(kept(tmp_path)) == 1, "what is refused is not kept"


def test_a_key_twice_is_refused_with_its_line_though_the_plan_was_read_before(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write(plan(), path)
    load(path, Plan)
    text = path.read_text() + "name: p\n"
    path.write_text(text)
    with pytest.raises(InputInvalid, match=rf"plan.yaml:{len(text.splitlines())}: 'name' is there twice"):
        load(path, Plan)


@pytest.mark.parametrize("content", ["", "{}", "no json", None])
def test_a_reading_that_was_damaged_is_none(tmp_path: Path, parsed: list[str], content: str | None) -> None:
    path = tmp_path / "plan.yaml"
    write(plan(), path)
    load(path, Plan)
    (reading,) = kept(tmp_path)
    changed = reading.read_text().replace('"source":"lab"', '"source":"prod"')
    reading.write_text(changed if content is None else content)
    assert load(path, Plan) == plan()
    assert len(parsed) == 2
    assert load(path, Plan) == plan()
    assert len(parsed) == 2, "and is written anew"


def test_another_plan_s_reading_is_not_believed(tmp_path: Path, parsed: list[str]) -> None:
    """It is whole, but it is not what the file says."""
    path = tmp_path / "plan.yaml"
    write(plan(), path)
    load(path, Plan)
    kept(tmp_path)[0].write_text("\n".join(to_lines(plan("other"))))
    assert load(path, Plan) == plan()
    assert len(parsed) == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    write(plan(), tmp_path / "plan.yaml")
    (tmp_path / ".kubeferry").write_text("a file")
    assert load(tmp_path / "plan.yaml", Plan) == plan()


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    for number in range(readings.KEPT + 3):
        write(plan(f"p{number}"), tmp_path / "plan.yaml")
        load(tmp_path / "plan.yaml", Plan)
    assert len(kept(tmp_path)) == readings.KEPT


def test_of_a_small_plan_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE_PLAN", 64 * 1024)
    write(plan(), tmp_path / "plan.yaml")
    load(tmp_path / "plan.yaml", Plan)
    assert kept(tmp_path) == []


def test_a_plan_of_two_digests_has_no_reading(tmp_path: Path) -> None:
    """One of them in a text that a person skips: what was kept may be the plan of that one."""
    path = tmp_path / "plan.yaml"
    other = plan("other")
    write(plan(), path)
    path.write_text(path.read_text().replace("sourceVersion: ''", f"sourceVersion: |\n digest: {other.digest}"))
    assert path.read_text().count("digest: ") == 2
    readings.keep(readings.text_of(path), to_lines(other))
    with pytest.raises(InputInvalid, match="changed after it was made"):
        load(path, Plan)


def test_what_is_not_ours_stays_in_the_folder(tmp_path: Path) -> None:
    others = [tmp_path / "elsewhere" / f"{number}.jsonl" for number in range(readings.KEPT + 3)]
    others[0].parent.mkdir()
    for other in others:
        other.write_text("{}")
    (tmp_path / ".kubeferry").mkdir()
    (tmp_path / ".kubeferry" / "readings").symlink_to(others[0].parent)
    write(plan(), tmp_path / "plan.yaml")
    load(tmp_path / "plan.yaml", Plan)
    assert all(other.exists() for other in others)


# --- lines -----------------------------------------------------------------------------------------------------------


def test_what_is_written_here_is_not_read_as_yaml_at_all(tmp_path: Path, parsed: list[str], moved: Plan) -> None:
    save(moved, tmp_path / "plan.yaml")
    assert load(tmp_path / "plan.yaml", Plan) == moved
    assert parsed == []


def test_lines_are_a_plan_document_and_prove_themselves(moved: Plan) -> None:
    lines = [f"{line}\n".encode() for line in to_lines(moved)]
    assert len(lines) == len(moved.entries) + 4
    assert parse(b"".join(lines).decode(), Plan) == plan_of(lines) == moved


@pytest.mark.parametrize("number", range(6))
def test_lines_that_were_changed_are_none(moved: Plan, number: int) -> None:
    """Whichever line it is, and however little: also what an outline does not hold."""
    lines = [line.encode() for line in to_lines(moved)]
    for place in range(0, len(lines[number]), 7):
        line = lines[number]
        changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        for read in (plan_of, outline_of):
            with pytest.raises(NotLines):
                read([*lines[:number], changed, *lines[number + 1 :]])


def test_lines_that_are_missing_or_too_many_are_none(moved: Plan) -> None:
    lines = [line.encode() for line in to_lines(moved)]
    for changed in ([], lines[:-1], lines[:4] + lines[5:], [*lines, b""], lines[:2], lines * 2):
        with pytest.raises(NotLines):
            plan_of(changed)


def test_an_outline_is_the_plan_without_what_is_applied(tmp_path: Path, moved: Plan, parsed: list[str]) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(f"# with a word of somebody else's\n{dump(moved)}")
    first = load_outline(path)
    assert first == load_outline(path) == outline(moved)
    assert parsed == [str(path)], "read once"
    assert (first.digest, first.waves, first.excluded) == (moved.digest, moved.waves, moved.excluded)
    assert (first.api_version, first.created_at) == (moved.api_version, moved.created_at)
    told = [(one.name, one.mode, one.disks, one.halted, one.machine.id) for one in first.entries]
    assert told == [(one.name, one.mode, one.disks, one.halted, one.machine.id) for one in moved.entries]
    assert [one.machine.power for one in first.entries] == [one.machine.power for one in moved.entries]


def test_an_outline_of_an_edited_plan_is_refused_as_the_plan_is(tmp_path: Path, moved: Plan) -> None:
    path = tmp_path / "plan.yaml"
    save(moved, path)
    path.write_text(path.read_text().replace("runStrategy: ", "runStrategy: X"))
    with pytest.raises(InputInvalid, match="changed after it was made"):
        load_outline(path)


def test_the_text_of_a_plan_is_looked_at_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim is found wherever a step ends."""
    save(plan(), tmp_path / "plan.yaml")
    whole = readings.text_of(tmp_path / "plan.yaml")
    assert whole.claims == (plan().digest,)
    for step in (1, 7, 64, 100):
        monkeypatch.setattr(readings, "STEP", step)
        assert readings.text_of(tmp_path / "plan.yaml") == whole
