"""Names at the target: legal, stable, and each of one machine only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import MachinePolicy, Policy
from kubeferry.model import Cpu, Disk, Guest, Machine, Memory, Nic
from mappings.names import LIMIT, dns_label, dns_labels, is_dns_label, machine_names

ANY_TEXT = st.text(max_size=120)


def a_machine(name: str, disks: tuple[str, ...] = (), nics: tuple[str, ...] = ()) -> Machine:
    return Machine(
        id=name,
        name=name,
        source="lab",
        guest=Guest(agent_channel=True),
        cpu=Cpu(vcpus=1),
        memory=Memory(size_bytes=1 << 30),
        disks=tuple(Disk(id=disk) for disk in disks),
        nics=tuple(Nic(id=nic) for nic in nics),
    )


@given(ANY_TEXT)
def test_any_text_becomes_a_label_and_the_same_one_each_time(text: str) -> None:
    assert is_dns_label(dns_label(text))
    assert dns_label(text) == dns_label(text)


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_get_different_labels(one: str, other: str) -> None:
    first = dns_label(one)
    assert one == other or dns_label(other, {first}) != first


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_a_legal_name_stays(text: str) -> None:
    assert dns_label(text) == text


def test_umlauts_are_spelled_out_and_a_change_leaves_a_mark() -> None:
    assert dns_label("Müller & Söhne").startswith("mueller-and-soehne-")
    assert dns_label("Çelik Ångström").startswith("celik-aangstroem-")
    assert len(dns_label("x" * 200)) == LIMIT


def test_names_are_what_people_expect_and_a_hash_tells_apart_those_that_would_be_one() -> None:
    assert dns_labels(["web01.corp.example", "DB_01", "web"]) == {
        "web01.corp.example": "web01-corp-example",
        "DB_01": "db-01",
        "web": "web",
    }
    same = dns_labels(["Web 1", "web_1"])
    assert same == {text: dns_label(text) for text in ("Web 1", "web_1")}
    assert dns_labels(["Web"], {"web"}) == {"Web": dns_label("Web")}
    assert dns_labels(["Web", "web"])["web"] == "web"


@given(st.lists(ANY_TEXT, unique=True))
def test_labels_of_different_texts_differ_in_any_order(texts: list[str]) -> None:
    found = dns_labels(texts)
    assert all(map(is_dns_label, found.values()))
    assert len(set(found.values())) == len(texts)
    assert dns_labels(reversed(texts)) == found


def test_a_name_in_no_latin_letters_is_its_hash() -> None:
    assert is_dns_label(dns_label("日本語"))
    assert dns_label("日本語") != dns_label("中文")


@given(
    st.lists(
        st.tuples(ANY_TEXT.filter(bool), st.lists(st.text("ab-A", min_size=1, max_size=3), unique=True)),
        unique_by=lambda x: x[0],
    )
)
def test_names_are_unique_across_an_inventory(drawn: list[tuple[str, list[str]]]) -> None:
    machines = [a_machine(name, tuple(disks), tuple(disks)) for name, disks in drawn]
    names = machine_names(machines, Policy())
    assert len({one.machine for one in names.values()}) == len(machines)
    claims = [claim for one in names.values() for claim in one.claims.values()]
    assert len(set(claims)) == len(claims)
    for one in names.values():
        assert len(set(one.volumes.values())) == len(one.volumes)
        assert len(set(one.interfaces.values())) == len(one.interfaces)
        assert all(is_dns_label(name) for name in (one.machine, *one.volumes.values(), *one.claims.values()))


def test_names_do_not_depend_on_the_order_or_on_machines_that_come_later_with_other_names() -> None:
    first = [a_machine("Web"), a_machine("db")]
    later = [a_machine("zzz"), *reversed(first), a_machine("Web 2")]
    before, after = machine_names(first, Policy()), machine_names(later, Policy())
    assert {name: after[name] for name in before} == before


def test_a_later_machine_that_has_the_legal_name_gets_it() -> None:
    after = machine_names([a_machine("Web"), a_machine("db"), a_machine("web")], Policy())
    assert (after["web"].machine, after["Web"].machine) == ("web", dns_label("Web"))


def test_two_machines_whose_disks_would_share_a_claim_do_not() -> None:
    names = machine_names([a_machine("web", ("a-b",)), a_machine("web-a", ("b",))], Policy())
    assert names["web"].claims["a-b"] != names["web-a"].claims["b"]


def test_the_policy_names_a_machine() -> None:
    policy = Policy(machines={"Web 01": MachinePolicy(name="shop")})
    assert machine_names([a_machine("Web 01", ("vda",))], policy)["Web 01"].claims == {"vda": "shop-vda"}
