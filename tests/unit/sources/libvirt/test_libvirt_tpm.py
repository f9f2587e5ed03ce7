"""What a domain's TPM keeps: where libvirt has it, read as its file has it, and told where it cannot be."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kubeferry.errors import SourceRefused
from kubeferry.model import Machine, Tpm
from kubeferry.outside.process import Completed
from kubeferry.sources.libvirt import tpm
from kubeferry.sources.libvirt.domain.machine import parse_domain
from kubeferry.sources.libvirt.hosts import Here

HOST = Here("lab", None)
UUID = "5f0c3a1e-7a51-4a53-9a5d-0e5b6a3f8e01"
USUAL = f"/var/lib/libvirt/swtpm/{UUID}/tpm2/tpm2-00.permall"
STATE = struct.pack(">BBHHI", 2, 1, 10, 0, 15) + b"seeds"
LOCKED = struct.pack(">BBHHI", 2, 1, 10, 1, 15) + b"seeds"


def machine(inside: str = "", attributes: str = "type='emulator' version='2.0'") -> Machine:
    xml = f"""<domain type='kvm'><name>web</name><uuid>{UUID}</uuid><memory>1</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices><tpm model='tpm-crb'><backend {attributes}>{inside}</backend></tpm></devices></domain>"""
    return parse_domain(xml, source="lab", where="web")


@pytest.mark.parametrize(
    ("inside", "attributes", "expected"),
    [
        ("", "type='emulator' version='2.0'", (USUAL, None)),
        ("<source type='dir' path='/srv/tpm'/>", "type='emulator'", ("/srv/tpm/tpm2-00.permall", None)),
        ("<source type='file' path='/srv/tpm.bin'/>", "type='emulator'", ("/srv/tpm.bin", None)),
        ("<encryption secret='6dd3e4a5-1d76-44ce-961f-f119f5aad935'/>", "type='emulator'", (USUAL, True)),
        ("<device path='/dev/tpm0'/>", "type='passthrough'", (None, None)),
    ],
)
def test_a_domain_says_where_it_is(inside: str, attributes: str, expected: object) -> None:
    found = machine(inside, attributes).tpm
    assert found is not None
    assert (found.state, found.encrypted) == expected


def test_a_session_has_it_in_its_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/me/.config")

    def state(uri: str, inside: str = "") -> str | None:
        found = tpm.placed(machine(inside), uri).tpm
        assert found is not None
        return found.state

    assert state("qemu:///system") == state("qemu+ssh://kvm1/system") == USUAL
    assert state("qemu:///session") == f"/home/me/.config/libvirt/qemu/swtpm/{UUID}/tpm2/tpm2-00.permall"
    assert state("qemu+ssh://kvm1/session") is None
    assert state("qemu+ssh://kvm1/session", "<source type='file' path='/srv/tpm.bin'/>") == "/srv/tpm.bin"


def test_it_is_read_as_its_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "tpm2-00.permall"
    path.write_bytes(STATE)
    assert tpm.state(Tpm(state=str(path)), "web", HOST) == STATE
    assert tpm.concerns(Tpm(state=str(path)), "web", HOST) == []


def test_before_its_first_start_there_is_none(tmp_path: Path) -> None:
    assert tpm.state(Tpm(state=str(tmp_path / "gone")), "web", HOST) is None
    assert tpm.state(Tpm(state=str(tmp_path / "uuid" / "tpm2" / "tpm2-00.permall")), "web", HOST) is None
    assert tpm.state(Tpm(), "web", HOST) is None
    assert tpm.state(None, "web", HOST) is None


@pytest.mark.parametrize(("content", "why"), [(LOCKED, "encrypted"), (STATE[:-1], "cut off"), (b"", "fewer")])
def test_what_cannot_be_carried_says_why_and_what_to_do(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "tpm2-00.permall"
    path.write_bytes(content)
    with pytest.raises(SourceRefused, match=why) as told:
        tpm.state(Tpm(state=str(path)), "web", HOST)
    assert "keepTpm" in told.value.fix
    (concern,) = tpm.concerns(Tpm(state=str(path)), "web", HOST)
    assert concern.id == "source.tpm"
    assert why in concern.what


class Shut(Here):
    """A host whose folders may not be entered."""

    def run(self, argv: object) -> Completed:
        return Completed(("test",), 1, "", "")

    def read(self, path: Path, offset: int, length: int) -> bytes:
        raise SourceRefused(f"{path} cannot be read", why="Permission denied", fix="Give it rights.")


def test_of_a_folder_that_may_not_be_entered_nobody_says_that_it_is_empty() -> None:
    with pytest.raises(SourceRefused, match="Permission denied") as told:
        tpm.state(Tpm(state=USUAL), "web", Shut("lab", None))
    assert "keepTpm" in told.value.fix
