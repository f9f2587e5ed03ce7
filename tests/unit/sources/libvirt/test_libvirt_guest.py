"""What a guest answers is made up by the guest; what libvirt answers decides whether another try is worth it."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import SourceConfig
from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.sources import open_source

if os.environ.get("CI") != "true":
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
import libvirt

from kubeferry.sources.libvirt.guest import FILE_LIMIT_BYTES, WORD_LIMIT, content, translated, word

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=6,
)


def encoded(text: bytes) -> dict[str, Any]:
    return {"buf-b64": base64.b64encode(text).decode(), "eof": True, "count": len(text)}


def test_the_text_of_a_file() -> None:
    assert content(encoded(b"42\n")) == "42\n"
    assert content(encoded(b"")) == ""
    assert content(encoded(b"\xff!")) == "\ufffd!"


def test_a_file_is_cut_where_the_guest_sends_more_than_was_asked_for() -> None:
    assert content(encoded(b"x" * (FILE_LIMIT_BYTES + 1))) == "x" * FILE_LIMIT_BYTES


@given(JSON | st.fixed_dictionaries({"buf-b64": JSON}))
def test_no_answer_of_a_guest_breaks_the_reading_of_a_file(answer: Any) -> None:
    assert content(answer) is None or isinstance(content(answer), str)


def test_the_first_word_that_is_there() -> None:
    assert word({"pretty-name": "Debian 12", "name": "Debian"}, "pretty-name", "name") == "Debian 12"
    assert word({"pretty-name": "", "name": "Debian"}, "pretty-name", "name") == "Debian"
    assert word({"name": "x" * 999}, "name") == "x" * WORD_LIMIT
    assert word({"name": "half \ud83d a character"}, "name") == "half ? a character"


@given(JSON | st.fixed_dictionaries({"name": JSON}))
def test_no_answer_of_a_guest_is_more_than_a_word(answer: Any) -> None:
    found = word(answer, "name")
    assert found is None or 0 < len(found) <= WORD_LIMIT


def told(code: int, domain: int = 0) -> KubeferryError:
    error = libvirt.libvirtError("it said so")
    error.err = (code, domain, "it said so", 2, None, None, None, 0, 0)
    return translated(error, "some:///uri", "web")


@pytest.mark.parametrize(
    ("code", "domain", "kind", "what"),
    [
        (libvirt.VIR_ERR_RPC, 0, SourceUnavailable, "does not answer"),
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, SourceUnavailable, "does not answer"),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_FROM_QEMU, SourceUnavailable, "busy"),
        (libvirt.VIR_ERR_NO_CONNECT, 0, SourceRefused, "knows no some:///uri"),
        (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU, SourceRefused, "no such machine"),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU, SourceRefused, "libvirt refused"),
    ],
)
def test_errors_of_libvirt(code: int, domain: int, kind: type[KubeferryError], what: str) -> None:
    error = told(code, domain)
    assert type(error) is kind
    assert what in error.what
    assert (error.why, error.machine) == ("it said so", "web")
    assert error.fix


def test_what_is_no_uri_is_not_worth_another_try() -> None:
    source = open_source("lab", SourceConfig(kind="libvirt", uri="not a uri"))
    with pytest.raises(SourceRefused, match="libvirt refused"):
        source.discover()


def test_a_socket_that_is_not_there_may_be_there_later() -> None:
    source = open_source("lab", SourceConfig(kind="libvirt", uri="qemu+unix:///system?socket=/nonexistent/socket"))
    with pytest.raises(SourceUnavailable, match="does not answer") as unavailable:
        source.discover()
    assert "/nonexistent/socket" in unavailable.value.why
    assert unavailable.value.fix


def test_a_host_elsewhere_is_named_in_what_to_do() -> None:
    lost = libvirt.libvirtError("x")
    lost.err = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, "it is away", 2, "", None, None, -1, -1)
    away = translated(lost, "qemu+ssh://root@kvm7/system", "")
    assert away.fix == "Start libvirtd on kvm7, see that this host may log in there, and run the same command again."
    here = translated(lost, "qemu:///system", "")
    assert here.fix == "Start libvirtd (`systemctl start libvirtd`), and run the same command again."


def test_a_refusal_that_is_about_no_machine_sends_nobody_to_one() -> None:
    error = libvirt.libvirtError("x")
    error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, 0, "unexpected qemu URI path", 2, "", None, None, -1, -1)
    told = translated(error, "qemu:///nowhere", "")
    assert "virsh --connect qemu:///nowhere list" in told.fix
    assert "machine" not in told.fix
