"""Places on web servers: what a URI says, and that none of it is a login that could be shown."""

from __future__ import annotations

import base64
import http.client
import socket

import pytest

from converters.endpoints.web.client import Broken, Client, Login, place_of, repeated
from converters.endpoints.web.https import Https
from converters.engine.disks import parse_ref
from converters.engine.witness import known_by
from kubeferry import uris
from kubeferry.errors import InputInvalid, SourceRefused, SourceUnavailable
from kubeferry.model import DiskRef

PIN = "ab" * 32
URI = f"https://vc:8443/folder/a%20b/d-flat.vmdk?dcPath=DC&dsName=x#sha256={PIN}&login=GOVC"
LOGIN = {"GOVC_USERNAME": "ann", "GOVC_PASSWORD": "s3cret"}


def test_a_place_has_its_pin_and_its_login_from_the_environment() -> None:
    place = place_of(URI, "https", LOGIN)
    assert (place.host, place.port, place.pin) == ("vc", 8443, PIN)
    assert place.path == "/folder/a%20b/d-flat.vmdk?dcPath=DC&dsName=x"
    assert place.name == "d-flat.vmdk at vc:8443"
    assert place.login.headers() == {"Authorization": f"Basic {base64.b64encode(b'ann:s3cret').decode()}"}
    place.login.session = "vmware_soap_session=1"
    assert place.login.headers() == {"Cookie": "vmware_soap_session=1"}
    assert "s3cret" not in repr(place)
    assert base64.b64encode(b"ann:s3cret").decode() not in repr(place)


def test_without_a_word_on_a_login_there_is_none() -> None:
    assert place_of(uris.pinned("https://vc/a", PIN), "https", LOGIN).login.headers() == {}
    assert place_of("https://vc/a", "https", {}).pin is None


def test_a_login_that_is_not_set_is_named() -> None:
    with pytest.raises(SourceRefused) as told:
        place_of(URI, "https", {"GOVC_USERNAME": "ann"})
    assert "GOVC_PASSWORD is not set" in told.value.why


@pytest.mark.parametrize(
    "uri",
    [
        "https:///a",
        "https://ann:pw@vc/a",
        "http://vc/a",
        "https://vc:port/a",
        "https://vc/a#sha256=ab",
        f"https://vc/a#sha256={PIN}&login=",
        "https://vc/a#anything",
        "https://vc/\u00e4.img",
        "https://a..b/x",
        f"https://{'a' * 70}/x",
    ],
)
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(InputInvalid) as told:
        place_of(uri, "https", LOGIN)
    assert "pw" not in str(told.value).replace("PREFIX", "")


def test_a_person_may_name_such_a_disk() -> None:
    assert parse_ref(URI).uri == URI


def test_work_is_repeated_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.endpoints.web.client.FIRST_PAUSE_SECONDS", 0)
    tries: list[int] = []

    def work(attempt: int) -> str:
        tries.append(attempt)
        if attempt < 2:
            raise Broken("busy")
        return "done"

    assert repeated("it", work) == "done"
    assert tries == [0, 1, 2]

    def never(_attempt: int) -> None:
        raise Broken("status 503")

    with pytest.raises(SourceUnavailable) as told:
        repeated("it", never)
    assert told.value.why == "status 503, 5 times"
    assert Login().headers() == {}


def test_a_file_of_a_server_is_known_by_its_version() -> None:
    """A copy that was stopped does not go on with another one."""
    place = place_of("https://vc/a", "https", {})
    with Https(place, known=(8, '"v1"')) as one, Https(place, known=(8, '"v2"')) as other:
        source = DiskRef(uri="https://vc/a")
        assert known_by(source, one) == known_by(source, one) != known_by(source, other)


@pytest.mark.parametrize(
    "head", [f"Content-Length: {1 << 50}\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n8\r\n"], ids=["long", "endless"]
)
def test_an_answer_that_goes_on_behind_its_range_is_refused_and_not_held(head: str) -> None:
    near, far = socket.socketpair()
    with near, far, Https(place_of("https://vc/a", "https", {}), known=(8, "")) as disk:
        near.settimeout(5)
        far.sendall(f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/8\r\n{head}12345678\r\n".encode())
        answer = http.client.HTTPResponse(near)
        answer.begin()
        view = memoryview(bytearray(4))
        with pytest.raises(SourceRefused, match="more bytes"):
            disk._filled(Client(place_of("https://vc/a", "https", {})), answer, view)
        assert view == b"1234"
