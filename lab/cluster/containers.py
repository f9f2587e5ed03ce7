"""containerd inside the node: started on a store that outlives the cluster, so that images are imported once."""

from __future__ import annotations

import json

import httpx

from kubeferry.outside.atomic import replace_text
from kubeferry.outside.process import ProgramFailed, run
from lab.cluster import network, programs
from lab.cluster.archive import Archive
from lab.cluster.images import PAUSE
from lab.cluster.node import Node
from lab.cluster.place import Place
from lab.cluster.progress import say

START_SECONDS = 30
IMPORT_SECONDS = 900
# The namespace of containerd that the kubelet looks into.
KUBELETS = "k8s.io"


def config(place: Place) -> str:
    """containerd.toml: every folder is the lab's own.

    A block device in a pod belongs to the pod's user (`device_ownership_from_security_context`), as it is set up on
    real clusters that run KubeVirt or CDI. `restrict_oom_score_adj`: the machine may forbid lower scores than ours.
    """
    return f"""\
version = 2
root = "{place.store}"
state = "{place.state / "containerd"}"
[grpc]
  address = "{place.containerd}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{place.state / "opt"}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  device_ownership_from_security_context = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{programs.CNI_PLUGINS}"
    conf_dir = "{place.state / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


def start(node: Node) -> None:
    """containerd answers, and knows no container of an earlier cluster."""
    if node.runs("containerd"):
        return
    place = node.place
    (place.state / "containerd.toml").write_text(config(place))
    (place.state / "cni").mkdir(exist_ok=True)
    (place.state / "cni" / "lab.conflist").write_text(json.dumps(network.bridge_config()))
    _run(node)
    if leftovers := _ctr(node, "containers", "list", "--quiet").split():
        # The store remembers the containers of a cluster that has ended. containerd has read them by now: they go,
        # and it begins again without them.
        _ctr(node, "containers", "delete", *leftovers)
        node.stop("containerd")
        _run(node)


def load(node: Node, archive: Archive) -> None:
    """The images of the archive are in the store; nothing is done where the same archive was imported before."""
    note = node.place.store / "imported.json"
    imported = json.loads(note.read_text()) if note.exists() else {}
    if imported.get(archive.name) != archive.key:
        say(f"importing the images {archive.name}")
        _import(node, archive)
        replace_text(note, json.dumps(imported | {archive.name: archive.key}))


def _import(node: Node, archive: Archive) -> None:
    """An image that takes another one's name lets containerd collect the old one's layers, and those that both have
    may go while the new one is unpacked. The second time they are gone, and made."""
    try:
        _ctr(node, "images", "import", str(archive.path), timeout=IMPORT_SECONDS)
    except ProgramFailed as failed:
        if "does not exist" not in failed.why:
            raise
        _ctr(node, "images", "import", str(archive.path), timeout=IMPORT_SECONDS)


def _run(node: Node) -> None:
    place = node.place
    node.start("containerd", ["containerd", "--config", str(place.state / "containerd.toml")])
    node.await_daemon("containerd", lambda: _answers(node) and serves_pods(node.place), seconds=START_SECONDS)


def _answers(node: Node) -> bool:
    return run(node.argv(_command(node.place, "version")), check=False, timeout=20).code == 0


def serves_pods(place: Place) -> bool:
    """Whether the part that the kubelet talks to (CRI) has begun, too: it is later than the rest by up to seconds
    (containerd issue 8468), and a kubelet that comes before it ends.

    It is asked for its version by gRPC: five zero bytes are an empty message; an error comes as a header.
    """
    headers = {"content-type": "application/grpc", "te": "trailers"}
    socket = httpx.HTTPTransport(uds=str(place.containerd), http1=False, http2=True)
    try:
        with httpx.Client(transport=socket, timeout=5) as client:
            said = client.post("http://cri/runtime.v1.RuntimeService/Version", content=bytes(5), headers=headers)
    except httpx.TransportError:
        return False
    return said.status_code == 200 and "grpc-status" not in said.headers


def _ctr(node: Node, *arguments: str, timeout: float = 60) -> str:
    return node.run(_command(node.place, *arguments), timeout=timeout).out


def _command(place: Place, *arguments: str) -> list[str]:
    return ["ctr", f"--address={place.containerd}", f"--namespace={KUBELETS}", *arguments]
