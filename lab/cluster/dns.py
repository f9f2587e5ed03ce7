"""Names of services: NAME.NAMESPACE.svc.cluster.local as an address, everything else does not exist.

What it does not do: IPv6, SRV and PTR records, names of pods, and the outside, which the node cannot reach anyway. A
headless service answers with the address of one endpoint.

`python -m lab.cluster.dns KUBECONFIG ADDRESS`, inside the node.
"""

from __future__ import annotations

import ipaddress
import socketserver
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kubeferry.errors import KubeferryError
from lab.cluster.api import Api

PORT = 53
SUFFIX = ("svc", "cluster", "local")
TTL_SECONDS = 5
TYPE_A = 1
CLASS_INTERNET = 1
HEADER = struct.Struct(">HHHHHH")
# Bits of a header's second word: response, authoritative, recursion available; and the two codes that are used here.
ANSWER = 0x8480
OPCODE_AND_RECURSION = 0x7900
NO_ERROR, NO_SUCH_NAME = 0, 3
# A pointer to offset 12, where the question's name stands.
SAME_NAME = 0xC00C


@dataclass(frozen=True, slots=True)
class Query:
    """One question of a message: `wire` is its bytes, to be repeated in the answer."""

    ident: int
    flags: int
    name: str
    kind: int
    wire: bytes


def parse(message: bytes) -> Query:
    """Read a message with one question. Raises ValueError for anything else."""
    try:
        ident, flags, questions, *_ = HEADER.unpack_from(message)
        labels, at = [], HEADER.size
        while length := message[at]:
            if length > 63:
                raise ValueError("a compressed name in a question")
            labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        kind, _ = struct.unpack_from(">HH", message, at + 1)
    except (struct.error, IndexError) as short:
        raise ValueError("not a whole question") from short
    if questions != 1:
        raise ValueError(f"{questions} questions")
    return Query(ident, flags, ".".join(labels).lower(), kind, message[HEADER.size : at + 5])


def answer(query: Query, address: str | None) -> bytes:
    """The message that says `address`, or that there is no such name."""
    known = address is not None and query.kind == TYPE_A
    code = NO_ERROR if address is not None else NO_SUCH_NAME
    flags = ANSWER | (query.flags & OPCODE_AND_RECURSION) | code
    message = HEADER.pack(query.ident, flags, 1, int(known), 0, 0) + query.wire
    if known:
        message += struct.pack(">HHHIH", SAME_NAME, TYPE_A, CLASS_INTERNET, TTL_SECONDS, 4)
        message += ipaddress.IPv4Address(address).packed
    return message


def service(name: str) -> tuple[str, str] | None:
    """Namespace and name of the service that a DNS name stands for."""
    labels = tuple(name.split("."))
    return (labels[1], labels[0]) if len(labels) == 5 and labels[2:] == SUFFIX else None


def look_up(api: Api, name: str) -> str | None:
    """The address of a service, None where there is none. Raises KubeferryError where the API server does not say."""
    asked = service(name)
    if asked is None:
        return None
    namespace, service_name = asked
    found = api.get(f"/api/v1/namespaces/{namespace}/services/{service_name}")
    if found is None:
        return None
    address = found["spec"].get("clusterIP", "None")
    if address != "None":
        return str(address)
    selector = f"kubernetes.io%2Fservice-name%3D{service_name}"
    slices = api.items(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={selector}")
    addresses = [each for one in slices for endpoint in one.get("endpoints") or () for each in endpoint["addresses"]]
    return addresses[0] if addresses else None


class _Server(socketserver.ThreadingUDPServer):
    daemon_threads = True

    def __init__(self, address: str, api: Api) -> None:
        super().__init__((address, PORT), _Handler)
        self.api = api


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        message, sender = self.request
        try:
            query = parse(message)
            reply = answer(query, look_up(cast("_Server", self.server).api, query.name))
        except (ValueError, KubeferryError) as error:
            # No reply: who asked asks again.
            print(f"{self.client_address}: {error}", flush=True)
            return
        sender.sendto(reply, self.client_address)


def main() -> None:
    """Answer for ever."""
    with _Server(sys.argv[2], Api(Path(sys.argv[1]))) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
