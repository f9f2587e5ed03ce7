"""URIs of EBS snapshots: they say how an account is entered, and never with what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.uris import EbsSnapshot, ebs_snapshot

TEXT = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())


@given(st.none() | TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT)
def test_what_is_written_is_read(
    profile: str | None, role: str | None, external: str | None, endpoint: str | None
) -> None:
    place = EbsSnapshot("eu-west-1", "snap-0123456789abcdef0", profile, role, external, endpoint)
    assert ebs_snapshot(place.uri()) == place


@pytest.mark.parametrize(
    "uri",
    [
        "ebs://eu-west-1/vol-0123456789abcdef0",
        "ebs://eu-west-1/snap-1/../x",
        "ebs://key:secret@eu-west-1/snap-01234567",
        "ebs://eu-west-1/snap-01234567?profile=a&profile=b",
        "ebs://eu-west-1/snap-01234567?secret=x",
        "ebs://eu-west-1/snap-01234567?x",
        "file:///snap-01234567",
        "ebs://[/snap-01234567",
    ],
)
def test_anything_else_is_none(uri: str) -> None:
    assert ebs_snapshot(uri) is None
