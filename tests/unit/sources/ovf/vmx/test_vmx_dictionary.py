"""The text of a VMX: encodings, escapes, letters of keys, lines that are there twice or are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from kubeferry.sources.facts.settings import Settings
from kubeferry.sources.ovf.vmx.dictionary import read_dictionary


def read(text: str | bytes) -> Settings:
    content = text if isinstance(text, bytes) else text.encode()
    settings, odd = read_dictionary(content, "app.vmx")
    assert odd == []
    return settings


def test_keys_are_found_whatever_their_letters_and_values_with_or_without_marks() -> None:
    vmx = read('#!/usr/bin/vmware\nMEMSize = "2048"\r\n numVCPUs=4\nfloppy0.present = TRUE # none\nname = ""\n\n')
    assert (vmx.number("memsize"), vmx.number("numvcpus"), vmx.flag("Floppy0.Present")) == (2048, 4, True)
    assert vmx.value("name") is None
    assert vmx.left() == []


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("UTF-8", "utf-8"), ("windows-1252", "cp1252"), ("ISO-8859-1", "latin-1"), ("GBK", "gbk"), ("Shift_JIS", "cp932")],
)
def test_letters_are_read_in_the_encoding_that_the_file_names(encoding: str, codec: str) -> None:
    name = "文書" if codec in {"gbk", "cp932"} else "Büro"
    vmx = read(f'.encoding = "{encoding}"\ndisplayName = "{name}"\n'.encode(codec))
    assert vmx.value("displayName") == name


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_mark_at_the_start_or_plain_utf_8_needs_no_word(codec: str) -> None:
    assert read('displayName = "Büro"\n'.encode(codec)).value("displayName") == "Büro"


def test_letters_of_no_encoding_are_never_guessed() -> None:
    with pytest.raises(InputInvalid) as refused:
        read('a = "1"\ndisplayName = "Büro"\n'.encode("cp1252"))
    (problem,) = refused.value.problems
    assert problem.where == "app.vmx:2"
    assert "UTF-8" in problem.what.upper()
    assert ".encoding" in problem.fix
    with pytest.raises(InputInvalid, match="'klingon' is not known"):
        read('.encoding = "klingon"\n')


def test_what_cannot_stand_in_a_value_is_escaped_there() -> None:
    vmx = read('annotation = "say |22no|22|0Aor |7C|7C"\nodd = "50|zz"\n.encoding = "UTF-8"\nname = "B|C3|BCro"\n')
    assert vmx.value("annotation") == 'say "no"\nor ||'
    assert vmx.value("odd") == "50|zz"
    assert vmx.value("name") == "Büro"


def test_a_key_with_two_values_is_refused_with_both_lines() -> None:
    vmx = read('memsize = "1024"\nother = "1"\nother = "1"\nMemSize = "2048"\n')
    (problem,) = vmx.problems
    assert (problem.where, "line 1" in problem.what) == ("app.vmx:4", True)


@pytest.mark.parametrize(
    "line", ['scsi0:1.fileName = "app_1.vm', "no setting", '= "x"', 'a b = "c"', 'a = b"c"', '"a" = 1']
)
def test_a_line_that_is_no_setting_is_told(line: str) -> None:
    settings, (odd,) = read_dictionary(f'memsize = "1"\n{line}\nname = "x"\n'.encode(), "app.vmx")
    assert (odd.path, odd.value) == ("line[2]", line)
    assert settings.value("name") == "x"


def test_of_many_lines_that_are_none_the_first_are_told() -> None:
    _, odd = read_dictionary(b"none\n" * 100, "app.vmx")
    assert (len(odd), odd[-1].value) == (21, "80 more")


@given(st.binary(max_size=400))
def test_whatever_the_bytes_it_ends_in_words(content: bytes) -> None:
    try:
        settings, odd = read_dictionary(content, "app.vmx")
    except InputInvalid as error:
        str(error).encode()
        return
    for one in (*settings.left(), *odd):
        one.model_dump_json()
