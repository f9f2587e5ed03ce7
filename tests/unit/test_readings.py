"""A large plan is read once; what is kept of that is believed only where it is the plan that the file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.documents import Plan, files, freeze, load, readings, save
from kubeferry.errors import InputInvalid


@pytest.fixture(autouse=True)
def _every_plan_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE_PLAN", 0)


def plan(name: str = "p") -> Plan:
    made_at = "2026-01-01T00:00:00Z"
    return freeze(Plan(name=name, created_at=made_at, source="lab", inventory_digest="", waves=(), entries=()))


def kept(folder: Path) -> list[Path]:
    return sorted((folder / ".kubeferry" / "readings").glob("*"))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of documents that were read as YAML."""
    names: list[str] = []
    real = files._parse_yaml

    def told(text: str, name: str) -> object:
        names.append(name)
        return real(text, name)

    monkeypatch.setattr(files, "_parse_yaml", told)
    return names


@pytest.mark.parametrize("name", ["plan.yaml", "plan.json"])
def test_the_second_reading_is_the_first_one_s(tmp_path: Path, parsed: list[str], name: str) -> None:
    save(plan(), tmp_path / name)
    assert load(tmp_path / name, Plan) == load(tmp_path / name, Plan) == plan()
    assert parsed == [str(tmp_path / name)]
    assert len(kept(tmp_path)) == 1


def test_a_plan_that_was_edited_is_refused_as_ever(tmp_path: Path, parsed: list[str]) -> None:
    path = tmp_path / "plan.yaml"
    save(plan(), path)
    load(path, Plan)
    path.write_text(path.read_text().replace("source: lab", "source: prod"))
    for _ in range(2):
        with pytest.raises(InputInvalid, match="changed after it was made"):
            load(path, Plan)
    assert len(parsed) == 3
    assert len(kept(tmp_path)) == 1, "what is refused is not kept"


def test_a_key_twice_is_refused_with_its_line_though_the_plan_was_read_before(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    save(plan(), path)
    load(path, Plan)
    text = path.read_text() + "name: p\n"
    path.write_text(text)
    with pytest.raises(InputInvalid, match=rf"plan.yaml:{len(text.splitlines())}: 'name' is there twice"):
        load(path, Plan)


@pytest.mark.parametrize("content", ["", "{}", "no json", None])
def test_a_reading_that_was_damaged_is_none(tmp_path: Path, parsed: list[str], content: str | None) -> None:
    path = tmp_path / "plan.yaml"
    save(plan(), path)
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
    save(plan(), path)
    load(path, Plan)
    kept(tmp_path)[0].write_text(plan("other").model_dump_json(by_alias=True))
    assert load(path, Plan) == plan()
    assert len(parsed) == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    save(plan(), tmp_path / "plan.yaml")
    (tmp_path / ".kubeferry").write_text("a file")
    assert load(tmp_path / "plan.yaml", Plan) == plan()


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    for number in range(readings.KEPT + 3):
        save(plan(f"p{number}"), tmp_path / "plan.yaml")
        load(tmp_path / "plan.yaml", Plan)
    assert len(kept(tmp_path)) == readings.KEPT


def test_of_a_small_plan_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE_PLAN", 64 * 1024)
    save(plan(), tmp_path / "plan.yaml")
    load(tmp_path / "plan.yaml", Plan)
    assert kept(tmp_path) == []


def test_a_plan_of_two_digests_has_no_reading(tmp_path: Path) -> None:
    """One of them in a text that a person skips: what was kept may be the plan of that one."""
    path = tmp_path / "plan.yaml"
    other = plan("other")
    save(plan(), path)
    path.write_text(path.read_text().replace("sourceVersion: ''", f"sourceVersion: |\n digest: {other.digest}"))
    assert path.read_text().count("digest: ") == 2
    readings.keep(path, path.read_text(), other)
    with pytest.raises(InputInvalid, match="changed after it was made"):
        load(path, Plan)


def test_what_is_not_ours_stays_in_the_folder(tmp_path: Path) -> None:
    others = [tmp_path / "elsewhere" / f"{number}.json" for number in range(readings.KEPT + 3)]
    others[0].parent.mkdir()
    for other in others:
        other.write_text("{}")
    (tmp_path / ".kubeferry").mkdir()
    (tmp_path / ".kubeferry" / "readings").symlink_to(others[0].parent)
    save(plan(), tmp_path / "plan.yaml")
    load(tmp_path / "plan.yaml", Plan)
    assert all(other.exists() for other in others)
