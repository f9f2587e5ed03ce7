"""What filters of libvirt's let through: in the order in which they decide, and nothing taken for known that is not."""

from __future__ import annotations

import pytest

from kubeferry.model import TrafficRule
from kubeferry.sources.libvirt.domain.filters import traffic_filter
from kubeferry.sources.libvirt.domain.machine import parse_domain

WEB = """
<filter name='web' chain='root'>
  <uuid>b8347932-65cc-4ba0-8092-c28c2aba7cdb</uuid>
  <filterref filter='base'/>
  <rule action='accept' direction='in' priority='200'><tcp dstportstart='443'/></rule>
  <rule action='accept' direction='in' priority='100'>
    <tcp srcipaddr='10.0.0.0' srcipmask='8' dstportstart='8000' dstportend='8010' comment='tests'/>
  </rule>
  <rule action='drop' direction='in' priority='900'><all/></rule>
  <rule action='drop' direction='in' priority='900'><all-ipv6/></rule>
</filter>
"""
BASE = """
<filter name='base' chain='root'>
  <rule action='accept' direction='inout' priority='50'><icmp/></rule>
  <rule action='continue' direction='in'><tcp/></rule>
</filter>
"""


def rules(**filters: str) -> list[TrafficRule]:
    first = next(iter(filters))
    return list(traffic_filter(first, filters.get).rules or ())


def one(inside: str, *, chain: str = "root", attributes: str = "action='accept' direction='in'") -> TrafficRule:
    (found,) = rules(f=f"<filter name='f' chain='{chain}'><rule {attributes}>{inside}</rule></filter>")
    return found


def test_rules_stand_in_the_order_of_their_priorities_with_those_of_filters_that_are_referred_to() -> None:
    assert [(rule.inward, rule.accepts, rule.line) for rule in rules(web=WEB, base=BASE)] == [
        (True, True, "icmp from 0.0.0.0/0 accepted"),
        (False, True, "icmp to 0.0.0.0/0 accepted"),
        (True, True, "tcp 8000-8010 from 10.0.0.0/8 accepted"),
        (True, True, "tcp 443 from 0.0.0.0/0 accepted"),
        (True, False, "all from 0.0.0.0/0 refused"),
        (True, False, "all from ::/0 refused"),
    ]
    assert all(rule.beyond is None for rule in rules(web=WEB, base=BASE))


def test_a_filter_that_is_not_there_or_refers_to_itself_is_not_known() -> None:
    assert traffic_filter("web", {"web": WEB}.get).rules is None
    assert traffic_filter("f", lambda _name: "<filter name='f'><filterref filter='f'/></filter>").rules is None
    assert traffic_filter("f", lambda _name: "<filter").rules is None


@pytest.mark.parametrize(
    ("inside", "beyond"),
    [
        ("<tcp srcportstart='53'/>", "srcportstart"),
        ("<tcp dstipaddr='10.0.0.1'/>", "dstipaddr"),
        ("<tcp srcipfrom='10.0.0.1' srcipto='10.0.0.9'/>", "srcipfrom, srcipto"),
        ("<tcp dstportstart='$PORT'/>", "the variable $PORT"),
        ("<tcp state='ESTABLISHED,RELATED'/>", "what connections exist already"),
        ("<tcp match='no' dstportstart='22'/>", "match"),
        ("<tcp state='NEW,ESTABLISHED' dstportstart='22'/>", None),
        ("<mac protocolid='arp'/>", "frames (mac)"),
        ("", "frames"),
    ],
)
def test_what_a_line_asks_for_beside_protocol_ports_and_addresses_is_told(inside: str, beyond: str | None) -> None:
    assert one(inside).beyond == beyond


def test_lines_of_other_chains_and_for_both_ways_are_not_taken_for_simple_ones() -> None:
    assert one("<tcp dstportstart='22'/>", chain="ipv4").beyond == "frames (tcp)"
    both = rules(f="<filter name='f'><rule action='drop' direction='inout'><tcp dstportstart='22'/></rule></filter>")
    assert [rule.beyond for rule in both] == ["one line for both directions"] * 2
    refused = one("<tcp state='INVALID'/>", attributes="action='drop' direction='in'")
    assert (refused.accepts, refused.beyond) == (True, "packets of no connection")


def test_what_refuses_frames_comes_before_all_that_is_said_of_connections() -> None:
    found = rules(
        f="<filter name='f'><rule action='accept' direction='in' priority='1'><tcp/></rule>"
        "<rule action='drop' direction='in' priority='999'/></filter>"
    )
    assert [(rule.accepts, rule.beyond) for rule in found] == [(False, "frames"), (True, None)]


def test_clean_traffic_is_known_and_lets_ipv4_through_alone() -> None:
    found = traffic_filter("clean-traffic", lambda _name: None).rules or ()
    assert [(rule.accepts, rule.cidr) for rule in found] == [(False, "::/0"), (False, "::/0"), (True, None)]


def test_a_card_names_its_filter_also_where_nobody_told_what_that_lets_through() -> None:
    machine = parse_domain(
        "<domain type='kvm'><name>a</name><memory>1024</memory><vcpu>1</vcpu><devices><interface type='network'>"
        "<source network='n'/><filterref filter='web'/></interface></devices></domain>",
        source="lab",
    )
    (filtered,) = machine.nics[0].filters or ()
    assert (filtered.name, filtered.kind, filtered.rules) == ("web", "nwfilter", None)
