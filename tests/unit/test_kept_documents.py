"""Documents in the journal, for workers that share no disk: the newest by its name, each by its digest."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kubeferry.documents import JournalConfig
from kubeferry.errors import InputInvalid
from kubeferry.journal import Journal


@pytest.fixture
def place(tmp_path: Path) -> JournalConfig:
    return JournalConfig(url=f"sqlite:///{tmp_path}/journal.db")


def test_the_newest_of_a_name_is_found_and_each_by_its_digest(place: JournalConfig) -> None:
    with Journal.open(place) as journal:
        first = journal.keep_document("Inventory", "lab", "one")
        second = journal.keep_document("Inventory", "lab", "two")
        journal.keep_document("Policy", "lab", "another kind")
        assert journal.document("Inventory", "lab").text == "two"
        assert journal.document("Inventory", first[:12]).text == "one"
        assert journal.keep_document("Inventory", "lab", "one") == first, "kept again: it is the newest now"
        assert journal.document("Inventory", "lab").text == "one"
        assert journal.document("Inventory", second).name == "lab"


def test_an_unknown_one_is_refused_with_those_that_are_there(place: JournalConfig) -> None:
    with Journal.open(place) as journal:
        journal.keep_document("Inventory", "datacenter", "")
        with pytest.raises(InputInvalid, match="no such inventory") as refused:
            journal.document("Inventory", "datacentre")
        assert "datacenter" in str(refused.value)
        with pytest.raises(InputInvalid, match="no such policy"):
            journal.document("Policy", "datacenter")


def test_a_journal_of_an_earlier_version_gets_the_table_when_it_is_opened(place: JournalConfig) -> None:
    with Journal.open(place):
        pass
    with sqlite3.connect(place.url.removeprefix("sqlite:///")) as database:
        database.execute("DROP TABLE kubeferry_document")
    database.close()
    with Journal.open(place) as journal:
        assert journal.document("Policy", journal.keep_document("Policy", "p", "text")).text == "text"
