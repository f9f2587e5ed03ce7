"""The ways into a machine that KubeVirt runs: its agent, a forwarded port, its console's log, a command in its pod.

Files of the guest are read by a command in the machine's pod, since KubeVirt serves no other way: that needs a right of
its own (deploy/file-probes-role.yaml), and only plans with file or counter probes, or hooks of the guest, ask for it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import websocket

from kubeferry.documents import Entry, Probe
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.guest import pages
from kubeferry.targets.guest.agent import printable
from kubeferry.targets.guest.pages import Page
from kubeferry.targets.kubevirt.api import Cluster, NotThere
from kubeferry.targets.kubevirt.checks.probes import NO_PACKETS, OTHERS
from kubeferry.targets.kubevirt.kinds import INSTANCE, POD
from kubeferry.targets.kubevirt.machine import pods_of, subresource

COMPUTE = "compute"
CONSOLE = "guest-console-log"
FORWARD_PROTOCOL = "plain.kubevirt.io"
EXEC_PROTOCOL = "v4.channel.k8s.io"
STDOUT, STDERR, STATUS = 1, 2, 3
FILE_LIMIT_BYTES = 64 * 1024
GREETING_LIMIT_BYTES = 4096
CONSOLE_LIMIT_BYTES = 1024 * 1024
# An exec takes longer than a guest agent's answer: the pod's runtime starts a program for it.
EXEC_SECONDS = 20.0

Object = dict[str, Any]


class GuestAccess:
    """See `kubeferry.targets.guest.probes.Access`. `started` is the monotonic time at which the machine was started."""

    def __init__(self, cluster: Cluster, entry: Entry, started: float) -> None:
        self._cluster = cluster
        self._namespace, self._name = entry.namespace, entry.target_name
        self._started = started
        self._instance: Object = {}

    # --- what the cluster says -------------------------------------------------------------------------------------

    def instance(self) -> Object:
        """The instance as it was last seen."""
        return self._instance

    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def died(self) -> str | None:
        there = self._cluster.get(INSTANCE, self._name, self._namespace)
        if there is None:
            return "its instance is gone"
        self._instance = there
        phase = there.get("status", {}).get("phase")
        return f"its instance has {str(phase).lower()}: {self.said()}" if phase in {"Failed", "Succeeded"} else None

    def said(self) -> str:
        """What KubeVirt says is wrong, and what keeps a container of the machine's pod from starting, in their words;
        empty where they say nothing."""
        conditions = self._instance.get("status", {}).get("conditions") or []
        told = [one for one in conditions if one.get("message") and (one["type"], one["status"]) not in _NORMAL]
        return "; ".join([*(f"{one['type']}: {one['message']}" for one in told), *_waits(self.pod() or {})])

    def running(self) -> bool:
        """Whether the guest's processor runs."""
        return bool(self._instance.get("status", {}).get("phase") == "Running")

    def pod(self) -> Object | None:
        """The pod that runs it."""
        found = pods_of(self._cluster, self._namespace, self._name)
        alive = [pod for pod in found if pod.get("status", {}).get("phase") == "Running"]
        return max(alive or found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    # --- what the guest says ---------------------------------------------------------------------------------------

    def ping(self, seconds: float) -> str:
        self._need_running()
        told = self.guest(seconds)
        if not told.get("guestAgentVersion"):
            raise TargetUnavailable("the guest agent does not answer")
        return f"guest agent {told['guestAgentVersion']} answered"

    def guest(self, seconds: float) -> Object:
        """What the agent says of its system."""
        path = subresource(self._namespace, INSTANCE.plural, self._name, "guestosinfo")
        try:
            told = json.loads(self._cluster.call("GET", path, seconds=max(seconds, 5.0)))
        except TargetRefused as refused:
            # KubeVirt answers as if it were refused while no agent has connected.
            raise TargetUnavailable("the guest agent does not answer", why=refused.why) from refused
        except ValueError as error:
            raise TargetUnavailable("the guest agent does not answer in JSON", why=str(error)) from error
        if not isinstance(told, dict):
            raise TargetUnavailable("the guest agent does not answer as one")
        return told

    def read_file(self, path: str, seconds: float) -> bytes:
        self._need_running()
        pod = self.pod()
        if pod is None:
            raise TargetUnavailable("the machine has no pod")
        opened = self._agent(pod, "guest-file-open", {"path": path, "mode": "r"})
        try:
            read = self._agent(pod, "guest-file-read", {"handle": opened, "count": FILE_LIMIT_BYTES})
        finally:
            self._agent(pod, "guest-file-close", {"handle": opened})
        try:
            return base64.b64decode(read["buf-b64"], validate=True)
        except (LookupError, TypeError, ValueError) as error:
            raise _odd(error) from error

    def ask(self, command: str, **arguments: object) -> Any:
        """One question to the agent, by a command in the machine's pod; None where it refuses or does not answer."""
        pod = self.pod()
        with contextlib.suppress(TargetUnavailable):
            return None if pod is None else self._agent(pod, command, arguments)
        return None

    def page(self, probe: Probe, seconds: float) -> Page:
        forwarded = self._forwarded(probe.port or 0, seconds)
        try:
            return pages.get(_Link(forwarded), probe, seconds)
        finally:
            forwarded.close(timeout=1)

    def greeting(self, port: int, expect: str, seconds: float) -> str:
        """KubeVirt dials the guest before it answers us (v1.9, pkg/virt-api/rest/streamer.go): what is opened here is
        open there."""
        forwarded = self._forwarded(port, seconds)
        said, limit = b"", time.monotonic() + seconds
        try:
            while expect.encode() not in said and time.monotonic() < limit and len(said) < GREETING_LIMIT_BYTES:
                forwarded.settimeout(max(0.1, limit - time.monotonic()))
                frame = forwarded.recv()
                said += frame.encode() if isinstance(frame, str) else frame
        except (OSError, websocket.WebSocketException):  # it says no more
            pass
        finally:
            forwarded.close(timeout=1)
        return said.decode(errors="replace")

    def _forwarded(self, port: int, seconds: float) -> websocket.WebSocket:
        """A connection to a port of the guest, which it has taken. Close it."""
        self._need_running()
        if not self._instance.get("status", {}).get("interfaces"):
            raise TargetUnavailable("the machine has no network address yet")
        where = subresource(self._namespace, INSTANCE.plural, self._name, f"portforward/{port}/tcp")
        try:
            return self._cluster.websocket(where, protocols=[FORWARD_PROTOCOL], seconds=seconds)
        except NotThere as gone:
            raise TargetUnavailable(f"no way to port {port}", why=gone.why) from gone

    def console(self) -> str | None:
        pod = self.pod()
        if pod is None:
            return ""
        names = {one["name"] for one in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]}
        if CONSOLE not in names:
            return None
        return self._cluster.logs(self._namespace, pod["metadata"]["name"], CONSOLE, limit_bytes=CONSOLE_LIMIT_BYTES)

    def screen(self) -> bytes:
        self._need_running()
        path = subresource(self._namespace, INSTANCE.plural, self._name, "vnc/screenshot")
        return self._cluster.call("GET", path, query={"moveCursor": "true"})

    def sent(self) -> str:
        raise TargetRefused(NO_PACKETS, fix=OTHERS)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _need_running(self) -> None:
        if not self.running():
            phase = self._instance.get("status", {}).get("phase", "unknown")
            raise TargetUnavailable(f"the machine does not run yet: it is {phase}", why=self.said())

    def _agent(self, pod: Object, command: str, arguments: Object) -> Any:
        """One question to the guest agent, through the libvirt in the machine's pod."""
        words = ["virsh", "--quiet", "qemu-agent-command", f"{self._namespace}_{self._name}", "--timeout", "5"]
        question = json.dumps({"execute": command, "arguments": arguments})
        out = self._exec(pod["metadata"]["name"], [*words, question])
        try:
            return json.loads(out)["return"]
        except (LookupError, TypeError, ValueError) as error:
            raise _odd(error) from error

    def _exec(self, pod: str, words: list[str]) -> str:
        query = [("container", COMPUTE), ("stdout", "true"), ("stderr", "true"), *(("command", one) for one in words)]
        path = f"{POD.path(self._namespace, pod)}/exec"
        try:
            opened = self._cluster.websocket(path, query, protocols=[EXEC_PROTOCOL], seconds=EXEC_SECONDS)
        except TargetRefused as refused:
            raise TargetRefused(
                "the guest's agent cannot be asked: the account may not run a command in the machine's pod",
                why=refused.why,
                fix="Apply what `kubeferry manifests --file-probes` prints, or plan without file and counter probes, "
                "and without hooks of the guest.",
            ) from refused
        try:
            return _output(opened)
        except (OSError, websocket.WebSocketException) as error:
            raise TargetUnavailable("the machine's pod does not answer", why=str(error)) from error
        finally:
            opened.close(timeout=1)


_NORMAL = {("Ready", "True"), ("LiveMigratable", "False"), ("StorageLiveMigratable", "False")}


def _waits(pod: Object) -> list[str]:
    """Containers that wait and are told why: a step of every start, as an image's pull, has no message."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    found = [(one["name"], one.get("state", {}).get("waiting") or {}) for one in statuses]
    return [
        f"container {name}: {waits.get('reason')}: {waits['message']}" for name, waits in found if "message" in waits
    ]


def _odd(error: Exception) -> TargetUnavailable:
    """For an answer that no agent gives: a guest may say anything."""
    why = f"its answer is none: {type(error).__name__} {printable(str(error), 80)}"
    return TargetUnavailable("the guest agent does not give the file", why=why)


def _output(opened: websocket.WebSocket) -> str:
    """What a command printed. Raises TargetUnavailable where it failed."""
    told: dict[int, bytes] = {STDOUT: b"", STDERR: b"", STATUS: b""}
    while True:
        try:
            frame = opened.recv()
        except websocket.WebSocketConnectionClosedException:
            break
        data = frame.encode() if isinstance(frame, str) else frame
        if not data:
            break
        told[data[0]] = told.get(data[0], b"") + data[1:]
        if told[STATUS]:
            break
    status = json.loads(told[STATUS] or b"{}")
    if status.get("status") != "Success":
        why = told[STDERR].decode(errors="replace").strip() or str(status.get("message", "it ended without a word"))
        raise TargetUnavailable("the guest agent does not give the file", why=printable(why))
    return told[STDOUT].decode(errors="replace")


class _Link:
    """A forwarded port as a `pages.Link`."""

    def __init__(self, opened: websocket.WebSocket) -> None:
        self._opened = opened

    def send(self, data: bytes) -> None:
        with _as_os_error():
            self._opened.send_binary(data)

    def receive(self, seconds: float) -> bytes:
        with _as_os_error():
            self._opened.settimeout(seconds)
            try:
                frame = self._opened.recv()
            except websocket.WebSocketConnectionClosedException:
                return b""
            return frame.encode() if isinstance(frame, str) else frame


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """A websocket's own errors are none of the system's."""
    try:
        yield
    except websocket.WebSocketTimeoutException as error:
        raise TimeoutError(str(error)) from error
    except websocket.WebSocketException as error:
        raise OSError(str(error)) from error
