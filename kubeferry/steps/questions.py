"""What a source has against a machine; and one question to it about each of many machines, several at a time.

Each thread has a connection of its own, as machines under way have: no library is asked whether its connections may be
shared. Answers come in the order of the machines, whoever was quicker.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from kubeferry.documents import Entry
from kubeferry.model import Concern, Severity
from kubeferry.outside import stopping
from kubeferry.sources import DETACH, SCALING_GROUP, SHARED_WRITER, Source

AT_ONCE = 8
SHARE = 4  # machines for which another connection is worth its login
LOOK_SECONDS = 0.1

Answer = TypeVar("Answer")
Told = Callable[[int, int], None]
"""Called now and then with how many machines were asked about, and how many there are."""


def nobody(_done: int, _machines: int) -> None:
    """Nobody is told how far it is."""


def concerns_of(source: Source, entry: Entry) -> list[Concern]:
    """What the source has against moving a machine now. A disk that others write to hinders who moves alone: nobody
    else stops them before the last copy. A group that would end it counts where the policy leaves it in there, what
    keeps it in there where the policy takes it out."""
    lifted = SCALING_GROUP if entry.stop.detaches else DETACH
    found = [one for one in source.concerns(entry.machine) if one.id != lifted]
    hinders = set() if entry.shares_disks else {SHARED_WRITER}
    critical = {"severity": Severity.CRITICAL}
    return [one.model_copy(update=critical) if one.id in hinders else one for one in found]


def ask_each(
    entries: Sequence[Entry],
    connect: Callable[[], Source],
    question: Callable[[Source, Entry], Answer],
    told: Told = nobody,
) -> list[Answer]:
    """The answers, in the order of the entries. Raises what a connection or a question raises, once none is asked any
    more; Interrupted at once, whatever a source is still busy with."""
    asking = _Asking(entries, connect, question)
    threads = min(AT_ONCE, -(-len(entries) // SHARE))
    for number in range(threads):
        # What hangs in a library must not keep the program that was asked to stop.
        threading.Thread(target=asking.work, name=f"question-{number}", daemon=True).start()
    while threads:
        with contextlib.suppress(queue.Empty):
            asking.ended.get(timeout=LOOK_SECONDS)
            threads -= 1
        stopping.check()
        told(len(asking.answers), len(entries))
    if asking.errors:
        raise asking.errors[0]
    return [asking.answers[number] for number in range(len(entries))]


class _Asking(Generic[Answer]):
    """What the threads share. `ended` gets a word from each at its end."""

    def __init__(
        self, entries: Sequence[Entry], connect: Callable[[], Source], question: Callable[[Source, Entry], Answer]
    ) -> None:
        self.answers: dict[int, Answer] = {}
        self.errors: list[BaseException] = []
        self.ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._connect, self._question = connect, question
        self._left: queue.SimpleQueue[tuple[int, Entry]] = queue.SimpleQueue()
        for numbered in enumerate(entries):
            self._left.put(numbered)

    def work(self) -> None:
        """Ask until nothing is left, somebody asks to stop, or one of the threads failed."""
        try:
            with contextlib.closing(self._connect()) as source, contextlib.suppress(queue.Empty):
                while not (self.errors or stopping.requested()):
                    number, entry = self._left.get_nowait()
                    self.answers[number] = self._question(source, entry)
        except BaseException as error:  # noqa: BLE001 (it is raised by who waits)
            self.errors.append(error)
        finally:
            self.ended.put(None)
