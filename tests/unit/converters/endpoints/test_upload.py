"""The upload proxy's side of an upload, over TLS on loopback.

A double of CDI's proxy: it answers as told, and unpacks what it is sent. It does not check tokens, and stores nothing.
"""

from __future__ import annotations

import gzip
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from converters.endpoints import upload as upload_module
from converters.endpoints.upload import Upload, error_of, open_upload, packed, packed_zeros
from kubeferry.errors import InputInvalid, KubeferryError, TargetBusy, TargetRefused, TargetUnavailable
from kubeferry.outside.process import run
from kubeferry.uris import UPLOAD_CA, UPLOAD_SERVER_NAME, UPLOAD_TOKEN, upload_uri, upload_url

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nnot ready"


@dataclass
class Proxy:
    """Answers one request: `first` to its head; `last` to its body, if `first` asks for it."""

    certificate: Path
    first: bytes = CONTINUE
    last: bytes = OK
    head: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    hangs_up_after: int | None = None
    drips: bool = False  # what it answers goes on for ever, a sign at a time
    takes_a_second: int | None = None
    over: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def serve(self, listening: socket.socket) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
        try:
            with (
                tls.wrap_socket(listening.accept()[0], server_side=True) as connected,
                connected.makefile("rb") as lines,
            ):
                while (line := lines.readline()) not in {b"\r\n", b""}:
                    self.head += line
                connected.sendall(self.first)
                while self.takes_a_second is not None and not self.over.wait(0.1):
                    lines.read(self.takes_a_second // 10)
                self._drip(connected, self.first != CONTINUE)
                if self.first.startswith(CONTINUE):
                    while count := int(lines.readline(), 16):
                        self.body += lines.read(count)
                        lines.readline()
                        if self.hangs_up_after is not None and len(self.body) > self.hangs_up_after:
                            connected.sendall(self.last)
                            return
                    connected.sendall(self.last)
                    self._drip(connected, True)
        except (OSError, ValueError):
            return  # the other side went away

    def _drip(self, connected: ssl.SSLSocket, here: bool) -> None:
        while self.drips and here:
            connected.sendall(b" ")
            time.sleep(0.02)

    def upload(self, **more: str) -> Upload:
        name = more.pop("server_name", "proxy.example")
        return Upload(
            f"https://127.0.0.1:{self.port}/v1beta1/upload", "secret", ca=str(self.certificate), server_name=name
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "proxy.crt"
    names = ["-subj", "/CN=proxy.example", "-addext", "subjectAltName=DNS:proxy.example"]
    key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        str(path.with_suffix(".key")),
    ]
    run(["openssl", "req", "-x509", "-days", "2", "-out", str(path), *key, *names])
    return path


@pytest.fixture
def proxy(certificate: Path) -> Iterator[Callable[..., Proxy]]:
    threads: list[threading.Thread] = []
    opened: list[socket.socket] = []
    made_ones: list[Proxy] = []

    def make(**answers: object) -> Proxy:
        listening = socket.create_server(("127.0.0.1", 0))
        made = Proxy(certificate, port=listening.getsockname()[1], **answers)  # type: ignore[arg-type]
        opened.append(listening)
        made_ones.append(made)
        threads.append(threading.Thread(target=made.serve, args=(listening,)))
        threads[-1].start()
        return made

    yield make
    for one in made_ones:
        one.over.set()
    for thread in threads:
        thread.join(10)
    for listening in opened:
        listening.close()


def test_a_disk_arrives_as_one_gzip_stream(proxy: Callable[..., Proxy]) -> None:
    served = proxy(last=CONTINUE + OK)
    with served.upload() as upload:
        upload.data(memoryview(b"data" * 1000))
        upload.zeros((5 << 20) + 512)
        upload.data(memoryview(b"end"))
        upload.finish()
    assert gzip.decompress(bytes(served.body)) == b"data" * 1000 + bytes((5 << 20) + 512) + b"end"
    assert len(served.body) < 50_000, "zeros cost little"
    assert b"Authorization: Bearer secret\r\n" in served.head
    assert served.head.startswith(b"POST /v1beta1/upload HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (401, "", TargetRefused),
        (409, "", TargetRefused),
        (400, "image is larger", TargetRefused),
        (503, "not ready", TargetBusy),
        (503, "claim x that already finished uploading", TargetRefused),
        (429, "", TargetBusy),
        (500, "", TargetUnavailable),
    ],
)
def test_each_answer_is_an_error_of_its_kind(status: int, said: str, kind: type[KubeferryError]) -> None:
    error = error_of(status, said)
    assert type(error) is kind
    assert error.fix


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["welcome", "end"])
def test_an_answer_that_drips_has_a_deadline(
    where: str, proxy: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_module, "WELCOME_SECONDS", 0.5)
    monkeypatch.setattr(upload_module, "SILENCE_SECONDS", 0.5)
    begun = time.monotonic()
    if where == "welcome":
        with pytest.raises(TargetBusy, match="does not ask for the disk"):
            proxy(first=b"HTTP/1.1 100", drips=True).upload()
    else:
        with proxy(last=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", drips=True).upload() as upload:
            upload.data(memoryview(b"data"))
            with pytest.raises(TargetUnavailable, match="broke off"):
                upload.finish()
    assert time.monotonic() - begun < 20


@pytest.mark.timeout(60)
def test_a_proxy_that_takes_a_little_at_a_time_has_a_deadline(
    proxy: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something of each piece is taken in time, and the whole would take for ever."""
    monkeypatch.setattr(upload_module, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(upload_module, "SLOWEST_BYTES", 1 << 30)
    begun = time.monotonic()
    with proxy(takes_a_second=32 << 10).upload() as upload, pytest.raises(TargetUnavailable, match="broke off"):
        flood(upload)
    assert time.monotonic() - begun < 30


@pytest.mark.timeout(60)
def test_a_proxy_that_writes_zeros_slowly_is_waited_for(
    proxy: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes on the way are a thousand times as many on its disk: those are what it has its time for."""
    monkeypatch.setattr(upload_module, "SILENCE_SECONDS", 2.0)
    monkeypatch.setattr(upload_module, "SLOWEST_BYTES", 16 << 20)
    waited = 0.0
    with proxy(takes_a_second=1 << 20).upload() as upload:
        while waited < 5:
            begun = time.monotonic()
            upload.zeros(64 << 20)
            waited += max(0.0, time.monotonic() - begun - 0.05)


def test_a_busy_proxy_is_told_before_anything_is_sent(proxy: Callable[..., Proxy]) -> None:
    with pytest.raises(TargetBusy) as told:
        proxy(first=BUSY).upload()
    assert told.value.why == "503 not ready"


@pytest.mark.parametrize("nonsense", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1\r\n"])
def test_what_is_no_answer_is_an_upload_that_broke_off(nonsense: bytes, proxy: Callable[..., Proxy]) -> None:
    with pytest.raises(TargetUnavailable, match="broke off"):
        proxy(first=nonsense).upload()


def test_a_proxy_that_asks_for_ever_is_given_up(proxy: Callable[..., Proxy]) -> None:
    with proxy(last=CONTINUE * 50).upload() as upload, pytest.raises(TargetUnavailable, match="broke off"):
        upload.finish()


def flood(upload: Upload) -> None:
    """More than any buffer on the way holds."""
    noise = memoryview(random.randbytes(1 << 20))
    for _ in range(200):
        upload.data(noise)


def test_a_refusal_in_the_middle_is_what_is_told(proxy: Callable[..., Proxy]) -> None:
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\ntoo large"
    served = proxy(last=refusal, hangs_up_after=1000)
    with served.upload() as upload, pytest.raises((TargetRefused, TargetUnavailable)):
        flood(upload)


def test_an_answer_that_fails_at_the_end_is_an_error(proxy: Callable[..., Proxy]) -> None:
    failed = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 7\r\n\r\nno room"
    with proxy(last=failed).upload() as upload, pytest.raises(TargetUnavailable) as told:
        upload.finish()
    assert told.value.why == "no room"


def test_another_certificate_is_refused(proxy: Callable[..., Proxy]) -> None:
    with pytest.raises(TargetRefused, match="not the one that we know"):
        proxy().upload(server_name="elsewhere.example")


def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(TargetUnavailable):
        Upload(f"https://127.0.0.1:{port}/", "secret")


@pytest.mark.parametrize("url", ["http://proxy.example/", "https:///x", "ftp://proxy.example"])
def test_an_address_that_is_not_https_is_refused(url: str) -> None:
    with pytest.raises(InputInvalid):
        Upload(url, "secret")


def test_the_token_comes_from_the_environment(proxy: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch) -> None:
    served = proxy()
    url = f"https://127.0.0.1:{served.port}/v1beta1/upload"
    monkeypatch.delenv(UPLOAD_TOKEN, raising=False)
    with pytest.raises(InputInvalid, match="cannot begin"):
        open_upload(url)
    for name, value in (
        (UPLOAD_TOKEN, "other"),
        (UPLOAD_CA, str(served.certificate)),
        (UPLOAD_SERVER_NAME, "proxy.example"),
    ):
        monkeypatch.setenv(name, value)
    with open_upload(url) as upload:
        upload.finish()
    assert b"Bearer other" in served.head


def test_members_in_a_row_are_one_stream() -> None:
    assert gzip.decompress(packed(b"one") + packed_zeros(3) + packed(b"two")) == b"one\0\0\0two"
    assert packed_zeros(1 << 20) is packed_zeros(1 << 20)


def test_an_uploads_uri_holds_its_address() -> None:
    assert upload_url(upload_uri("https://proxy.example/v1beta1/upload")) == "https://proxy.example/v1beta1/upload"
    assert upload_url("file:///disk.img") is None
