"""A VMX and its descriptor with other bytes in them: a machine comes of it, or problems in words."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeferry.documents import Policy, SourceConfig
from kubeferry.sources import open_source
from lab import vmx
from mappings.assessment import assess

GOLDEN = sorted((Path(__file__).parents[4] / "golden" / "vmx").glob("*.vmx"))
WHOLE = [path.read_bytes() for path in GOLDEN]
DESCRIPTOR = vmx.descriptor(1 << 20, "app-flat.vmdk", parentFileNameHint="below.vmdk").encode()
LINES = sorted({line for whole in WHOLE for line in whole.decode().splitlines()})


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    at, gone = draw(st.integers(0, len(whole))), draw(st.integers(0, 40))
    return whole[:at] + draw(st.binary(max_size=20)) + whole[at + gone :]


def told(folder: Path, content: bytes, disk: bytes) -> None:
    """What the source says of it can be written down, and asked for again."""
    (folder / "app.vmx").write_bytes(content)
    for name in ("prod-web.vmdk", "dev box.vmdk", "kasse.vmdk", "db-1.vmdk"):
        (folder / name).write_bytes(disk)
    source = open_source("exports", SourceConfig(kind="ova", uri=folder.as_uri()))
    found = source.discover()
    found.model_dump_json()
    assert found.machines or found.unreadable
    for machine in found.machines:
        source.concerns(machine)
    assert len(assess(found, Policy(namespace="migrated"))) == len(found.machines)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_bytes_it_ends_in_words(data: st.DataObject, tmp_path: Path) -> None:
    told(tmp_path, data.draw(mutated(data.draw(st.sampled_from(WHOLE)))), data.draw(mutated(DESCRIPTOR)))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.sampled_from(LINES), max_size=60))
def test_whatever_the_settings_it_ends_in_words(lines: list[str], tmp_path: Path) -> None:
    told(tmp_path, "\n".join(["memsize = 512", *lines]).encode(), DESCRIPTOR)
