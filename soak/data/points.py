"""The named points of what is done with a disk: calls around which a process may end, each as MODULE:NAME. Behind each
there is something that was made durable, or was not."""

from __future__ import annotations

from typing import Final

ENGINE: Final = "converters.engine"
_WRITES: Final = {
    "a block is written": "converters.endpoints.file:File.write",
    "the target is flushed": "converters.endpoints.file:File.flush",
    "what was read back is forgotten": f"{ENGINE}.earlier:Proven.forget",
}
COPY: Final = {
    "a checkpoint is made or found": f"{ENGINE}.checkpoint:start",
    "a fingerprint's file is begun": f"{ENGINE}.fingerprint:Fingerprint.create",
    "digests are put": f"{ENGINE}.fingerprint:Fingerprint.put",
    "digests of zeros are put": f"{ENGINE}.fingerprint:Fingerprint.put_zeros",
    "a checkpoint is synced": f"{ENGINE}.fingerprint:Fingerprint.sync",
    "a fingerprint is sealed": f"{ENGINE}.fingerprint:Fingerprint.seal",
    "a folder is synced": f"{ENGINE}.fingerprint:sync_folder",
    "a range is zeroed": "converters.endpoints.file:File.zero",
    **_WRITES,
}
VERIFY: Final = {
    "a target is read back": f"{ENGINE}.verify:compare",
    "a read-back is remembered": f"{ENGINE}.earlier:prove",
    "a read-back is disproved": f"{ENGINE}.earlier:disprove",
}
REPAIR: Final = {**VERIFY, "a repair fetches": f"{ENGINE}.repair:fetch", **_WRITES}
OF: Final = {"copy": COPY, "verify": VERIFY, "repair": REPAIR}
POINTS: Final = {**COPY, **REPAIR}
