"""CDI's upload proxy as a stream: one POST of the raw disk, compressed on the way, told to wait until it is welcome.

    head, Expect ──> proxy ── 100 ──> a gzip member a block ── last chunk ──> 200
                       └── 401, 409, 503: nothing was sent

The proxy takes raw bytes inside gzip straight to the volume, without scratch space. Zeros are a member that was packed
once, so that holes cost little. The token is checked when the request begins; it lives for five minutes.
"""

from __future__ import annotations

import functools
import io
import os
import socket
import ssl
import time
import zlib
from http.client import HTTPException, HTTPMessage, parse_headers
from typing import BinaryIO, Self
from urllib.parse import urlsplit

from converters.extents import BLOCK_BYTES
from converters.uris import invalid
from kubeferry.errors import InputInvalid, KubeferryError, Problem, TargetBusy, TargetRefused, TargetUnavailable
from kubeferry.outside.patience import SLOWEST_BYTES, Timed
from kubeferry.uris import UPLOAD_CA, UPLOAD_SERVER_NAME, UPLOAD_TOKEN

CONNECT_SECONDS = 10.0
# The proxy waits 10 s for the upload server's pod before it answers.
WELCOME_SECONDS = 30.0
# A write that nobody takes, and the end: the server flushes and fits the image to the volume before it answers.
SILENCE_SECONDS = 300.0
PIECE_BYTES = 256 << 10
HOPS = 8
LEVEL = 1
LINE_LIMIT_BYTES = 8192
SAID_LIMIT_BYTES = 2000
AGAIN = "Run the same command again: the upload begins anew."


class Upload:
    """An upload that was let in. Close it: one that was not finished is cut off, and counts as failed there."""

    def __init__(self, url: str, token: str, *, ca: str | None = None, server_name: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise invalid(url, "it is no https address", "Correct target.uploadUrl.")
        self._where = f"{parts.hostname}:{parts.port or 443}"
        self._finished = False
        try:
            self._socket = _connected(parts.hostname, parts.port or 443, ca, server_name or parts.hostname)
        except ssl.SSLError as error:
            raise TargetRefused(
                f"the upload proxy at {self._where} is not the one that we know",
                why=error.reason or str(error),
                fix="Correct target.uploadCa and target.uploadServerName.",
            ) from error
        except OSError as error:
            raise self._lost(error) from error
        self._sent_bytes, self._spent_seconds = 0, 0.0
        self._answering = Timed(self._socket.makefile("rb", buffering=0))
        self._answers = io.BufferedReader(self._answering)
        try:
            self._begin(f"{parts.path or '/'}", parts.netloc, token)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    # --- a stream ----------------------------------------------------------------------------------------------------

    def data(self, view: memoryview) -> None:
        self._send(packed(view), len(view))

    def zeros(self, length: int) -> None:
        whole, rest = divmod(length, BLOCK_BYTES)
        for _ in range(whole):
            self._send(packed_zeros(BLOCK_BYTES), BLOCK_BYTES)
        if rest:
            self._send(packed_zeros(rest), rest)

    def finish(self) -> None:
        try:
            self._push(b"0\r\n\r\n")
            self._socket.settimeout(SILENCE_SECONDS)
            self._answering.within(SILENCE_SECONDS + self._sent_bytes / SLOWEST_BYTES)
            status, said = self._last_answer()
        except (OSError, HTTPException, ValueError) as error:
            raise self._lost(error) from error
        self._finished = True
        if status != 200:
            raise error_of(status, said)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _begin(self, path: str, host: str, token: str) -> None:
        """Send the head, and wait until the server asks for the rest."""
        head = (
            f"POST {path} HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Bearer {token}",
            "User-Agent: kubeferry",
            "Content-Type: application/octet-stream",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Connection: close",
        )
        try:
            self._socket.settimeout(WELCOME_SECONDS)
            self._answering.within(WELCOME_SECONDS)
            self._socket.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
            status, said = self._answer()
        except TimeoutError as error:
            raise TargetBusy(f"the upload proxy at {self._where} does not ask for the disk", fix=AGAIN) from error
        except (OSError, HTTPException, ValueError) as error:
            raise self._lost(error) from error
        if status != 100:
            raise error_of(status, said)
        self._socket.settimeout(SILENCE_SECONDS)

    def _send(self, member: bytes, length: int) -> None:
        """Send so many bytes of the disk, packed. Those are what the server has its time for: it writes them out."""
        self._sent_bytes += length
        try:
            self._push(b"%x\r\n%b\r\n" % (len(member), member))
        except OSError as error:
            raise self._refusal() or self._lost(error) from error

    def _push(self, data: bytes) -> None:
        """Send it all. The server has a deadline for all that it was sent so far, of which only the time counts in
        which it was waited for. Raises TimeoutError."""
        view = memoryview(data)
        while view:
            begun = time.monotonic()
            left = SILENCE_SECONDS + self._sent_bytes / SLOWEST_BYTES - self._spent_seconds
            if left <= 0:
                raise TimeoutError("it takes too little at a time")
            self._socket.settimeout(min(left, SILENCE_SECONDS))
            taken = self._socket.send(view[:PIECE_BYTES])
            self._spent_seconds += time.monotonic() - begun
            view = view[taken:]

    def _refusal(self) -> KubeferryError | None:
        """What the server said before it hung up, where it did."""
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            self._answering.within(CONNECT_SECONDS)
            status, said = self._last_answer()
        except (OSError, HTTPException, ValueError):
            return None
        return error_of(status, said)

    def _last_answer(self) -> tuple[int, str]:
        """The answer that is meant: each server on the way asks for the rest with one of its own."""
        for _ in range(HOPS):
            status, said = self._answer()
            if status != 100:
                return status, said
        raise ValueError("it asks for the disk again and again")

    def _answer(self) -> tuple[int, str]:
        """Status and words of the next answer. Raises ValueError for what is none."""
        line = self._answers.readline(LINE_LIMIT_BYTES)
        words = line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ValueError("it hung up" if not line else "what came is no answer of HTTP")
        headers = parse_headers(self._answers)
        status = int(words[1])
        return status, "" if status == 100 else _said(self._answers, headers)

    def _lost(self, error: Exception) -> KubeferryError:
        why = "nothing was heard for too long" if isinstance(error, TimeoutError) else str(error)
        return TargetUnavailable(f"the upload to {self._where} broke off", why=why, fix=AGAIN)


def open_upload(url: str) -> Upload:
    """The upload that the mover's environment lets us begin. Raises InputInvalid where it has no token."""
    token = os.environ.get(UPLOAD_TOKEN, "")
    if not token:
        raise InputInvalid(
            "the upload cannot begin", [Problem(UPLOAD_TOKEN, "is not set", "Uploads are begun by a migration.")]
        )
    return Upload(url, token, ca=os.environ.get(UPLOAD_CA), server_name=os.environ.get(UPLOAD_SERVER_NAME))


# --- pure ------------------------------------------------------------------------------------------------------------


def packed(view: bytes | memoryview) -> bytes:
    """Bytes as a gzip member of their own; members in a row are one gzip stream."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(view) + packer.flush()


@functools.lru_cache(maxsize=4)
def packed_zeros(length: int) -> bytes:
    """So many zeros, packed."""
    return packed(bytes(length))


def error_of(status: int, said: str) -> KubeferryError:
    """The error for an answer that is no success."""
    # CDI says 503 for a claim that is filled already, too: no waiting mends that.
    if status == 409 or "already finished uploading" in said:
        fix = "Run the same command again: it begins anew, with a claim of its own."
        return TargetRefused("something was uploaded to this claim already", why=said, fix=fix)
    if status in {429, 502, 503, 504}:
        return TargetBusy("the upload proxy takes nothing yet", why=f"{status} {said}".strip(), fix=AGAIN)
    if status in {401, 403}:
        fix = "Check that the clocks here and in the cluster agree: a token lives for five minutes."
        return TargetRefused("the upload proxy does not accept the token", why=said, fix=fix)
    if status >= 500:
        return TargetUnavailable(f"the upload failed there with {status}", why=said, fix=AGAIN)
    fix = "Look at the upload's pod in the namespace; the claim may be too small for the disk."
    return TargetRefused(f"the upload was refused with {status}", why=said, fix=fix)


def _said(answers: BinaryIO, headers: HTTPMessage) -> str:
    length = headers.get("Content-Length", "")
    count = min(int(length), SAID_LIMIT_BYTES) if length.isdigit() else SAID_LIMIT_BYTES
    text = answers.read(count).decode(errors="replace")
    return " ".join(text.split())


def _connected(host: str, port: int, ca: str | None, name: str) -> socket.socket:
    tls = ssl.create_default_context(cafile=ca)
    plain = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
    try:
        return tls.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise
