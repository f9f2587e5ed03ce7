"""Before and after, beside each other."""

from __future__ import annotations

from kubeferry.inside.compared import Compared, compared
from kubeferry.inside.said import CardSaid, MountSaid, Said

BEFORE = Said(
    hostname="web",
    cards=(CardSaid(name="ens192", mac="00:50:56:00:00:01", addresses=("192.0.2.7",)),),
    mounts=(MountSaid(where="/", kind="ext4", size_bytes=2**30), MountSaid(where="/srv", kind="xfs")),
    time_zone="CET, UTC+01:00",
    clock_ahead_seconds=0.3,
    services={"nginx": "active"},
)


def _outcomes(after: Said, before: Said = BEFORE) -> dict[str, str]:
    return {one.what: one.outcome for one in compared(before, after)}


def test_nothing_changed() -> None:
    assert set(_outcomes(BEFORE).values()) == {"same"}
    assert len(_outcomes(BEFORE)) == 8


def test_a_card_with_another_name_and_no_address_any_more() -> None:
    after = BEFORE.model_copy(update={"cards": (CardSaid(name="enp1s0", mac="00:50:56:00:00:01"),)})
    found = {one.what: one for one in compared(BEFORE, after)}
    assert found["card 00:50:56:00:00:01: name"] == Compared(
        what="card 00:50:56:00:00:01: name", before="ens192", after="enp1s0", outcome="changed"
    )
    assert found["card 00:50:56:00:00:01: addresses"].after == "none"


def test_a_card_that_is_gone_and_one_that_is_new() -> None:
    after = BEFORE.model_copy(update={"cards": (CardSaid(name="eth0", mac="02:00:00:00:00:09"),)})
    found = {one.what: (one.before, one.after) for one in compared(BEFORE, after)}
    assert found["card 00:50:56:00:00:01: name"] == ("ens192", "none")
    assert found["card 02:00:00:00:00:09: name"] == ("none", "eth0")


def test_a_mount_that_is_missing_one_that_is_smaller() -> None:
    after = BEFORE.model_copy(update={"mounts": (MountSaid(where="/", kind="ext4", size_bytes=2**29),)})
    found = {one.what: one for one in compared(BEFORE, after)}
    assert (found["mount /srv"].after, found["mount /srv"].outcome) == ("none", "changed")
    assert (found["mount /"].before, found["mount /"].after) == ("ext4, 1 GiB", "ext4, 512 MiB")


def test_of_a_mount_only_what_both_tell_is_compared() -> None:
    """vSphere's Tools and QEMU's agent count the bytes of a file system differently: only one of the two is asked."""
    before = Said(mounts=(MountSaid(where="/", kind="ext4"), MountSaid(where="/srv")))
    found = {one.what: one for one in compared(before, BEFORE)}
    assert [(found[f"mount {where}"].before, found[f"mount {where}"].outcome) for where in ("/", "/srv")] == [
        ("ext4", "same"),
        ("there", "same"),
    ]


def test_a_clock_is_right_or_as_wrong_as_it_was() -> None:
    hour = BEFORE.model_copy(update={"clock_ahead_seconds": 3600.0})
    assert _outcomes(BEFORE.model_copy(update={"clock_ahead_seconds": -1.9}))["clock"] == "same"
    assert _outcomes(hour)["clock"] == "changed"
    assert _outcomes(hour, hour)["clock"] == "same"
    assert _outcomes(BEFORE, hour)["clock"] == "same"  # it was wrong, and is right now
    line = next(one for one in compared(BEFORE, hour) if one.what == "clock")
    assert (line.before, line.after) == ("right", "3600 s ahead")


def test_what_was_not_told_is_not_called_changed() -> None:
    assert set(_outcomes(Said()).values()) == {"unknown"}
    assert set(_outcomes(BEFORE, Said())).issuperset({"host name", "mount /", "time zone", "clock", "service nginx"})
    # A clock that is right needs nobody to say how it was.
    assert {k: v for k, v in _outcomes(BEFORE, Said()).items() if v != "unknown"} == {"clock": "same"}
    assert compared(Said(), Said()) == ()
