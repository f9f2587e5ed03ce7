"""Input that is no domain, hostile input, and what is wrong between machines."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from kubeferry.model import Machine
from kubeferry.sources.facts.clashes import clashes
from kubeferry.sources.facts.xml_tree import MAX_DEPTH
from kubeferry.sources.libvirt.domain.machine import parse_domain

Build = Callable[..., Machine]
Facts = Callable[[Machine], dict[str, str]]
LONG = f"<{'t' * 250}>"


def refused(text: str) -> InputInvalid:
    with pytest.raises(InputInvalid) as found:
        parse_domain(text, source="lab", where="web.xml")
    return found.value


# --- bad input -------------------------------------------------------------------------------------------------------


def test_malformed_xml_is_refused_with_its_line() -> None:
    found = refused("<domain>\n<name>web</title>\n</domain>")
    assert found.problems[0].where == "web.xml:2"
    assert "mismatched tag" in found.problems[0].what
    assert found.problems[0].fix
    assert found.exit_code == 2


@pytest.mark.parametrize("text", ["", "not xml", "<domain", "\x00", "<domain>\ud800</domain>", "<a/><b/>"])
def test_what_is_no_xml_at_all(text: str) -> None:
    assert "web.xml" in refused(text).problems[0].where


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>
<domain><name>&b;&c;</name></domain>"""


def test_entities_and_document_types_are_refused_before_they_grow() -> None:
    found = refused(BOMB)
    assert found.problems[0].where == "web.xml:2"
    assert "document type" in found.problems[0].what


def test_sizes_counts_and_depths_are_bounded() -> None:
    assert "longer than 4 Mi" in refused(f"<domain>{' ' * (5 << 20)}</domain>").problems[0].what
    assert "elements" in refused(f"<domain>{'<a/>' * 60_000}</domain>").problems[0].what
    deep = MAX_DEPTH + 1
    assert "deep" in refused(f"{'<a>' * deep}{'</a>' * deep}").problems[0].what


def test_other_documents_of_libvirt_are_named() -> None:
    assert "<network> is not a domain" in refused("<network><name>n</name></network>").problems[0].what


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    found = refused(
        "<domain>\n<memory unit='bushel'>1</memory>\n<vcpu>two</vcpu>\n<devices>\n"
        "<disk device='tape'><target dev='vda'/></disk>\n<disk><target dev='vda'/></disk>\n"
        "<interface><mtu size='-1'/></interface>\n</devices></domain>"
    )
    assert {problem.where for problem in found.problems} == {f"web.xml:{line}" for line in (1, 2, 3, 5, 6, 7)}
    assert all(problem.fix for problem in found.problems)


def test_a_domain_without_memory_is_refused(xml: Callable[..., str]) -> None:
    for memory in ("", "<memory/>", "<memory>0</memory>"):
        assert "how much memory" in refused(xml(memory=memory)).problems[0].what


def parsed(text: str) -> Machine | list[str]:
    """The machine, or what is wrong with it."""
    try:
        return parse_domain(text, source="lab")
    except InputInvalid as error:
        return [str(problem) for problem in error.problems]


@given(st.text(max_size=400))
def test_no_text_makes_the_parser_stumble(text: str) -> None:
    assert parsed(text)


TAGS = """domain name memory vcpu os type loader cpu numa cell devices disk source target driver backingStore interface
mac vlan tag address features hyperv clock timer metadata sysinfo system entry tpm backend console controller"""
KEYS = "type dev file name id bus slot function index model unit state address order size"
WORDS = st.sampled_from(["", "1", "-1", "x", "0x1f", "yes", "off", "file", "scsi", "pci", "network", "/a b", "qcow2"])
ATTRIBUTES = st.dictionaries(st.sampled_from(KEYS.split()), WORDS, max_size=4)


def element(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def build(tag: str, attributes: dict[str, str], children: list[str]) -> str:
        return f"<{tag} {' '.join(f'{key}={value!r}' for key, value in attributes.items())}>{''.join(children)}</{tag}>"

    return st.builds(build, st.sampled_from(TAGS.split()), ATTRIBUTES, st.lists(inside, max_size=5))


@given(st.lists(st.recursive(WORDS, element, max_leaves=25), max_size=8))
def test_no_tree_of_known_words_makes_the_parser_stumble(parts: list[str]) -> None:
    found = parsed(f"<domain><name>n</name><memory>1</memory>{''.join(parts)}</domain>")
    assert found
    if isinstance(found, Machine):
        assert Machine.model_validate_json(found.model_dump_json()) == found


# --- problems across machines ----------------------------------------------------------------------------------------


@pytest.fixture
def named(machine: Build) -> Build:
    def build(name: str, *macs: str) -> Machine:
        cards = "".join(f"<interface type='user'><mac address='{mac}'/></interface>" for mac in macs)
        return machine(devices=cards).model_copy(update={"name": name})

    return build


def test_names_and_addresses_that_are_given_twice(named: Build) -> None:
    a, b = named("a", "52:54:00:00:00:aa"), named("b", "52:54:00:00:00:BB")
    assert list(clashes([("a.xml", a), ("b.xml", b)])) == []
    found = list(clashes([("a.xml", a), ("b.xml", b), ("c.xml", named("a", "52-54-00-00-00-bb"))]))
    assert [problem.where for problem in found] == ["c.xml", "c.xml"]
    assert "a.xml" in found[0].what
    assert "52:54:00:00:00:bb" in found[1].what
    assert "b.xml" in found[1].what


def test_one_machine_with_an_address_on_two_cards(named: Build) -> None:
    twice = named("a", "52:54:00:00:00:aa", "52:54:00:00:00:AA")
    assert len(list(clashes([("a.xml", twice)]))) == 1


@pytest.mark.parametrize(
    "inside",
    [
        f"{LONG * 240}{'<a/>' * 3000}{LONG.replace('<', '</') * 240}",
        f"<metadata>{'<a x=^1^/>' * 3000}</metadata>".replace("^", "'"),
        f"<metadata>{'<tttt>' * 240}{'<a/>' * 3000}{'</tttt>' * 240}</metadata>",
    ],
    ids=["long paths", "many of one name", "deep details"],
)
def test_what_is_wide_and_deep_is_read_in_a_moment(xml: Callable[..., str], inside: str) -> None:
    begun = time.process_time()
    found = parse_domain(xml(inside), source="lab")
    assert time.process_time() - begun < 5  # what is copied or searched once a level takes minutes
    assert len(found.unmodelled) + len(found.metadata) < 2000


def test_a_name_without_end_is_refused(xml: Callable[..., str]) -> None:
    with pytest.raises(InputInvalid, match="an element's name is longer than 256 characters"):
        parse_domain(xml(f"<{'t' * 257}/>"), source="lab")
