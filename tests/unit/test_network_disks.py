"""Disks on servers in QEMU's words: what is read of a URI, what is left to a login, and what is no such disk."""

from __future__ import annotations

import base64
import json

import pytest

from kubeferry.images.network import SECRET, SECRET_WORDS, Login, is_read, node

NOBODY = Login()


def opened(uri: str, login: Login = NOBODY) -> dict[str, object]:
    """The node that reaches the server, below the raw one."""
    found = node(uri, login)
    assert found is not None
    assert (found["driver"], found["read-only"]) == ("raw", True)
    inner = found["file"]
    assert isinstance(inner, dict)
    assert inner.pop("read-only") is True
    return inner


@pytest.mark.parametrize(
    ("uri", "portal", "target", "lun"),
    [
        (
            "iscsi://10.1.2.3:3261/iqn.2024-01.org.example%3Astore/2",
            "10.1.2.3:3261",
            "iqn.2024-01.org.example:store",
            2,
        ),
        ("iscsi://storage/iqn.a%3Ab", "storage:3260", "iqn.a:b", 0),
        ("iscsi://[fd00::1]/iqn.a%3Ab/15", "[fd00::1]:3260", "iqn.a:b", 15),
        ("iscsi://[fd00::1]:860/iqn.a%3Ab/1", "[fd00::1]:860", "iqn.a:b", 1),
    ],
)
def test_a_lun(uri: str, portal: str, target: str, lun: int) -> None:
    assert opened(uri) == {"driver": "iscsi", "transport": "tcp", "portal": portal, "target": target, "lun": lun}


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("rbd:///pool/image", {"pool": "pool", "image": "image"}),
        ("rbd:///pool/space/a%20b", {"pool": "pool", "namespace": "space", "image": "a b"}),
        ("rbd://m:1/p/i?snapshot=a%2Fb", {"server": [{"host": "m", "port": "1"}], "snapshot": "a/b"}),
        (
            "rbd://m1:6789,[fd00::2],m3/p/i",
            {
                "server": [
                    {"host": "m1", "port": "6789"},
                    {"host": "fd00::2", "port": "0"},
                    {"host": "m3", "port": "0"},
                ]
            },
        ),
    ],
)
def test_an_image_of_ceph(uri: str, told: dict[str, object]) -> None:
    assert opened(uri) == {"driver": "rbd", "pool": "p", "image": "i"} | told


def test_a_login_is_told_where_it_is_asked_for_and_its_secret_nowhere() -> None:
    secret = b"\x00not text \xff"
    chap = Login(initiator="iqn.c:d", user="chap", secret=secret)
    assert opened("iscsi://h/iqn.a%3Ab", chap).items() >= {
        ("initiator-name", "iqn.c:d"),
        ("user", "chap"),
        ("password-secret", SECRET),
    }
    ceph = opened("rbd://m/p/i", Login(config="/etc/ceph/c.conf", user="admin", secret=secret))
    assert (ceph["conf"], ceph["user"], ceph["key-secret"]) == ("/etc/ceph/c.conf", "admin", SECRET)
    assert ceph["auth-client-required"] == ["cephx", "none"]
    assert chap.words == SECRET_WORDS
    assert base64.b64decode(chap.stdin or "") == secret
    assert NOBODY.words == ()
    assert NOBODY.stdin is None
    hidden = base64.b64encode(secret).decode()
    assert hidden not in json.dumps(node("iscsi://h/iqn.a%3Ab", chap)) + repr(chap) + " ".join(chap.words)
    assert "password-secret" not in opened("iscsi://h/iqn.a%3Ab", Login(user="chap"))
    assert opened("rbd://m/p/i", Login(user="admin"))["user"] == "admin"


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        "file:///a",
        "nbd://h/x",
        "iscsi+rdma://h/iqn.a%3Ab",
        "iscsi:///iqn.a%3Ab",
        "iscsi://h",
        "iscsi://h/",
        "iscsi://h/iqn.a%3Ab/one",
        "iscsi://h/iqn.a%3Ab/1/2",
        "iscsi://h,g/iqn.a%3Ab",
        "iscsi://h/iqn.a%3Ab?user=x",
        "iscsi://user@h/iqn.a%3Ab",
        "iscsi://h:port/iqn.a%3Ab",
        "iscsi://[h/iqn",
        "iscsi://h/iqn.a%3Ab#1",
        "rbd://m/image",
        "rbd://m/a/b/c/d",
        "rbd://m//image",
        "rbd://m,/p/i",
        "rbd://m/p/i?snapshot=",
        "rbd://m/p/i?snapshot=a&snapshot=b",
        "rbd://m/p/i?conf=/etc/passwd",
    ],
)
def test_what_is_not_understood_is_not_read(uri: str | None) -> None:
    assert not is_read(uri)
