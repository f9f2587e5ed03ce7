"""Folders for our programs' sockets: nobody else's files are touched, and nothing is left."""

from __future__ import annotations

from pathlib import Path

from converters.endpoints.nbd.private_folder import private_folder


def test_a_folder_of_a_person_is_left_alone(tmp_path: Path) -> None:
    """The folder that a copy works in is the one that its fingerprint lies in: any folder of a person."""
    notes = tmp_path / "nbd" / "notes"
    notes.parent.mkdir()
    notes.write_text("mine", encoding="utf-8")
    with private_folder(tmp_path, "nbd") as made:
        assert made.parent == tmp_path
        assert made.stat().st_mode & 0o777 == 0o700
    assert notes.read_text(encoding="utf-8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["nbd"]


def test_two_runs_in_one_place_do_not_remove_each_others_files(tmp_path: Path) -> None:
    with private_folder(tmp_path, "nbd") as one:
        (one / "socket").touch()
        with private_folder(tmp_path, "nbd") as other:
            assert other != one
        assert (one / "socket").exists()
    assert not list(tmp_path.iterdir())
    assert not other.exists()


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    with private_folder(tmp_path, "nbd") as made:
        name = made.name
    left = tmp_path / name
    (left / "deep").mkdir(parents=True)
    (left / "socket").touch()
    with private_folder(tmp_path, "nbd") as made:
        assert made == left
        assert not list(made.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    for folder in (work, other):
        folder.mkdir()
    (other / "file").touch()
    (work / ".kubeferry-nbd").symlink_to(other)
    with private_folder(work, "nbd") as made:
        assert made.parent != work
    assert (other / "file").exists()
