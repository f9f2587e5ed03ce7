"""Files that are replaced whole: by one writer, by several at once, and by one that cannot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kubeferry.outside.atomic import leftovers, replace_text, temporary_name


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_made_and_replaced_and_nothing_else_is_left(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.yaml"
    for text in ("long " * 100_000, "grüße\n", ""):
        replace_text(path, text, durable=durable)
        assert path.read_text(encoding="utf-8") == text
        assert list(tmp_path.iterdir()) == [path]


def test_of_many_writers_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    texts = [str(number) * 50_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: replace_text(path, text), texts * 4))
    assert path.read_text(encoding="utf-8") in texts
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_refuses_the_name_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_text(tmp_path / "a.yaml", "new")
    assert leftovers(tmp_path) == []


def test_what_a_killed_writer_left_is_found(tmp_path: Path) -> None:
    half = temporary_name(tmp_path / "a.yaml")
    half.write_text("ha")
    (tmp_path / "b.yaml").write_text("")
    assert leftovers(tmp_path) == [half]


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("victim")
    temporary_name(tmp_path / "f").symlink_to("victim")
    replace_text(tmp_path / "f", "text")
    assert ((tmp_path / "f").read_text(), (tmp_path / "victim").read_text()) == ("text", "victim")
    assert not (tmp_path / "f").is_symlink()
