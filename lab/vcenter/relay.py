"""The relay in front of the simulator: TLS, and what the simulator leaves out or is too kind about.

What it does not do: anything of its own about machines, folders, tasks, tags. Of logins it checks those for files only
(the simulator checks its own). It streams one disk as it was at the snapshot, and counts what it streamed. A session
that it was told to expire is one that the simulator is not told of. It keeps no order between two clients.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import re
import ssl
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lab.serving import Server, running
from lab.vcenter import disks, soap
from lab.vcenter.faults import Rules
from lab.vmdk import write_stream

NFC = re.compile(r"/nfc/([^/]+)/([^/?]+)")
HOP = {"transfer-encoding", "connection", "content-length", "keep-alive"}
COOKIE = "vmware_soap_session"
# Answers of a tracker that is wrong: an area outside of any disk, and an answer that covers nothing.
LIES = {"outside": soap.areas(0, 1 << 62, [(1 << 61, 512)]), "stuck": soap.areas(0, 0, [])}


class Relay:
    """A server on loopback. `frozen` is the folder that the simulator writes to."""

    def __init__(self, upstream: tuple[str, int], frozen: Path, login: tuple[str, str], certificate: tuple[Path, Path]):
        self.rules = Rules()
        self.frozen = frozen
        self.upstream = upstream
        self.login = login
        self.content = disks.logged_in(*upstream, *login)
        self.sessions: set[str] = set()
        self.leases: dict[str, float] = {}
        self.streamed: dict[tuple[str, str], tuple[str, int, int]] = {}
        handler = type("Handler", (_Handler,), {"relay": self})
        self._server = Server(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._open = contextlib.ExitStack()
        self._open.enter_context(running(self._server, "vcenter-relay"))

    def expire(self) -> None:
        """No session of before is known any more."""
        self.sessions.clear()

    def lost_lease(self, lease: str) -> bool:
        """Whether a lease has ended, by itself or not."""
        if time.monotonic() - self.leases.get(lease, 0) > self.rules.lease_seconds:
            self.leases.pop(lease, None)  # it does not come back
        return lease not in self.leases

    def close(self) -> None:
        self._open.close()
        self.content.rootFolder._stub.DropConnections()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 << 10  # head and body in one piece: else each answer waits for an acknowledgement
    disable_nagle_algorithm = True
    relay: Relay

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith("/sdk"):
            self._rest(body)
            return
        method = soap.method_of(body)
        kind = self.relay.rules.of(method)
        if kind in LIES:
            self._send(200, LIES[kind])
        elif kind is not None and kind.startswith("fault:"):
            self._send(500, soap.fault(kind.partition(":")[2], "told to fail"))
        elif kind is not None:
            self._broken(kind)
        else:
            own = OWN.get(method)
            if own is None or not own(self, body):
                self._forward(method, body)

    def do_GET(self) -> None:
        if found := NFC.match(self.path):
            self._stream(unquote(found[1]), unquote(found[2]))
        elif self.path.startswith("/folder/"):
            self._file()
        else:
            self._rest(b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self._rest(b"")

    # --- SOAP ------------------------------------------------------------------------------------------------------

    def _forward(self, method: str, body: bytes) -> None:
        """To the simulator and back. Sessions are noted, addresses and timeouts of leases are ours."""
        headers = {key: value for key, value in self.headers.items() if key.lower() not in {"host", *HOP}}
        cookie = self._cookie()
        if cookie and cookie not in self.relay.sessions:
            headers.pop("Cookie", None)
        status, told, content = self._asked("POST", body, headers)
        for name, value in told:
            if name.lower() == "set-cookie" and status == 200:
                self.relay.sessions.add(value.partition(";")[0].partition("=")[2])
        ours = f"https://127.0.0.1:{self.relay.port}".encode()
        content = content.replace("http://{}:{}".format(*self.relay.upstream).encode(), ours)
        for privilege in self.relay.rules.denied:
            granted = rf"(<privId>{re.escape(privilege)}</privId>\s*<isGranted>)true"
            content = re.sub(granted.encode(), rb"\1false", content)
        timeout = f"<leaseTimeout>{self.relay.rules.lease_seconds}<".encode()
        content = re.sub(rb"<leaseTimeout>\d+<", timeout, content)
        if method == "ExportSnapshot" and status == 200:
            self.relay.leases[soap.field(content, "returnval")] = time.monotonic()
        self._send(status, content, told)

    def _progress(self, body: bytes) -> bool:
        lease = soap.field(body, "_this")
        if self.relay.lost_lease(lease):
            self._send(500, soap.fault("ManagedObjectNotFound", "the lease has timed out"))
            return True
        self.relay.leases[lease] = time.monotonic()
        return False

    def _lease_ends(self, body: bytes) -> bool:
        self.relay.leases.pop(soap.field(body, "_this"), None)
        return False

    def _manifest(self, body: bytes) -> bool:
        lease = soap.field(body, "_this")
        wrong = tuple(self.relay.rules.miscounted)
        found = [
            (key, "0" * 40 if wrong and key.endswith(wrong) else sha1, size, capacity)
            for (owner, key), (sha1, size, capacity) in self.relay.streamed.items()
            if owner == lease
        ]
        self._send(200, soap.manifest(found))
        return True

    def _shut_down(self, body: bytes) -> bool:
        if soap.field(body, "_this") not in self.relay.rules.deaf:
            return False
        self._send(500, soap.fault("ToolsUnavailable", "VMware Tools is not running"))
        return True

    def _areas(self, body: bytes) -> bool:
        machine, key = soap.field(body, "_this"), int(soap.field(body, "deviceKey"))
        start, change = int(soap.field(body, "startOffset")), soap.field(body, "changeId")
        disk = next((one for one in disks.files_of(self.relay.content, machine) if one.key == key), None)
        uuid, _, number = change.rpartition("/")
        frozen = self.relay.frozen / f"{uuid}-{int(number or 0):08x}" if number.isdigit() else None
        if disk is None or change in self.relay.rules.stale or (change != "*" and not (frozen and frozen.exists())):
            self._send(500, soap.fault("FileFault", "the change id is not known any more"))
            return True
        told = (
            disks.allocated(disk.path, disk.size) if frozen is None else disks.differing(frozen, disk.path, disk.size)
        )
        left = [(begin, length) for begin, length in told if begin + length > start]
        page, rest = left[: self.relay.rules.areas_per_answer], left[self.relay.rules.areas_per_answer :]
        stop = rest[0][0] if rest else disk.size
        self._send(200, soap.areas(start, stop - start, page))
        return True

    # --- files and streams -----------------------------------------------------------------------------------------

    def _file(self) -> None:
        kind = self.relay.rules.of(f"{self.command} {self.path}")
        if not self._knows():
            self._send(401, b"", [("WWW-Authenticate", 'Basic realm="VMware"')])
            return
        if kind is not None and kind not in {"cut", "whole", "shifted"}:
            self._broken(kind)
            return
        headers = {"Range": self.headers["Range"]} if self.headers["Range"] and kind != "whole" else {}
        if kind == "shifted":
            headers = {"Range": "bytes=512-1023"}
        status, told, content = self._asked(self.command, None, headers)
        session = [("Set-Cookie", f"{COOKIE}={self._opened()}; Path=/; Secure")] if not self._cookie() else []
        self.relay.rules.sent += len(content)
        self._send(status, content, told + session, cut=kind == "cut")

    def _knows(self) -> bool:
        if self._cookie() in self.relay.sessions:
            return True
        login = base64.b64encode(":".join(self.relay.login).encode()).decode()
        return self.headers["Authorization"] == f"Basic {login}"

    def _opened(self) -> str:
        name = f"files-{len(self.relay.sessions)}-{time.monotonic_ns()}"
        self.relay.sessions.add(name)
        return name

    def _cookie(self) -> str:
        found = re.search(rf"{COOKIE}=\"?([^;\"]+)", self.headers.get("Cookie") or "")
        return found[1] if found else ""

    def _stream(self, lease: str, name: str) -> None:
        kind = self.relay.rules.of(f"GET /nfc/{name}")
        frozen = self.relay.frozen / lease / name
        if self.relay.lost_lease(lease) or not frozen.exists():
            self._send(404, b"")
            return
        if kind is not None and kind != "cut":
            self._broken(kind)
            return
        size = frozen.stat().st_size
        self.send_response(200)
        self.send_header("Content-Type", "application/x-vnd.vmware-streamVmdk")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = _Pieces(self, lease, frozen.stat().st_blocks * 256 if kind == "cut" else None)
        try:
            with frozen.open("rb") as disk:
                write_stream(disk, pieces, size)
            pieces.end()
        except ConnectionError:
            self.close_connection = True
            return
        key = frozen.with_name(f"{name}.key").read_text()
        self.relay.streamed[lease, key] = (pieces.sha1.hexdigest(), pieces.count, size)

    # --- the rest --------------------------------------------------------------------------------------------------

    def _rest(self, body: bytes) -> None:
        kind = self.relay.rules.of(f"{self.command} {self.path}")
        if kind is not None:
            self._broken(kind)
            return
        headers = {key: value for key, value in self.headers.items() if key.lower() not in {"host", *HOP}}
        self._send(*self._rest_answer(body, headers))

    def _rest_answer(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, list[tuple[str, str]]]:
        status, told, content = self._asked(self.command, body or None, headers)
        return status, content, told

    def _asked(
        self, command: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.relay.upstream, timeout=120)
        with contextlib.closing(connection):
            connection.request(command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, answer.getheaders(), content

    def _broken(self, kind: str) -> None:
        if kind == "drop":
            self.close_connection = True
            return
        self._send(int(kind), b"told to fail")

    def _send(
        self, status: int, content: bytes, told: list[tuple[str, str]] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in told or []:
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = next((value for name, value in told or [] if name.lower() == "content-length"), str(len(content)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True


# Methods that are answered here, wholly or in some cases: then the function says True.
OWN: dict[str, Callable[[_Handler, bytes], bool]] = {
    "HttpNfcLeaseProgress": _Handler._progress,
    "HttpNfcLeaseComplete": _Handler._lease_ends,
    "HttpNfcLeaseAbort": _Handler._lease_ends,
    "HttpNfcLeaseGetManifest": _Handler._manifest,
    "ShutdownGuest": _Handler._shut_down,
    "QueryChangedDiskAreas": _Handler._areas,
}


class _Pieces:
    """What a stream is written to: chunks of the answer while the lease lives; `most` bytes, then it breaks off."""

    def __init__(self, handler: _Handler, lease: str, most: int | None) -> None:
        self._handler = handler
        self._lease = lease
        self._most = most
        self.sha1 = hashlib.sha1(usedforsecurity=False)
        self.count = 0

    def write(self, data: bytes, /) -> None:
        if self._handler.relay.lost_lease(self._lease):
            raise ConnectionError("the lease has timed out")
        if self._most is not None and self.count + len(data) > self._most:
            raise ConnectionError("told to break off")
        if data:
            self._handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.sha1.update(data)
        self.count += len(data)
        self._handler.relay.rules.sent += len(data)
        time.sleep(self._handler.relay.rules.stream_pause)

    def end(self) -> None:
        self._handler.wfile.write(b"0\r\n\r\n")
