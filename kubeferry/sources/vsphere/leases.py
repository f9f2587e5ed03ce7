"""An export lease: the server streams the disks of a snapshot for as long as somebody says that it is still wanted.

    initializing ──> ready ── HttpNfcLeaseProgress, again and again ──> complete | abort
                       └─ one URL a disk; whoever has it may read, so it is as good as a login while the lease lasts

It belongs to the session that asked for it, and ends with it: a later process asks for a new one on the same snapshot.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pyVmomi import vmodl

from kubeferry.errors import Problem, SourceRefused, SourceUnavailable
from kubeferry.outside import stopping
from kubeferry.sources.vsphere.client import UNANSWERED, Client, words
from kubeferry.sources.vsphere.plain import Plain, plain

BEATS = 4  # a lease is renewed so often within its timeout
LEAST_SECONDS, MOST_SECONDS = 0.2, 30.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Stream:
    """Where a disk is streamed. `thumbprint` is SHA-1 of the certificate, where the server is not the one we know."""

    host: str
    port: int
    path: str
    thumbprint: str | None


class Lease:
    """One open lease. `streams` is by the key of the disk."""

    def __init__(self, client: Client, managed: Any, devices: list[Plain], machine: str) -> None:
        self._client = client
        self._managed = managed
        self._devices = devices
        self._machine = machine
        self._ended = threading.Event()
        self._keeper: threading.Thread | None = None
        self.streams: dict[str, Stream] = {}

    def opened(self, seconds: float, *, content: Any) -> None:
        """Wait until it is ready, and keep it. Raises SourceUnavailable, SourceRefused."""
        limit = time.monotonic() + seconds
        while (state := self._state(content)) != "ready":
            if state == "error":
                told = self._client.raw(self._managed, "error", content=content)
                why = words(told) if told is not None else "it does not say why"
                raise SourceUnavailable(
                    "vSphere does not export the disks",
                    why=why,
                    fix="Look at the machine's events in vSphere; then run the same again.",
                    machine=self._machine,
                )
            if time.monotonic() > limit:
                self.ended(keep=False)
                why = f"the lease was {state} for {seconds:.0f} s"
                fix = "Look at the host's tasks; then run the same again."
                raise SourceUnavailable("the export does not begin", why=why, fix=fix, machine=self._machine)
            stopping.pause(POLL_SECONDS)
        info = plain(self._client.raw(self._managed, "info", content=content))
        self.streams = streams_of(info, self._devices, self._client.access.host, self._client.access.port)
        timeout = float(info.get("leaseTimeout", 300))
        beat = min(max(timeout / BEATS, LEAST_SECONDS), MOST_SECONDS)
        self._keeper = threading.Thread(target=self._keep, args=(beat,), name="vsphere-lease", daemon=True)
        self._keeper.start()

    def _state(self, content: Any) -> str:
        return str(self._client.raw(self._managed, "state", content=content))

    def _keep(self, beat: float) -> None:
        """Renew it until it is ended. A lease that is lost shows where it is read: the stream breaks off."""
        percent = 0
        while not self._ended.wait(beat):
            percent = min(percent + 1, 99)
            with contextlib.suppress(*UNANSWERED):
                try:
                    self._managed.HttpNfcLeaseProgress(percent)
                except vmodl.MethodFault:
                    return

    def manifest_problem(self, seen: Mapping[str, str]) -> Problem | None:
        """What the server's own count of what it streamed says against a disk, or against what was `seen` of its
        stream (`sha1:HEX`); None where all is well, or it has counted nothing."""
        try:
            told = plain(self._managed.HttpNfcLeaseGetManifest())
        except (vmodl.MethodFault, *UNANSWERED):
            return None
        return contradiction(told or [], self._devices, seen)

    def ended(self, *, keep: bool) -> None:
        """Give it back: complete where `keep`, else aborted. May be called again."""
        self._ended.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None
        with contextlib.suppress(vmodl.MethodFault, *UNANSWERED):
            if keep:
                self._managed.HttpNfcLeaseComplete()
            else:
                self._managed.HttpNfcLeaseAbort()

    def alive(self) -> bool:
        """Whether it still can be read: the server knows it."""
        if self._ended.is_set():
            return False
        try:
            self._managed.HttpNfcLeaseProgress(1)
        except (vmodl.MethodFault, *UNANSWERED):
            self.ended(keep=False)
            return False
        return True


def streams_of(info: Plain, devices: list[Plain], host: str, port: int) -> dict[str, Stream]:
    """The stream of each disk by its key. Raises SourceRefused where a stream cannot be told to be a certain disk's: by
    their order alone, two disks of one size could be taken for each other."""
    found: dict[str, Stream] = {}
    for one in info.get("deviceUrl", []):
        if not one.get("disk"):
            continue
        key = key_of(str(one.get("key", "")), devices)
        if key is None or key in found:
            why = f"it is called {one.get('key')!r}"
            fix = "Use another reader (vmware.reader), and report this with the version of vSphere."
            raise SourceRefused("it is not clear which disk an exported stream is", why=why, fix=fix)
        parts = urlsplit(str(one.get("url", "")))
        name = host if parts.hostname in {None, "*"} else str(parts.hostname)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        own = (name, parts.port or 443) == (host, port)
        found[key] = Stream(name, parts.port or 443, path, None if own else one.get("sslThumbprint") or None)
    return found


def contradiction(manifest: list[Plain], devices: list[Plain], seen: Mapping[str, str]) -> Problem | None:
    """The first entry of a manifest that has another size than its disk, or another SHA-1 than its stream. An entry
    without SHA-1, which a host gives that counts otherwise or not at all, says nothing about the stream."""
    sizes = {str(one["key"]): one.get("capacityInBytes") for one in devices if one["_type"] == "VirtualDisk"}
    for one in manifest:
        key = key_of(str(one.get("key", "")), devices)
        if not one.get("disk") or key not in sizes:
            continue
        if one.get("capacity") not in {None, sizes[key]}:
            what = f"it was exported with {one['capacity']} bytes, and has {sizes[key]}"
            return Problem(key, what, "Discover and plan again.")
        sent = str(one.get("sha1", "")).lower()
        if sent and key in seen and seen[key] != f"sha1:{sent}":
            what = f"its manifest says sha1:{sent}, and {seen[key]} came"
            return Problem(key, what, "Copy it again.")
    return None


def key_of(name: str, devices: list[Plain]) -> str | None:
    """The disk that a lease calls `/vm-12/ParaVirtualSCSIController0:1`: controller, its number, the unit; its key."""
    controllers = {one["key"]: one for one in devices if "busNumber" in one}
    wanted = name.rpartition("/")[2]
    found = []
    for one in devices:
        above = controllers.get(one.get("controllerKey"))
        if one["_type"] != "VirtualDisk" or above is None:
            continue
        if wanted == f"{above['_type']}{above['busNumber']}:{one.get('unitNumber')}":
            found.append(str(one["key"]))
    return found[0] if len(found) == 1 else None
