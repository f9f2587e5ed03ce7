"""Servers that lie: a copy from one ends with the bytes that it serves or with an error in words, and in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.endpoints.nbd import client, line
from converters.engine.copying import Tally
from converters.engine.disks import copy_disk, parse_ref, prepare_target
from converters.engine.transfer import Options, Watch
from kubeferry.errors import Fenced, Interrupted, KubeferryError, SourceRefused, SourceUnavailable, TargetUnavailable
from kubeferry.outside import stopping
from tests.liar import data, lying

MIB = 1 << 20
SIZE = 8 * MIB
SLOW = {"silent", "drip"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Deadlines of a second, where people wait for a minute."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(client, "SLOWEST_BYTES", 64 * MIB)
    monkeypatch.setattr(client, "FLUSH_SECONDS", 1.0)
    yield
    stopping.reset()


def copied(folder: Path, uri: str, size: int = SIZE, *, options: Options = Options(), watch: Watch = Watch()) -> Tally:  # noqa: B008
    target, kff = parse_ref(str(folder / "t.img")), folder / "t.kff"
    fresh = prepare_target(target, size, kff)
    return copy_disk(parse_ref(uri), target, kff, target_reads_zero=fresh, options=options, watch=watch).tally


@pytest.mark.parametrize("mode", ["honest", "short-status", "beyond", "lies-zero-second", "out-of-order"])
def test_odd_servers_that_give_all_bytes_are_copied_rightly(tmp_path: Path, mode: str) -> None:
    with lying(tmp_path / "s", mode, SIZE) as uri:
        copied(tmp_path, uri)
    assert (tmp_path / "t.img").read_bytes() == data(0, SIZE)


@pytest.mark.parametrize("mode", ["lies-zero", "hole-lie"])
def test_a_hole_that_a_server_names_is_its_word(tmp_path: Path, mode: str) -> None:
    with lying(tmp_path / "s", mode, SIZE) as uri:
        copied(tmp_path, uri)
    assert not any((tmp_path / "t.img").read_bytes())


def test_a_hole_that_is_none_is_read_where_it_is_not_believed(tmp_path: Path) -> None:
    with lying(tmp_path / "s", "lies-zero", SIZE) as uri:
        copied(tmp_path, uri, options=Options(read_holes=True))
    assert (tmp_path / "t.img").read_bytes() == data(0, SIZE)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("overlap", "twice"),
        ("no-done", "ends nothing"),
        ("status-no-done", "twice"),
        ("zero-length", "no bytes"),
        ("error-then-data", "after the error"),
        ("short-read", "left out 1 bytes"),
    ],
)
def test_answers_that_make_no_sense_are_refused_in_words(tmp_path: Path, mode: str, why: str) -> None:
    with lying(tmp_path / "s", mode, SIZE) as uri, pytest.raises(SourceRefused) as caught:
        copied(tmp_path, uri)
    assert why in caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize("mode", sorted(SLOW))
def test_an_answer_has_a_deadline_also_while_it_drips(tmp_path: Path, mode: str) -> None:
    begun = time.monotonic()
    with lying(tmp_path / "s", mode, SIZE) as uri, pytest.raises(SourceUnavailable, match="did not answer in time"):
        copied(tmp_path, uri)
    assert time.monotonic() - begun < 10


def test_zeros_that_a_target_does_not_make_have_a_deadline(tmp_path: Path) -> None:
    source = tmp_path / "zeros"
    source.write_bytes(bytes(SIZE))
    with lying(tmp_path / "s", "slow-zero", SIZE) as uri, pytest.raises(TargetUnavailable, match="in time"):
        copy_disk(parse_ref(str(source)), parse_ref(uri), tmp_path / "t.kff")


@pytest.mark.parametrize("mode", sorted(SLOW))
def test_a_stop_does_not_wait_for_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 600.0)
    monkeypatch.setattr(line, "STOP_SECONDS", 0.5)
    threading.Timer(0.5, stopping.request).start()
    begun = time.monotonic()
    with lying(tmp_path / "s", mode, SIZE) as uri, pytest.raises(Interrupted):
        copied(tmp_path, uri)
    assert time.monotonic() - begun < 10


def test_what_a_server_says_commands_no_terminal_and_stays_on_its_line(tmp_path: Path) -> None:
    with lying(tmp_path / "s", "ansi", SIZE) as uri, pytest.raises(SourceUnavailable) as caught:
        copied(tmp_path, uri)
    assert caught.value.why.isprintable()


def test_after_an_error_that_passes_the_copy_goes_on(tmp_path: Path) -> None:
    with lying(tmp_path / "s", "eio-once", SIZE) as uri:
        with pytest.raises(SourceUnavailable, match="failed at offset"):
            copied(tmp_path, uri, options=Options(workers=1))
        assert copied(tmp_path, uri, options=Options(workers=1)).resumed >= 2 * MIB
    assert (tmp_path / "t.img").read_bytes() == data(0, SIZE)


class _Fenced(Watch):
    """Somebody else takes over a moment after the work began."""

    def __init__(self) -> None:
        self._at = time.monotonic() + 1

    def still_ours(self) -> None:
        if time.monotonic() > self._at:
            raise Fenced("taken over")


@pytest.mark.parametrize("kind", [Interrupted, Fenced])
def test_counting_a_disk_in_tiny_pieces_sees_stop_and_fence(tmp_path: Path, kind: type[KubeferryError]) -> None:
    if kind is Interrupted:
        threading.Timer(1, stopping.request).start()
    begun = time.monotonic()
    watch = _Fenced() if kind is Fenced else Watch()
    with lying(tmp_path / "s", "tiny-extents", 4 << 40) as uri, pytest.raises(kind):
        copied(tmp_path, uri, 4 << 40, watch=watch)
    assert time.monotonic() - begun < 10
