"""The node's addresses and links. Nothing of it leaves the machine: the node has no route to the outside.

The machine itself reaches the API server, pods and services; others do not.

outside            namespace of the node
10.245.1.1 ======= 10.245.1.2           a pair of links: the only way in
                   10.245.0.1  bridge   the pods' gateway, and the node's own address
                   10.245.0.x           pods
                   10.96.0.0/16         services; kube-proxy turns them into pods' addresses
"""

from __future__ import annotations

import json
from typing import Any

from kubeferry.errors import InputInvalid, Problem
from kubeferry.outside.process import run
from lab.cluster.node import Node

NODE_NAME = "lab"
BRIDGE = "lab0"
OUTSIDE_LINK = "kubeferry-lab"
INSIDE_LINK = "uplink"
OUTSIDE_ADDRESS = "10.245.1.1"
INSIDE_ADDRESS = "10.245.1.2"
NODE_ADDRESS = "10.245.0.1"
PODS = "10.245.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
API_PORT = 6443


def bridge_config() -> dict[str, Any]:
    """The pods' network for containerd: one bridge, addresses from one range.

    `hairpinMode`: a pod may reach itself through a service. `ipMasq` is off: there is no outside to reach.
    """
    addresses = {"type": "host-local", "subnet": PODS, "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True}
    return {"cniVersion": "0.4.0", "name": "lab", "plugins": [plugin | {"ipam": addresses}]}


def inside_commands() -> str:
    """What `ip -batch` is told inside the node.

    The DNS answerer's service address stands on the bridge. The route to the services exists so that the node's own
    programs have one at all: kube-proxy's rules replace the address after that.
    """
    return "\n".join(
        [
            "link set lo up",
            f"link add {BRIDGE} type bridge",
            f"address add {NODE_ADDRESS}/24 dev {BRIDGE}",
            f"address add {DNS_ADDRESS}/32 dev {BRIDGE}",
            f"link set {BRIDGE} up",
            f"route add {SERVICES} dev {BRIDGE}",
            f"address add {INSIDE_ADDRESS}/30 dev {INSIDE_LINK}",
            f"link set {INSIDE_LINK} up",
            "",
        ]
    )


def connect(node: Node) -> None:
    """The links of a fresh node, and the machine's routes to it.

    Raises InputInvalid where another link has an address of the lab's.
    """
    _refuse_taken()
    run(["ip", "link", "add", OUTSIDE_LINK, "type", "veth", "peer", "name", INSIDE_LINK, "netns", str(node.pid)])
    run(["ip", "address", "add", f"{OUTSIDE_ADDRESS}/30", "dev", OUTSIDE_LINK])
    run(["ip", "link", "set", OUTSIDE_LINK, "up"])
    for behind in (PODS, SERVICES):
        # Gone with the link, as its address is.
        run(["ip", "route", "add", behind, "via", INSIDE_ADDRESS])
    node.run(["ip", "-batch", "-"], stdin=inside_commands())
    node.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])


def disconnect() -> bool:
    """The outer link is gone; returns whether there was one. The inner half goes with it."""
    return run(["ip", "link", "delete", OUTSIDE_LINK], check=False).code == 0


def _refuse_taken() -> None:
    for link in json.loads(run(["ip", "-json", "-4", "address"]).out):
        for address in link.get("addr_info", []):
            if address["local"].startswith("10.245."):
                fix = f"Remove it from {link['ifname']}, or use another machine."
                raise InputInvalid("the lab's network is taken", [Problem(link["ifname"], "has 10.245.x.x", fix)])
