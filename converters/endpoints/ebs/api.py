"""The calls that read EBS snapshots: paced, tried again, counted, and every block's SHA-256 compared.

One pace for an account's region: all disks of this process share it, and it gives way when AWS says so. Between
processes AWS is the referee: each gives way on its own.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from converters.endpoints.ebs.blocks import BLOCK_BYTES, PAGE_BLOCKS, Page, page_of
from kubeferry.errors import IntegrityFailed, SourceRefused, SourceUnavailable
from kubeferry.faults import Side
from kubeferry.outside import aws, stopping
from kubeferry.uris import EbsSnapshot

GIB = 1 << 30
# AWS's quotas: GetSnapshotBlock 1,000 a second for a snapshot and for an account, ListChangedBlocks 50.
READS_PER_SECOND, LISTS_PER_SECOND = 1000.0, 50.0
SLOWEST = 1.0
CLIENTS = 4  # a client's connections share one lock
CONNECTIONS = 64
TRIES = 10
CHECKSUM_TRIES = 3
WAIT_SECONDS, LONGEST_WAIT = 0.1, 20.0
EMPTY_PAGES = 1000
METHODS = {
    "GetSnapshotBlock": "get_snapshot_block",
    "ListSnapshotBlocks": "list_snapshot_blocks",
    "ListChangedBlocks": "list_changed_blocks",
}

T = TypeVar("T")


class Pace:
    """How many calls a second: slower by a third when AWS throttles, faster again, little by little, when it does not.

    `rate` is what it is now; it never exceeds `top`.
    """

    def __init__(self, top: float) -> None:
        self.top = self.rate = top
        self._free_at = 0.0
        self._slowed_at = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Take a turn. Raises Interrupted."""
        with self._lock:
            start = max(self._free_at, time.monotonic())
            self._free_at = start + 1 / self.rate
        delay = start - time.monotonic()
        if delay > 0:
            stopping.pause(delay)

    def throttled(self) -> None:
        """AWS said that it was too fast. Calls that were on their way together count once."""
        with self._lock:
            now = time.monotonic()
            if now - self._slowed_at > 0.2:
                self._slowed_at = now
                self.rate = max(SLOWEST, self.rate * 2 / 3)
                self._free_at = max(self._free_at, now + 0.05)

    def went_well(self) -> None:
        with self._lock:
            self.rate = min(self.top, self.rate + self.top / 2000)


# Not the global one: its state is everybody's, and who seeds it would let all movers wait for the same time.
_chance = random.Random()  # noqa: S311 (how long to wait, not a secret)
_paces: dict[tuple[aws.Access, str], Pace] = {}
_paces_lock = threading.Lock()


def pace_of(access: aws.Access, kind: str) -> Pace:
    """The pace of an account's region, the same for all who ask; `kind` is read or list."""
    with _paces_lock:
        top = READS_PER_SECOND if kind == "read" else LISTS_PER_SECOND
        return _paces.setdefault((access, kind), Pace(top))


class SnapshotApi:
    """The calls about one snapshot. Safe to use from several threads. `calls` counts them by name, `calls["again"]`
    those that had to be repeated."""

    def __init__(self, place: EbsSnapshot, side: Side) -> None:
        self.place = place
        self.calls: Counter[str] = Counter()
        self._side = side
        self._access = aws.Access(place.region, place.profile, place.role_arn, place.external_id, place.endpoint_url)
        self._lock = threading.Lock()
        self._clients: list[Any] = []
        self._turns = itertools.count()

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def volume_bytes(self) -> int:
        """The size of the volume that the snapshot is of."""
        answer = self._call("ListSnapshotBlocks", {"SnapshotId": self.place.snapshot, "MaxResults": 100}, _as_it_is)
        return int(answer["VolumeSize"]) * GIB

    def blocks(self, size: int, start: int, following: str | None) -> Page:
        """A page of the blocks that the snapshot has."""
        asked = {"SnapshotId": self.place.snapshot}
        return self._page("ListSnapshotBlocks", asked, "Blocks", "BlockToken", size, (start, following))

    def changes(self, older: str, size: int, start: int, following: str | None) -> Page:
        """A page of the blocks in which the snapshot differs from an older one of the same volume."""
        asked = {"FirstSnapshotId": older, "SecondSnapshotId": self.place.snapshot}
        return self._page("ListChangedBlocks", asked, "ChangedBlocks", "SecondBlockToken", size, (start, following))

    def _page(
        self, operation: str, asked: dict[str, str], key: str, token: str, size: int, at: tuple[int, str | None]
    ) -> Page:
        """From `start` on. AWS's documents disagree whether the block from which a list is asked for is in it: it is
        asked for from the one before, and the very first one is not named at all."""
        start, following = at
        anew = following is None
        for _ in range(EMPTY_PAGES):
            begin = {"StartingBlockIndex": start - 1} if start > 1 else {}
            more = {"NextToken": following} if following else begin
            try:
                answer = self._call(operation, {**asked, **more, "MaxResults": PAGE_BLOCKS}, _as_it_is)
            except SourceRefused as error:
                if following and aws.reason_of(error.__cause__) == "INVALID_PAGE_TOKEN":
                    following, anew = None, True  # it lives for an hour; the list is asked for again from where it was
                    continue
                raise
            self._check(answer, size)
            listed = [(int(one["BlockIndex"]), one.get(token)) for one in answer.get(key, [])]
            entries = listed[1:] if anew and listed and listed[0][0] == start - 1 else listed
            following = answer.get("NextToken")
            if entries or following is None:  # a page may be empty, and yet not be the last one
                try:
                    return page_of(start, entries, following, size)
                except ValueError as error:
                    raise self._nonsense(str(error)) from error
        raise SourceUnavailable(
            f"the list of blocks of {self.place.snapshot} does not end",
            why=f"{EMPTY_PAGES} pages without a block",
            fix=aws.AGAIN,
        )

    def _check(self, answer: dict[str, Any], size: int) -> None:
        if answer.get("BlockSize") != BLOCK_BYTES:
            raise self._nonsense(f"blocks of {answer.get('BlockSize')} bytes, not {BLOCK_BYTES}")
        told = int(answer.get("VolumeSize") or 0)
        if told != -(-size // GIB):
            raise SourceRefused(
                f"the snapshot {self.place.snapshot} is of a volume of {told} GiB",
                why=f"it was described with {size} bytes",
                fix="Discover the source again: the disk was changed.",
            )

    def read(self, index: int, length: int, token: Callable[[str | None], str | None]) -> bytes:
        """The bytes of a block, at most `length` of them on the disk, with the digest that AWS has of them; empty for
        a block that is not there. `token` gives its token, another one when told which one is not taken any more.

        Raises IntegrityFailed when the bytes do not have their digest, again and again.
        """
        current = token(None)
        wrong = renewed = 0
        while current is not None:
            try:
                answer = self._read(index, current)
            except SourceRefused as error:
                stale = aws.reason_of(error.__cause__) == "INVALID_BLOCK_TOKEN"
                if not stale or renewed >= 2:
                    raise
                renewed += 1
                current = token(current)
                if current is None:
                    raise self.unlisted(index) from error
                continue
            content, said = answer
            if said == base64.b64encode(hashlib.sha256(content).digest()).decode():
                if len(content) not in {BLOCK_BYTES, length}:
                    raise self._nonsense(f"block {index} has {len(content)} bytes, not {BLOCK_BYTES}")
                return content
            wrong += 1
            self._count("again")
            if wrong >= CHECKSUM_TRIES:
                raise IntegrityFailed(
                    f"block {index} of {self.place.snapshot} does not have the digest that AWS gives for it",
                    why=f"read {wrong} times, SHA-256 each time another or wrong",
                    fix="Look at what lies between here and AWS (a proxy?); then run the same command again.",
                )
        return b""

    def unlisted(self, index: int) -> SourceUnavailable:
        """The error for a block that was listed and is not any more: it has bytes, and nobody gives them."""
        return SourceUnavailable(
            f"block {index} of {self.place.snapshot} cannot be read",
            why="AWS has listed it, and does not list it any more",
            fix=aws.AGAIN,
        )

    def _read(self, index: int, token: str) -> tuple[bytes, str]:
        """A block's bytes, and the digest that AWS says they have."""

        def body(answer: dict[str, Any]) -> tuple[bytes, str]:
            if answer.get("ChecksumAlgorithm") != "SHA256" or not answer.get("Checksum"):
                raise self._nonsense(f"block {index} comes without its SHA-256")
            with answer["BlockData"] as stream:
                content: bytes = stream.read(BLOCK_BYTES + 1)
            if len(content) != answer.get("DataLength"):
                raise aws.cut_short(len(content), answer.get("DataLength"))
            return content, answer["Checksum"]

        asked = {"SnapshotId": self.place.snapshot, "BlockIndex": index, "BlockToken": token}
        return self._call("GetSnapshotBlock", asked, body)

    def _call(self, operation: str, asked: dict[str, Any], use: Callable[[dict[str, Any]], T]) -> T:
        """One call, tried again while that can help. `use` reads the answer, and is part of what is tried."""
        pace = pace_of(self._access, "read" if operation == "GetSnapshotBlock" else "list")
        what = f"{operation} of {self.place.snapshot} failed"
        for attempt in range(TRIES):
            pace.wait()
            self._count(operation)
            try:
                found = use(getattr(self._client(), METHODS[operation])(**asked))
            except aws.failures() as error:
                if not aws.is_passing(error) or attempt == TRIES - 1:
                    raise aws.told(error, what, side=self._side) from error
                if aws.is_throttled(error):
                    pace.throttled()
                self._count("again")
                stopping.pause(min(LONGEST_WAIT, WAIT_SECONDS * 2**attempt) * (0.5 + _chance.random() / 2))
            else:
                pace.went_well()
                return found
        raise AssertionError("unreachable")

    def _count(self, name: str) -> None:
        with self._lock:
            self.calls[name] += 1

    def _client(self) -> Any:
        """One of several clients, in turn; made when first needed."""
        turn = next(self._turns) % CLIENTS
        if turn >= len(self._clients):
            with self._lock:
                if len(self._clients) < CLIENTS:
                    made = aws.client("ebs", self._access, connections=CONNECTIONS // CLIENTS, attempts=1)
                    self._clients.append(made)
        return self._clients[turn % len(self._clients)]

    def _nonsense(self, why: str) -> SourceRefused:
        return SourceRefused(
            f"what AWS says of the snapshot {self.place.snapshot} cannot be right",
            why=why,
            fix="Check that the endpoint can be trusted.",
        )


def _as_it_is(answer: dict[str, Any]) -> dict[str, Any]:
    return answer
