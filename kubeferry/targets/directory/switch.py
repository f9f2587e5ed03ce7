"""What carries frames between machines that are rehearsed together: a thread of this process, and nothing that outlives
it.

Each card's QEMU sends its frames to a socket in the machine's own private folder, and takes them from there. No
interface of this host is made, and no port is opened: whoever may not enter that folder neither hears nor sends
anything.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubeferry.targets.directory.devices import Wire
from kubeferry.targets.directory.segments import Plug, Segments

FRAME_BYTES = 1 << 16
AT_ONCE = 64
KEPT_FRAMES = 512
"""So many frames wait for a machine that is slow to take them; then they are lost, as on any wire."""
IDLE_SECONDS, BUSY_SECONDS = 0.5, 0.005

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_switches: dict[frozenset[Path], Switch] = {}


def plug(group: Iterable[Path], machine: str, wires: Sequence[Wire]) -> None:
    """Join a machine to those of its group, which are known by their folders; nothing where it is joined already.
    Raises OSError."""
    key = frozenset(group)
    with _lock:
        switch = _switches.setdefault(key, Switch())
        for number, wire in enumerate(wires):
            switch.plug(Plug(machine, number), wire.segment, wire.card)
            switch.plug(Plug(machine, number, service=True), wire.segment, wire.service)


def unplug(folder: Path, machine: str) -> None:
    """Take a machine out of its group, where it is in one of this process."""
    with _lock:
        for key in [key for key in _switches if folder in key]:
            if not _switches[key].unplug(machine):
                del _switches[key]


@dataclass(slots=True)
class _End:
    """The socket of one plug, the machine's own, and the frames that it did not take yet."""

    here: socket.socket
    there: str
    left: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT_FRAMES))

    def send(self, frame: bytes) -> None:
        self.left.append(frame)
        self.flush()

    def flush(self) -> None:
        """Hand over what waits. A machine that is gone, or not there yet, loses it."""
        while self.left:
            try:
                self.here.sendto(self.left[0], socket.MSG_DONTWAIT, self.there)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.left.clear()
                return
            self.left.popleft()


class Switch:
    """The segments of one group of machines, and the thread that carries their frames while any is plugged."""

    def __init__(self) -> None:
        self._segments = Segments()
        self._ends: dict[Plug, _End] = {}
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def plug(self, plug: Plug, segment: int, paths: tuple[Path, Path]) -> None:
        with self._lock:
            if plug in self._ends:
                return
            there, here = paths
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            with contextlib.ExitStack() as fails:
                fails.callback(opened.close)
                here.unlink(missing_ok=True)
                opened.bind(str(here))
                opened.setblocking(False)
                self._selector.register(opened, selectors.EVENT_READ, plug)
                fails.pop_all()
            self._ends[plug] = _End(opened, str(there))
            self._segments.plug(plug, segment)
            if self._thread is None:
                self._thread = threading.Thread(target=self._carry, name="carries frames", daemon=True)
                self._thread.start()

    def unplug(self, machine: str) -> bool:
        """Take a machine out; returns whether any other is left."""
        with self._lock:
            for plug in self._segments.unplug(machine):
                end = self._ends.pop(plug)
                self._selector.unregister(end.here)
                end.here.close()
            return bool(self._ends)

    def _carry(self) -> None:
        while True:
            busy = any(end.left for end in list(self._ends.values()))
            ready = self._selector.select(BUSY_SECONDS if busy else IDLE_SECONDS)
            with self._lock:
                if not self._ends:
                    self._thread = None
                    return
                for end in self._ends.values():
                    end.flush()
                for key, _events in ready:
                    self._take(key.data)

    def _take(self, plug: Plug) -> None:
        end = self._ends.get(plug)
        for _ in range(AT_ONCE if end else 0):
            try:
                frame = end.here.recv(FRAME_BYTES)  # type: ignore[union-attr]
            except OSError:
                return
            for one in self._segments.heard(plug, frame):
                self._ends[one].send(frame)
