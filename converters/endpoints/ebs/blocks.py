"""What is known of a snapshot's blocks: which are there, and the tokens that open them. Holds no connection.

states    one byte a block of 512 KiB: 32 MiB of memory for a volume of 16 TiB
pages     the last few pages of tokens; those that fell out are asked for again, from the block that is needed
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from converters.extents import Extent

BLOCK_BYTES = 512 << 10
PAGE_BLOCKS = 10_000
"""The most that AWS puts into a page."""
KEPT_PAGES = 8
"""About 20 MiB of tokens."""

ABSENT, DATA, GONE = 0, 1, 2
"""Not listed; listed; listed as one that the older snapshot has and this one has not."""
_RUN = re.compile(rb"\x00+|\x01+|\x02+")


@dataclass(frozen=True, slots=True)
class Page:
    """Blocks `first` to `last`, as listed: their tokens by index; a block in between that is not here is not listed.
    `gone` are those that only the older snapshot has. `following` is AWS's word for the next page, None at the end."""

    first: int
    last: int
    tokens: dict[int, str]
    gone: tuple[int, ...] = ()
    following: str | None = None


Fetch = Callable[[int, str | None], Page]
"""The page from a block on, or the one that an earlier page called the following one."""


class Listing:
    """One list of a snapshot's blocks, asked for page by page. Safe to use from several threads."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._lock = threading.Lock()

    def pages(self) -> Iterator[Page]:
        """All pages in order."""
        page = self._fetch(0, None)
        while True:
            with self._lock:
                self._keep(page)
            yield page
            if page.following is None:
                return
            page = self._fetch(page.last + 1, page.following)

    def token(self, index: int, *, instead_of: str | None = None) -> str | None:
        """The token of a block, None if it is not listed. `instead_of` is one that is not taken any more."""
        with self._lock:
            page = next((one for one in self._pages.values() if one.first <= index <= one.last), None)
            if page is not None and instead_of is not None and page.tokens.get(index) == instead_of:
                del self._pages[page.first]
                page = self._fetch(page.first, None)  # from its first block: those before this one ran out, too
                page = page if page.first <= index <= page.last else None
            if page is None:
                page = self._fetch(index, None)
            self._keep(page)
            return page.tokens.get(index)

    def _keep(self, page: Page) -> None:
        self._pages[page.first] = page
        self._pages.move_to_end(page.first)
        while len(self._pages) > KEPT_PAGES:
            self._pages.popitem(last=False)


def block_count(size: int) -> int:
    return -(-size // BLOCK_BYTES)


def states_of(pages: Iterator[Page], size: int) -> bytearray:
    """The state of each block of a disk."""
    states = bytearray(block_count(size))
    for page in pages:
        for index in page.tokens:
            states[index] = DATA
        for index in page.gone:
            states[index] = GONE
    return states


def extents_of(states: bytearray, size: int, *, delta: bool) -> Iterator[Extent]:
    """The disk in order. What a snapshot does not list was never written and reads as zeros; what a list of changes
    does not name is the same, and what only the older snapshot has was given back: it reads as zeros."""
    for run in _RUN.finditer(states):
        state = states[run.start()]
        start, stop = run.start() * BLOCK_BYTES, min(run.end() * BLOCK_BYTES, size)
        same = delta and state == ABSENT
        yield Extent(start, stop - start, zero=state != DATA and not same, same=same)


def pieces(offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """The blocks of a range: index, where in the block it begins, and how many bytes of it."""
    position = offset
    while position < offset + length:
        index, skip = divmod(position, BLOCK_BYTES)
        count = min(BLOCK_BYTES - skip, offset + length - position)
        yield index, skip, count
        position += count


def page_of(first: int, entries: list[tuple[int, str | None]], following: str | None, size: int) -> Page:
    """A page from what was listed: index and token (None: only the older snapshot has it).

    Raises ValueError for a list that cannot be one: not in order, before the block that was asked for, beyond the disk.
    """
    count = block_count(size)
    if len(entries) > PAGE_BLOCKS:
        raise ValueError(f"a page lists {len(entries)} blocks, more than {PAGE_BLOCKS}")
    previous = first - 1
    for index, _ in entries:
        if not previous < index < count:
            raise ValueError(f"block {index} is listed after block {previous}, of {count}")
        previous = index
    last = entries[-1][0] if following is not None and entries else count - 1
    tokens = {index: token for index, token in entries if token is not None}
    return Page(first, last, tokens, tuple(index for index, token in entries if token is None), following)
