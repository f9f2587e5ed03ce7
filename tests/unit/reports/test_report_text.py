"""Hostile and long text, pictures, secrets, and the published shape of the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import ProbeResult
from kubeferry.life import events as ev
from kubeferry.model import Carried, Disk, Fate
from reports import wording
from reports.facts import build_report
from reports.markdown import render_markdown
from reports.pages import render_html
from reports.picture import LIMIT_BYTES, embed
from reports.shapes import Report

SCHEMA = Path(__file__).parent / "report.schema.json"
GIB = 1 << 30


def report_of(life) -> Report:
    return build_report(life.plan, {life.entry.name: life.records}, generated_at=life.at())


# --- text ------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=2000))
def test_plain_text_is_one_bounded_printable_line(text):
    shown = wording.plain(text, 50)
    assert len(shown) <= 51
    assert shown.encode("utf-8").decode() == shown
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028\u200b" for c in shown)


@given(st.text(max_size=3000))
def test_a_console_is_bounded_and_printable(text):
    lines = wording.console(text).split("\n")
    assert len(lines) <= wording.CONSOLE_LINES
    assert all(len(line) <= wording.CONSOLE_COLUMNS + 1 and line.encode("utf-8") is not None for line in lines)
    assert not any(ord(c) < 32 for line in lines for c in line)


def test_guests_cannot_flood_or_turn_the_text(estate):
    loud = ProbeResult(kind="agent", what="w" * 9000, ok=True, evidence="\x1b[31m\u202e" + "e" * 9000, seconds=1)
    life = estate.life().begun().stopped().moved_bytes()
    life.observed([loud], console_tail="x" * 500_000, guest={"k" * 9000: "v" * 9000})
    machine = report_of(life).machines[0]
    assert len(machine.model_dump_json()) < 30_000
    assert machine.probes[0].evidence.startswith("\ufffd[31m\ufffdeee")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.02, "20\u00a0ms"),
        (41.26, "41.3\u00a0s"),
        (59.96, "1\u00a0min 00\u00a0s"),
        (3725, "1\u00a0h 02\u00a0min"),
        (90000, "1\u00a0d 01\u00a0h"),
        (None, "not seen"),
    ],
)
def test_durations(seconds, shown):
    assert wording.duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0\u00a0B"),
        (1023, "1023\u00a0B"),
        (1536, "1.5\u00a0KiB"),
        (GIB, "1\u00a0GiB"),
        (20 * GIB, "20\u00a0GiB"),
        (1023.99 * 2**20, "1\u00a0GiB"),
        (2**80, "1048576\u00a0EiB"),
    ],
)
def test_sizes(number, shown):
    assert wording.size(number) == shown


def test_a_password_in_a_uri_is_left_out_however_long():
    assert wording.plain("at nbd://root:s3cret@host/x and ssh://me@host") == "at nbd://root:…@host/x and ssh://me@host"
    assert "pw" not in wording.plain(f"nbd://root:{'pw' * 400}@host", 50)


def test_lists_in_words():
    assert [wording.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert wording.listed(list("abcdefg"), most=3) == "a, b, c and 4 more"


# --- a cluster's facts -----------------------------------------------------------------------------------------------


def test_where_movers_ran_and_what_the_cluster_said_stand_in_every_page(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True))
    life.copied("vda", where="Job demo/kf-copy on node n1").verified("vda", where="Job demo/kf-verify on node n2")
    life.observed(seen={"node": "n3", "claim web-vda": "Block, 1Gi, class fast"}).committed()
    report = report_of(life)
    (disk,) = report.machines[0].disks
    assert (disk.copied.where, disk.read_back.where) == ("Job demo/kf-copy on node n1", "Job demo/kf-verify on node n2")
    for page in (render_html(report), render_markdown(report).replace("\\", "")):
        for fact in ("demo/kf-copy on node n1", "demo/kf-verify on node n2", "n3", "Block, 1Gi, class fast"):
            assert fact in page


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_what_a_report_has_no_use_for_does_not_get_into_it(estate):
    """Manifests, disk locations, the source's metadata and a guest's last words may hold secrets."""
    hidden = "hunter2-7f3a"
    one = estate.entry("web")
    machine = one.machine.model_copy(
        update={
            "metadata": {"owner": hidden},
            "disks": (Disk(id="vda", uri=f"nbd://user:{hidden}@host/x", capacity_bytes=GIB),),
            "description": hidden,
        }
    )
    manifest = {"kind": "Secret", "metadata": {"name": "web"}, "stringData": {"userdata": hidden}}
    told = Carried(field="disks[vda].uri", fate=Fate.CARRIED, source=f"nbd://user:{hidden}@host/x")
    entry = one.model_copy(update={"machine": machine, "manifests": (manifest,), "carried": (told,)})
    life = estate.Life(estate.plan(entry), entry).begun()
    life.then(0.2, ev.LastWords(at=life.at(), words={"/root/token": hidden}))
    life.then(3, ev.SourceStopped(how="agent", at=life.at(), last_words={"/root/token": hidden}))
    life.moved_bytes().observed().committed()
    report = report_of(life)
    assert report.verdict == "proven"
    assert hidden not in report.model_dump_json()


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_png_is_embedded_with_its_size(estate):
    told = estate.png_uri(estate.png(2, 1))
    picture = embed(told)
    assert (picture.width, picture.height) == (2, 1)
    assert picture.data_uri == told
    assert picture.data_uri.startswith("data:image/png;base64,iVBORw0KGgo")


def spoilt(png) -> dict[str, bytes]:
    return {
        "empty": b"",
        "svg": b"<svg onload=alert(1)>",
        "cut off": png()[:-4],
        "no head": png().replace(b"IHDR", b"IHDX"),
        "no pixels": png(0, 5),
        "too many pixels": png(100_000, 100_000),
        "too large": png()[:-12] + b"\0" * LIMIT_BYTES + png()[-12:],
    }


def test_what_is_no_small_whole_png_is_not_embedded(estate):
    assert {what: embed(estate.png_uri(content)) for what, content in spoilt(estate.png).items()} == dict.fromkeys(
        spoilt(estate.png)
    )


def test_the_largest_picture_is_embedded(estate):
    head, tail = estate.png()[:-12], estate.png()[-12:]
    content = head + bytes(LIMIT_BYTES - len(head) - len(tail)) + tail
    assert embed(estate.png_uri(content)) is not None
    assert embed(estate.png_uri(content[:-12] + b"\0" + tail)) is None


def test_a_picture_that_was_sent_along_is_kept_whole_or_not_at_all(estate):
    def kept(screenshot: str | None) -> str | None:
        life = estate.life().begun().stopped().moved_bytes().observed(screenshot=screenshot)
        return report_of(life).machines[0].boot.screenshot

    sent = "data:image/png;base64," + "A" * 5000
    assert kept(sent) == sent
    assert kept("machines/web/evidence/screenshot.png") is None
    assert kept("data:text/html;base64,PGI+") is None
    assert kept("data:image/png;base64," + "A" * (5 << 20)) is None
    assert kept("data:image/png;base64,\n\u202e") is None
    assert kept(None) is None


# --- shape -----------------------------------------------------------------------------------------------------------


def test_a_report_reads_itself_back(estate):
    report = report_of(estate.life().begun().stopped().moved_bytes().observed().committed())
    assert Report.model_validate_json(report.model_dump_json(by_alias=True)) == report


def test_the_published_shape_is_unchanged():
    """Others read report.json. After a change that is meant, write the schema anew:

    python -c "import json; from reports.shapes import Report as R; print(json.dumps(R.model_json_schema(), indent=1))"
    """
    assert json.loads(SCHEMA.read_text()) == Report.model_json_schema(by_alias=True)


def test_what_the_ledger_holds_open_is_listed(estate):
    class Held:
        machine, kind, name, where = "web", "disk", "claim-vda", "/srv/target/claim-vda.img"

    life = estate.life()
    report = build_report(life.plan, {}, open_things=[Held()], versions={"qemu": "7.2"}, generated_at=life.at())
    assert [(one.machine, one.kind, one.where) for one in report.open_things] == [
        ("web", "disk", "/srv/target/claim-vda.img")
    ]
    assert report.versions == {"report: qemu": "7.2"}
