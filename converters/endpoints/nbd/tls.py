"""Endpoint on an NBD export that is reached by TCP, with TLS: asked for before anything else is said (STARTTLS).

The server must show a certificate of an authority that is trusted, with its name in it; ours is shown where there is
one. A server that has no TLS is refused: nothing is ever said to it in the clear. The files are called as QEMU's are.
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Self, cast

from converters.endpoints.nbd.client import ANSWER_SECONDS, Nbd
from converters.endpoints.nbd.handshake import Declined, Wire, ask_for_tls, greet
from converters.endpoints.nbd.line import Line
from converters.uris import invalid
from kubeferry.errors import KubeferryError
from kubeferry.faults import Side, refused, unavailable
from kubeferry.uris import NbdTls, nbd_tls
from kubeferry.values import DiskRef

CERTIFICATES = "KUBEFERRY_NBD_CERTIFICATES"
"""The variable that names the folder of certificates where a URI names none."""
CA, OURS, KEY = "ca-cert.pem", "client-cert.pem", "client-key.pem"
CONNECT_SECONDS = 15
PIECE_BYTES = 256 << 10
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
    """TLS on a line, with its deadlines and errors. Raises ssl.SSLError besides."""

    def __init__(self, line: Line, context: ssl.SSLContext, name: str) -> None:
        self._line = line
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._piece = memoryview(bytearray(PIECE_BYTES))

    def shake_hands(self) -> None:
        """Raises ConnectionError where the other end hangs up."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange()
            except ssl.SSLEOFError as error:
                raise ConnectionError("the server hung up") from error
            else:
                self._send()
                return

    def _exchange(self) -> None:
        """What TLS has to say goes out, and what there is for it comes in."""
        self._send()
        count = self._line.recv_into(self._piece, len(self._piece))
        if count:
            self._in.write(self._piece[:count])
        else:
            self._in.write_eof()

    def _send(self) -> None:
        if self._out.pending:
            self._line.sendall(self._out.read())

    def within(self, seconds: float) -> None:
        self._line.within(seconds)

    def recv_into(self, buffer: memoryview, nbytes: int, flags: int) -> int:
        """All of it, less where the other end has hung up."""
        del flags
        done = 0
        while done < nbytes:
            try:
                count = cast("int", self._tls.read(nbytes - done, buffer[done:nbytes]))  # a record at most
            except ssl.SSLWantReadError:
                self._exchange()
                continue
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                break
            if not count:
                break
            done += count
        return done

    def sendall(self, *parts: bytes | memoryview) -> None:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[self._tls.write(view[:PIECE_BYTES]) :]
                if self._out.pending >= PIECE_BYTES:
                    self._send()
        self._send()

    def farewell(self, data: bytes) -> None:
        self._tls.write(data)
        self._line.farewell(self._out.read())

    def close(self) -> None:
        self._line.close()


class TlsNbd(Nbd):
    """An NBD connection with TLS."""

    def __init__(self, place: NbdTls, side: Side, context: ssl.SSLContext, changed: str | None = None) -> None:
        self._place = place
        self._context = context
        super().__init__("", place.export, side, changed, where=f"{place.host}:{place.port}")

    def clone(self) -> Self:
        return self._twin(type(self)(self._place, self.side, self._context, self._changed))

    def _dial(self) -> Wire:
        line = self._connected()
        try:
            line.within(ANSWER_SECONDS)
            greet(line)
            self._ask_for_tls(line)
            channel = Channel(line, self._context, self._place.hostname or self._place.host)
            channel.shake_hands()
        except BaseException:
            line.close()
            raise
        return channel

    def _connected(self) -> Line:
        fix = "Check its name, and that its port is reachable from here; then run the same again."
        try:
            found = socket.getaddrinfo(self._place.host, self._place.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            why = error.strerror or "" if isinstance(error, OSError) else str(error)
            raise unavailable(self.side, f"there is no connection to {self.where}", why=why, fix=fix) from error
        for family, *_, address in found:
            line = Line(family)
            line.within(CONNECT_SECONDS)
            try:
                line.connect(address)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                line.close()
                why = error.strerror or str(error)
            except BaseException:
                line.close()
                raise
            else:
                return line
        raise unavailable(self.side, f"there is no connection to {self.where}", why=why, fix=fix)

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
