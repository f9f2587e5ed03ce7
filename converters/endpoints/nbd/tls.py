"""Endpoint on an NBD export that is reached by TCP, with TLS: asked for before anything else is said (STARTTLS).

The server must show a certificate of an authority that is trusted, with its name in it; ours is shown where there is
one. A server that has no TLS is refused: nothing is ever said to it in the clear. The files are called as QEMU's are.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

from converters.endpoints.nbd.client import ANSWER_SECONDS, Found, Nbd
from converters.endpoints.nbd.handshake import Declined, Wire, ask_for_tls, greet
from converters.endpoints.nbd.line import LOOK_MICROSECONDS, Line
from converters.uris import invalid
from kubeferry.errors import KubeferryError
from kubeferry.faults import Side, refused, unavailable
from kubeferry.model import DiskRef
from kubeferry.uris import NbdTls, nbd_tls

CERTIFICATES = "KUBEFERRY_NBD_CERTIFICATES"
"""The variable that names the folder of certificates where a URI names none."""
CA, OURS, KEY = "ca-cert.pem", "client-cert.pem", "client-key.pem"
CONNECT_SECONDS = 15
FORM = "Write nbds://HOST:PORT/EXPORT?tls-certificates=/folder, with tls-hostname=NAME where its certificate says NAME"


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Nbd:
    """Open `nbds://HOST:PORT/EXPORT?tls-certificates=FOLDER&tls-hostname=NAME`. `direct` has no meaning here: the
    server decides about its cache.

    Raises SourceRefused or TargetRefused for a server without TLS, one that is not trusted, or one that does not trust
    us; SourceUnavailable, TargetUnavailable when it does not answer; InputInvalid.
    """
    del direct
    place = nbd_tls(ref.uri)
    if place is None:
        raise invalid(ref.uri, "it does not say which server, or says what is not understood", f"{FORM}.")
    if place.psk_file is not None:
        from converters.endpoints.nbd.psk import relayed  # starts a program

        return relayed(place, side, work)
    return TlsNbd(place, side, context_of(place, side), ref.changed)


def context_of(place: NbdTls, side: Side) -> ssl.SSLContext:
    """Whom we trust, and who we are. Without a folder the authorities of this system are trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the certificate and the name in it
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    named = place.certificates or os.environ.get(CERTIFICATES)
    if not named:
        context.load_default_certs()
        return context
    folder = Path(named)
    read = folder / CA
    try:
        context.load_verify_locations(read)
        if (folder / OURS).exists():
            read = folder / KEY
            context.load_cert_chain(folder / OURS, read, password=lambda: b"")  # nobody is asked for one
    except OSError as error:  # of ssl, too
        words = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else ""
        why = words or "it is not as PEM has it, has a passphrase, or does not belong to the certificate beside it"
        fix = f"Put {CA} into that folder, and {OURS} with {KEY} where the server asks for them."
        raise refused(side, f"{read} cannot be used for TLS", why=why, fix=fix) from error
    return context


class Channel:
    """TLS on a line, in the words of one and with its errors. Raises Late, Interrupted, ConnectionError, SSLError."""

    def __init__(self, line: Line, context: ssl.SSLContext, hostname: str) -> None:
        self._patience = line.patience
        line.settimeout(LOOK_MICROSECONDS / 1e6)
        self._tls = context.wrap_socket(line, server_hostname=hostname, do_handshake_on_connect=False)
        self._patience.end = self._end
        try:
            self._patiently(self._tls.do_handshake)
        except BaseException:
            self._tls.close()
            raise

    def within(self, seconds: float) -> None:
        self._patience.within(seconds)

    def recv_into(self, buffer: memoryview, nbytes: int, flags: int) -> int:
        """All of it: a record at a time is what TLS gives."""
        del flags
        done = 0
        with contextlib.suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):  # as where a plain connection ends
            while done < nbytes:
                count = self._patiently(partial(self._tls.recv_into, buffer[done:nbytes]))
                if not count:
                    break
                done += count
        return done

    def sendall(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._patiently(partial(self._tls.send, view)) :]
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise ConnectionError("the server hung up") from error

    def farewell(self, data: bytes) -> None:
        self._tls.settimeout(0)
        self._tls.send(data)

    def close(self) -> None:
        self._tls.close()

    def _patiently(self, step: Callable[[], Found]) -> Found:
        """A step that may have to wait, taken again until it is done or it is time to end."""
        while True:
            self._patience.look()
            try:
                return step()
            except TimeoutError:
                continue

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._tls.shutdown(socket.SHUT_RDWR)


class TlsNbd(Nbd):
    """An NBD connection with TLS."""

    def __init__(self, place: NbdTls, side: Side, context: ssl.SSLContext, changed: str | None = None) -> None:
        self._place = place
        self._context = context
        super().__init__("", place.export, side, changed, where=f"{place.host}:{place.port}")

    def clone(self) -> Self:
        return self._twin(type(self)(self._place, self.side, self._context, self._changed))

    def _dial(self) -> Wire:
        wire = self._connected()
        try:
            wire.within(ANSWER_SECONDS)
            greet(wire)
            self._ask_for_tls(wire)
            return Channel(wire, self._context, self._place.hostname or self._place.host)
        except BaseException as error:
            wire.close()
            if isinstance(error, ssl.SSLEOFError):
                raise ConnectionError("the server hung up") from error
            raise

    def _connected(self) -> Line:
        try:
            wire = socket.create_connection((self._place.host, self._place.port), CONNECT_SECONDS)
        except (TimeoutError, socket.gaierror) as error:
            why = str(error.strerror or "it does not answer")
            fix = "Check its name, and that its port is reachable from here; then run the same again."
            raise unavailable(self.side, f"there is no connection to {self.where}", why=why, fix=fix) from error
        wire.settimeout(None)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Line(wire)

    def _ask_for_tls(self, wire: Wire) -> None:
        try:
            ask_for_tls(wire)
        except Declined as no:
            fix = "Start it with TLS (qemu-nbd --tls-creds, nbdkit --tls=require); without, nothing is said to it."
            raise refused(self.side, f"the NBD server at {self.where} has no TLS", why=str(no), fix=fix) from no

    def _lost(self, error: OSError) -> KubeferryError:
        found = tls_trouble(self.side, self.where, error)
        if found is None and isinstance(error, ConnectionError) and not hasattr(self, "_export"):
            fix = f"If it asks who we are, put {OURS} and {KEY} into the folder of certificates; look at what it logs."
            found = unavailable(self.side, f"the NBD server at {self.where} hung up on us", why=str(error), fix=fix)
        return found or super()._lost(error)


def tls_trouble(side: Side, where: str, error: OSError) -> KubeferryError | None:
    """What TLS says, in words; None for what is no word of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = f"Put the certificate of its authority into the folder of tls-certificates, as {CA}. {FORM}."
        return refused(side, f"the NBD server at {where} is not trusted", why=error.verify_message, fix=fix)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError):
        return None
    said = (error.reason or "").replace("_", " ").lower()
    if "alert" in said:
        fix = f"Give it a certificate of an authority that it trusts: {OURS} and {KEY} in the folder of certificates."
        return refused(side, f"the NBD server at {where} does not take us", why=said, fix=fix)
    fix = "Check that it is an NBD server with TLS 1.2 or later, and that nobody sits between."
    return refused(side, f"the NBD server at {where} does not speak TLS as it must", why=said, fix=fix)
