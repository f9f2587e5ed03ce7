"""Local paths and parts of files in URIs: there and back, and everything that is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kubeferry.uris import NbdSsh, Packed, Part, local_path, nbd_ssh, packed, pin_of, pinned, view_of


@pytest.mark.parametrize("path", ["/a", "/a b/c%20d", "/ü/#?;&=", "/dev/disk/by-path/pci-0000:03:00.0-lun-0"])
def test_local_paths_come_back_from_their_uris(path: str) -> None:
    assert local_path(Path(path).as_uri()) == Path(path)
    assert local_path(Path(path).as_uri().replace("file:", "block:", 1)) == Path(path)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/a",
        "file:a",
        "file://host/a",
        "file:///a?format=raw",
        "file:///a#b",
        "file:///a%00b",
        "file://[a",
        "nbd+unix:///a",
        "https://host/a",
    ],
)
def test_what_is_no_local_path_is_told(uri: str) -> None:
    assert local_path(uri) is None


DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("name", ["a.ova", "a b,c:d&part=1,2.ova", "ü#?%20.vmdk"])
def test_parts_of_files_come_back_from_their_uris(name: str, gzip: bool) -> None:
    first = Part(Path("/exports of 2024") / name, 512, 10**12, DIGEST)
    for parts in ((first,), (first, Part(first.path, 0, 0)), (first, Part(first.path.with_name("x, y"), 7, 1, DIGEST))):
        told = Packed("vmdk-stream+file", parts, gzip=gzip)
        assert packed(told.uri()) == told


@pytest.mark.parametrize(
    "uri",
    [
        "vmdk+file:///a",
        "vmdk+file:a?part=0,1,,",
        "vmdk+file://host/a?part=0,1,,",
        "vmdk+file:///a?part=0,1",
        "vmdk+file:///a?part=-1,1,,",
        "vmdk+file:///a?part=0,1,md5:00,",
        "vmdk+file:///a?part=0,1,sha1:00,",
        "vmdk+file:///a?part=0,1,,..",
        "vmdk+file:///a?part=0,1,,b/c",
        "vmdk+file:///a?part=0,1,,%00",
        "vmdk+file:///a?part=0,1,,&part=x",
        "vmdk+file:///a?part=0,1,,&compression=bzip2",
        "vmdk+file:///a?part=0,1,,&more=1",
        "vmdk+file:///a%00?part=0,1,,",
        "file:///a?part=0,1,,",
        "vmdk+file://[a",
        "vmdk+file:///a?" + "&".join(["part=0,1,,"] * 5000),
    ],
)
def test_what_is_no_part_of_a_file_is_told(uri: str) -> None:
    assert packed(uri) is None


def test_a_pinned_address_may_name_its_bytes() -> None:
    pin = "ab" * 32
    uri = pinned("https://esx/nfc/5/a.vmdk", pin, view="vc:443/snapshot-7/2000")
    assert view_of(uri) == "vc%3A443%2Fsnapshot-7%2F2000"
    assert pin_of(uri) == ("https://esx/nfc/5/a.vmdk", pin, None)
    assert pin_of(pinned("https://vc/a", pin, login="GOVC")) == ("https://vc/a", pin, "GOVC")
    assert view_of("https://vc/a") is None


SSH = NbdSsh("ann", "hv", 22, "/run/a b.sock", "ssh-ed25519 AAAA", "x/y")


@pytest.mark.parametrize(
    "place",
    [SSH, replace(SSH, connections=1), replace(SSH, ciphers="aes128-gcm@openssh.com,aes256-ctr", compression=True)],
)
def test_a_disk_behind_ssh_comes_back_from_its_uri(place: NbdSsh) -> None:
    assert nbd_ssh(place.uri()) == place


@pytest.mark.parametrize(
    "more", ["connections=0", "connections=17", "connections=x", "ciphers=+aes", "ciphers=", "compression=9", "other=1"]
)
def test_what_a_disk_behind_ssh_asks_for_is_understood_or_refused(more: str) -> None:
    assert nbd_ssh(f"{SSH.uri()}&{more}") is None
    assert nbd_ssh(f"{SSH.uri()}&socket=/b") is None
