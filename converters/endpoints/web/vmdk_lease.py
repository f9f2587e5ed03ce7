"""Endpoint on a disk that a vSphere export lease streams: `vmdk-stream+https://HOST/nfc/…#sha256=DIGEST`.

The stream comes once, from its first byte to its last, and is decoded on the way. It needs no login: its URL is
one, for as long as the lease is kept. A stream that breaks off is a lease that was lost: a new one begins
at the first byte.

What comes is digested with SHA-1, as the server does for its manifest; only the source that asked for the lease can
compare the two.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
from contextlib import ExitStack
from pathlib import Path

from converters.endpoints.forward import Forward
from converters.endpoints.vmdk.stream import Stream
from converters.endpoints.web.client import Client, place_of, repeated
from kubeferry.faults import Side, refused, unavailable
from kubeferry.model import DiskRef

SCHEME = "vmdk-stream+https"


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Forward:
    """Open the stream. Raises SourceRefused when it is not there or no disk, SourceUnavailable when it breaks off."""
    del direct, work
    if side is not Side.SOURCE:
        fix = "Give a file, a device or an NBD export as the target."
        raise refused(side, "an exported stream cannot be written", fix=fix)
    with ExitStack() as opening:
        client = Client(place_of(ref.uri, SCHEME, os.environ))
        opening.callback(client.close)
        body = _Body(client)
        content = Stream(body, client.place.name)
        return Forward(content, client.place.name, opening.pop_all(), digest=body.digest)


class _Body:
    """The body of the answer, for the decoder."""

    def __init__(self, client: Client) -> None:
        self._name = client.place.name
        self._client = client
        self._answer = repeated(self._name, functools.partial(_begun, client))
        self._sha1 = hashlib.sha1(usedforsecurity=False)  # against damage on the way; TLS is against people

    def read(self, count: int) -> bytes:
        self._client.patient()
        try:
            found = self._answer.read(count)
        except (OSError, http.client.HTTPException) as error:
            raise self._cut(str(error) or type(error).__name__) from error
        if not found and self._answer.length:
            raise self._cut(f"{self._answer.length} bytes are missing")
        self._sha1.update(found)
        return found

    def digest(self) -> str:
        """Of all that was read so far."""
        return f"sha1:{self._sha1.hexdigest()}"

    def _cut(self, why: str) -> Exception:
        fix = "Run the same again: a new export is asked for."
        return unavailable(Side.SOURCE, f"the stream of {self._name} broke off", why=why, fix=fix)


def _begun(client: Client, _attempt: int) -> http.client.HTTPResponse:
    client.send({})
    answer = client.answer()
    if answer.status == 404:
        fix = "Run the same again: a new export is asked for."
        raise unavailable(Side.SOURCE, f"{client.place.name} is not there", why="its lease has ended", fix=fix)
    if answer.status != 200:
        raise client.wrong(answer.status)
    return answer
