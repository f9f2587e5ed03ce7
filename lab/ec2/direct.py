"""The EBS direct APIs that read, over the lab's store: a request's path and query in, status, headers and body out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field

from lab.ec2.store import BLOCK_BYTES, GIB, Snapshot, Store

Answer = tuple[int, dict[str, str], bytes]
Entry = dict[str, int | str]

_PATH = re.compile(r"/snapshots/(?P<snapshot>[^/]+)/(?P<what>blocks|changedblocks)(/(?P<index>\d+))?")
LEAST, MOST = 100, 10_000


class Refused(Exception):
    """An error as the service words it."""

    def __init__(self, status: int, code: str, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.reason = status, code, message, reason

    def answer(self) -> Answer:
        body = {"Message": self.message} | ({"Reason": self.reason} if self.reason else {})
        return self.status, {"x-amzn-ErrorType": self.code}, json.dumps(body).encode()


@dataclass(slots=True)
class Direct:
    """`empty_pages` come first in each list, `page_most` cuts the pages; `short_last` is the length of the disks' last
    block, where it is one. `corrupt` counts blocks that are still to be given with a wrong bit."""

    store: Store
    empty_pages: int = 0
    page_most: int = MOST
    short_last: int | None = None
    corrupt: int = 0
    _pages: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def expire_tokens(self) -> None:
        """No token that was given out so far is taken any more."""
        for snapshot in self.store.snapshots.values():
            snapshot.tokens.clear()

    def expire_pages(self) -> None:
        """No page token that was given out so far is taken any more."""
        self._pages.clear()

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        found = _PATH.fullmatch(path)
        try:
            return self._found(found, query)
        except Refused as refused:
            return refused.answer()

    def _found(self, found: re.Match[str] | None, query: dict[str, str]) -> Answer:
        if found is None:
            raise Refused(404, "UnknownOperationException", "there is no such path")
        snapshot = self._readable(found["snapshot"])
        if found["what"] == "changedblocks":
            return self._changes(snapshot, query)
        if found["index"] is not None:
            return self._block(snapshot, int(found["index"]), query.get("blockToken", ""))
        entries: list[Entry] = [{"BlockIndex": at, "BlockToken": snapshot.token(at)} for at in sorted(snapshot.blocks)]
        return self._page(snapshot.id, "Blocks", entries, snapshot.size, query)

    def _readable(self, name: str) -> Snapshot:
        snapshot = self.store.snapshots.get(name)
        if snapshot is None:
            message = f"The snapshot '{name}' does not exist."
            raise Refused(404, "ResourceNotFoundException", message, "SNAPSHOT_NOT_FOUND")
        if not snapshot.completed:
            message = f"The snapshot '{name}' is not completed."
            raise Refused(400, "ValidationException", message, "INVALID_SNAPSHOT_ID")
        return snapshot

    def _changes(self, second: Snapshot, query: dict[str, str]) -> Answer:
        first = self._readable(query["firstSnapshotId"]) if "firstSnapshotId" in query else None
        if first is not None and first.volume != second.volume:
            message = "The snapshots are not of the same volume lineage."
            raise Refused(400, "ValidationException", message, "UNRELATED_SNAPSHOTS")
        before = first.blocks if first else {}
        entries: list[Entry] = []
        for at in sorted(before.keys() | second.blocks.keys()):
            if before.get(at) is second.blocks.get(at):
                continue
            entry: Entry = {"BlockIndex": at}
            if first is not None and at in before:
                entry["FirstBlockToken"] = first.token(at)
            if at in second.blocks:
                entry["SecondBlockToken"] = second.token(at)
            entries.append(entry)
        name = f"{first.id if first else ''}..{second.id}"
        return self._page(name, "ChangedBlocks", entries, second.size, query)

    def _page(self, name: str, key: str, entries: list[Entry], size: int, query: dict[str, str]) -> Answer:
        most = int(query.get("maxResults", MOST))
        if not LEAST <= most <= MOST:
            raise Refused(400, "ValidationException", "MaxResults is out of range", "INVALID_PARAMETER_VALUE")
        start, empty = int(query.get("startingBlockIndex", 0)), self.empty_pages
        if token := query.get("pageToken"):
            owner, start, empty = self._pages.get(token, ("", 0, 0))
            if owner != name:
                raise Refused(400, "ValidationException", "The page token is not valid.", "INVALID_PAGE_TOKEN")
        left = [entry for entry in entries if int(entry["BlockIndex"]) >= start]
        page = [] if empty else left[: min(most, self.page_most)]
        answer: dict[str, object] = {
            key: page,
            "VolumeSize": -(-size // GIB),
            "BlockSize": BLOCK_BYTES,
            "ExpiryTime": 4_102_444_800.0,
        }
        if len(page) < len(left):
            following = secrets.token_hex(16)
            at = int(page[-1]["BlockIndex"]) + 1 if page else start
            self._pages[following] = (name, at, max(empty - 1, 0))
            answer["NextToken"] = following
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _block(self, snapshot: Snapshot, index: int, token: str) -> Answer:
        if not token or snapshot.tokens.get(index) != token:
            raise Refused(400, "ValidationException", "The block token is not valid.", "INVALID_BLOCK_TOKEN")
        content = snapshot.blocks[index]
        if self.short_last is not None and index == (snapshot.size - 1) // BLOCK_BYTES:
            content = content[: self.short_last]
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        if self.corrupt:
            self.corrupt -= 1
            content = bytes([content[0] ^ 1]) + content[1:]
        headers = {
            "x-amz-Data-Length": str(len(content)),
            "x-amz-Checksum": checksum,
            "x-amz-Checksum-Algorithm": "SHA256",
            "Content-Type": "application/octet-stream",
        }
        return 200, headers, content
