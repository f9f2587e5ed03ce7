"""What reading EBS snapshots costs: estimated before, from sizes, and counted after, from calls. Pure.

The prices are those of AWS's page on the EBS direct APIs, in US dollars (its examples, us-east-1): 0.003 for 1,000
blocks of 512 KiB that are read, 0.0006 for 1,000 lists. Other regions cost more. Snapshots are charged by what they
hold and how long. Traffic is free within the region and costs most of all where it leaves AWS: 0.09 for a GiB in the
first step of its page on EC2 (up to 10 TiB a month, behind the first 100 GiB, which are free).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

READ_DOLLARS, LIST_DOLLARS = 0.003 / 1000, 0.0006 / 1000
OUT_DOLLARS = 0.09 / (1 << 30)  # for a byte
BLOCK_BYTES = 512 << 10
PAGE_BLOCKS = 10_000
LISTS = ("ListSnapshotBlocks", "ListChangedBlocks")


def most_calls(sizes: Iterable[int]) -> dict[str, int]:
    """The calls of one full pass over disks of these sizes, if every block of them was ever written."""
    blocks = [-(-size // BLOCK_BYTES) for size in sizes]
    return {
        "GetSnapshotBlock": sum(blocks),
        "ListSnapshotBlocks": sum(2 * -(-count // PAGE_BLOCKS) for count in blocks),
    }


def dollars(calls: Mapping[str, int]) -> float:
    """What these calls cost."""
    lists = sum(calls.get(name, 0) for name in LISTS)
    return calls.get("GetSnapshotBlock", 0) * READ_DOLLARS + lists * LIST_DOLLARS


def dollars_out(count: int) -> float:
    """What so many bytes cost on their way out of AWS, as if nothing of it were free."""
    return count * OUT_DOLLARS
