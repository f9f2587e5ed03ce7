"""Where a machine of an estate is, by what its members tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.model import UP, Power
from kubeferry.sources.estate.places import Looked, chosen, roams
from lab.machines import a_machine

WEB = a_machine("web")
NAMES = st.sampled_from(["hv1", "hv2", "hv3"])


def looked(powers: dict[str, Power], *silent: str) -> Looked:
    return Looked(dict(powers), {name: SourceUnavailable("libvirt does not answer") for name in silent})


@pytest.mark.parametrize(
    ("powers", "silent", "marked", "recorded", "place"),
    [
        ({"hv1": Power.RUNNING}, (), (), False, "hv1"),
        ({"hv2": Power.RUNNING}, (), (), False, "hv2"),
        ({"hv1": Power.OFF, "hv2": Power.PAUSED}, (), (), False, "hv2"),
        ({"hv2": Power.RUNNING}, ("hv1",), (), False, "hv2"),
        ({"hv2": Power.OFF}, ("hv1",), (), False, "hv1"),
        ({}, (), (), False, "hv1"),
        ({"hv1": Power.OFF}, ("hv2",), (), False, "hv1"),
        ({"hv1": Power.OFF, "hv2": Power.OFF}, (), ("hv2",), False, "hv2"),
        ({"hv1": Power.OFF, "hv2": Power.OFF}, (), (), True, "hv1"),
    ],
)
def test_it_is_where_it_runs_else_where_something_says_so(
    powers: dict[str, Power], silent: tuple[str, ...], marked: tuple[str, ...], recorded: bool, place: str
) -> None:
    assert chosen(WEB, "hv1", looked(powers, *silent), marked, recorded) == place


@pytest.mark.parametrize(
    ("powers", "silent", "kind", "says"),
    [
        ({"hv1": Power.RUNNING, "hv2": Power.RUNNING}, (), SourceRefused, "at hv1, hv2 at once"),
        ({"hv1": Power.OFF, "hv2": Power.OFF}, (), SourceRefused, "which of them is the machine is not known"),
        ({}, ("hv2",), SourceUnavailable, "not at hv1 any more, and may be elsewhere"),
    ],
)
def test_where_nobody_knows_it_is_said(
    powers: dict[str, Power], silent: tuple[str, ...], kind: type[KubeferryError], says: str
) -> None:
    with pytest.raises(kind, match=says) as refused:
        chosen(WEB, "hv1", looked(powers, *silent), (), recorded=False)
    assert (refused.value.machine, bool(refused.value.fix)) == ("web", True)


@given(st.dictionaries(NAMES, st.sampled_from(list(Power))), st.sets(NAMES), st.sets(NAMES), st.booleans(), NAMES)
def test_it_is_never_taken_to_be_where_another_one_runs_it(
    powers: dict[str, Power], silent: set[str], marked: set[str], recorded: bool, last: str
) -> None:
    seen = looked({name: power for name, power in powers.items() if name not in silent}, *silent)
    try:
        place = chosen(WEB, last, seen, marked & seen.powers.keys(), recorded)
    except KubeferryError:
        return
    up = [name for name, power in seen.powers.items() if power in UP]
    assert up in ([], [place])
    assert place == last or place in seen.powers


def test_a_number_of_a_vcenter_s_own_means_another_machine_elsewhere() -> None:
    assert roams("libvirt", WEB)
    assert roams("vmware-export", WEB)
    assert not roams("aws", WEB)
    assert not roams("vmware", WEB.model_copy(update={"id": "VirtualMachine:vm-12"}))
