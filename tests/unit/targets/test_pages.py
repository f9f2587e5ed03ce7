"""One page of a web server, over a socket that is as slow, as long and as odd as the test wants it to be."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubeferry.documents import Probe
from kubeferry.errors import TargetUnavailable
from kubeferry.outside.process import run
from kubeferry.targets.directory.local_access import LocalAccess
from kubeferry.targets.guest import pages, probes
from tests.needs import needs

Serve = Callable[[socket.socket], None]
Started = Callable[[Serve], int]


@pytest.fixture
def serve() -> Iterator[Started]:
    """A port on loopback at which each connection is answered as the test says."""
    with contextlib.ExitStack() as stack:

        def start(answer: Serve) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(5)
            thread = threading.Thread(target=answering, args=(listener, answer))
            stack.callback(thread.join)
            stack.callback(listener.close)
            stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
            thread.start()
            return int(listener.getsockname()[1])

        yield start


def answering(listener: socket.socket, answer: Serve) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        with link, contextlib.suppress(OSError):
            link.settimeout(5)
            answer(link)


def says(*pieces: bytes, pause: float = 0) -> Serve:
    """The request is read, then these pieces come, one after the other."""

    def answer(link: socket.socket) -> None:
        link.recv(65536)
        for piece in pieces:
            link.sendall(piece)
            time.sleep(pause)

    return answer


def ask(port: int, seconds: float = 5.0, **wanted: object) -> probes.Answer:
    probe = Probe.model_validate({"kind": "http", "port": 80, **wanted})
    way = LocalAccess(Path("no agent"), None, {80: (port,)}, time.monotonic, lambda: None)
    return probes.attempt(probes.question(probe, way, {}), seconds)


FOUND = b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/login\r\nContent-Length: 0\r\n\r\n"


def test_no_redirect_is_followed_and_where_it_leads_is_told(serve: Started) -> None:
    seen = ask(serve(says(FOUND)))
    assert not seen.ok
    assert seen.evidence.startswith("302 (sends to https://elsewhere.example/login, which is not followed)")


def test_the_status_that_is_asked_for_counts(serve: Started) -> None:
    assert ask(serve(says(FOUND)), status=302).ok
    assert not ask(serve(says(b"HTTP/1.1 200 OK\r\n\r\nhello")), status=302).ok
    assert ask(serve(says(b"HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\nlogin")), status=401, expect="login").ok


def test_a_page_without_an_end_is_cut_off_where_it_is_long_enough(serve: Started) -> None:
    def endless(link: socket.socket) -> None:
        link.recv(65536)
        link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            link.sendall(b"x" * 65536)

    began = time.monotonic()
    assert ask(serve(endless)).ok
    assert time.monotonic() - began < 4


def test_a_page_that_drips_has_no_more_time_than_there_is(serve: Started) -> None:
    """Each drop comes soon after the one before: what is bounded is the whole of it."""
    drops = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 100]
    began = time.monotonic()
    seen = ask(serve(says(*drops, pause=0.1)), seconds=0.6)
    assert not seen.ok
    assert "no whole answer within 0.6 s" in seen.evidence or "timed out" in seen.evidence
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    ],
)
def test_what_is_no_answer_is_said_to_be_none(serve: Started, said: bytes) -> None:
    seen = ask(serve(says(said)), seconds=1.0)
    assert (seen.ok, seen.final) == (False, False)
    assert seen.evidence.startswith("no answer on port 80: ")


def test_a_path_can_end_neither_line_nor_request(serve: Started) -> None:
    heard: list[bytes] = []

    def listen(link: socket.socket) -> None:
        heard.append(link.recv(65536))
        link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    assert ask(serve(listen), path="/a b\r\nX: y/ü?q=%20", host="shop.example").ok
    lines = heard[0].split(b"\r\n")
    assert lines[0] == b"GET /a%20b%0D%0AX:%20y/%C3%BC?q=%20 HTTP/1.1"
    assert lines[1:3] == [b"Host: shop.example", b"Connection: close"]


def test_of_several_ways_in_the_one_counts_that_has_the_wanted_page(serve: Started) -> None:
    wrong, right = serve(says(b"HTTP/1.1 404 No\r\n\r\n")), serve(says(b"HTTP/1.1 200 OK\r\n\r\nshop"))
    probe = Probe(kind="http", port=80, expect="shop")
    way = LocalAccess(Path("no agent"), None, {80: (1, wrong, right)}, time.monotonic, lambda: None)
    assert way.page(probe, 3.0) == pages.Page(200, "shop")


# --- inside TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of shop.example, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "shop.pem"
    names = ["-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path) + ".key"]
    run(["openssl", "req", "-x509", "-days", "2", "-out", str(path), *key, *names])
    return path


def secured(certificate: Path, answer: Serve, newest: ssl.TLSVersion | None = None) -> Serve:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, str(certificate) + ".key")
    if newest is not None:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
        context.set_ciphers("ALL:@SECLEVEL=0")

    def wrapped(link: socket.socket) -> None:
        with context.wrap_socket(link, server_side=True) as inner:
            answer(inner)

    return wrapped


PAGE = b"HTTP/1.1 200 OK\r\n\r\n" + b"shop " * 20_000


@needs("openssl")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("newest", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1])
def test_any_certificate_will_do_where_none_is_checked(
    serve: Started, certificate: Path, newest: ssl.TLSVersion | None
) -> None:
    """Old systems speak old TLS, and their certificates have run out."""
    port = serve(secured(certificate, says(PAGE), newest))
    seen = ask(port, tls="unchecked", expect="shop shop")
    assert seen.ok, seen.evidence
    assert not ask(port, seconds=1.0, expect="shop").ok, "it speaks nothing but TLS"


@needs("openssl")
def test_a_certificate_that_is_checked_is_trusted_and_has_the_name(
    serve: Started, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(secured(certificate, says(PAGE)))
    strange = ask(port, tls="checked", host="shop.example")
    assert (strange.ok, strange.final) == (False, False)
    assert "certificate" in strange.evidence
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ask(port, tls="checked", host="shop.example").ok
    assert "mismatch" in ask(port, tls="checked", host="other.example").evidence


@needs("openssl")
def test_a_handshake_has_no_more_time_than_there_is(serve: Started) -> None:
    began = time.monotonic()
    assert not ask(serve(says(*[b"\x16"] * 100, pause=0.1)), seconds=0.6, tls="unchecked").ok
    assert time.monotonic() - began < 2


def test_who_checks_names_whom(serve: Started) -> None:
    with pytest.raises(ValueError, match="needs host"):
        Probe.model_validate({"kind": "http", "port": 443, "tls": "checked"})
    with pytest.raises(TargetUnavailable, match="no answer on port 443"):
        LocalAccess(Path("no agent"), None, {443: (1,)}, time.monotonic, lambda: None).page(
            Probe(kind="http", port=443), 1.0
        )
