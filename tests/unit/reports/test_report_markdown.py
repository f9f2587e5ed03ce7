"""The Markdown page: the verdict first, whole tables, no markup but ours."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.model import Carried, Fate
from reports.facts import build_report
from reports.markdown import _plain, render_markdown
from reports.shapes import Report

AT = "2026-07-14T10:00:00.000+00:00"


def reported(life: Any) -> Report:
    return build_report(life.plan, {life.entry.name: life.records}, generated_at=AT)


def tables(text: str) -> list[list[str]]:
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return [block for block in blocks if block and block[0].startswith("|")]


def cells(row: str) -> int:
    return len(re.split(r"(?<!\\)\|", row.strip().strip("|")))


@pytest.fixture
def proven(estate: Any) -> Any:
    return estate.life("web", disks=("vda", "vdb")).begun().stopped().moved_bytes().observed().committed()


def test_the_verdict_is_the_title(proven: Any, estate: Any) -> None:
    assert render_markdown(reported(proven)).startswith("# Proven\n")
    assert render_markdown(reported(estate.life("web"))).startswith("# Not proven\n")


def test_each_disk_stands_with_its_root(proven: Any, estate: Any) -> None:
    text = render_markdown(reported(proven))
    assert estate.ROOTS["vda"] in text
    assert estate.ROOTS["vdb"] in text


def test_tables_have_as_many_cells_in_each_row(estate: Any) -> None:
    evil = "a|b\n| c | \\| `d` <b>"
    fate = Carried(field=evil, fate=Fate.LOST, source=evil, target=evil, reason=evil)
    probe = estate.SEEN[0].model_copy(update={"what": evil, "evidence": evil})
    life = estate.life(evil, carried=(fate,)).begun().stopped().moved_bytes().observed((probe,))
    found = tables(render_markdown(reported(life)))
    assert len(found) >= 5
    for table in found:
        assert len({cells(row.replace("\\\\", "")) for row in table}) == 1, table


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60))
def test_foreign_text_makes_no_markup(text: str) -> None:
    plain = _plain(text)
    bare = re.sub(r"\\.", "", plain)
    assert not re.search(r"[<>`*_\[\]|#~!@]", re.sub(r"&(amp|lt|gt);", "", bare))
    assert "://" not in bare


def test_addresses_do_not_become_links() -> None:
    assert _plain("see https://example.org or www.example.org") == "see https\\://example.org or www\\.example.org"
