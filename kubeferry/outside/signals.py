"""SIGINT, SIGTERM and SIGHUP: the first one asks to stop at a safe point, a second one ends the process at once, with a
word of what is left (`stopping.leaving`).

They are read by a thread of their own: the main thread may be inside a library that does not come back, and a person
who presses Ctrl-C must not have to wait for that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from kubeferry.outside import stopping

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INSISTED = frozenset({signal.SIGINT, signal.SIGTERM})
"""A terminal that is lost is told more than once, by its shell and by the kernel: nobody insists with SIGHUP."""
SAME_ASK_SECONDS = 0.5
"""`timeout` tells its child, then the child's group; systemd sends SIGHUP after SIGTERM: that is one ask."""
LAST_WORD_SECONDS = 0.3


def answer(told: Callable[[], None]) -> None:
    """From now on these signals are answered; `told` is called after the first one, in a thread of its own.

    A SIGHUP that is ignored stays ignored: `nohup` asks for that. Call it in the main thread, once in a process.
    """
    heard, noted = os.pipe()
    os.set_blocking(noted, False)
    signal.set_wakeup_fd(noted, warn_on_full_buffer=False)
    for number in ASKED:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    threading.Thread(target=_listen, args=(heard, told), daemon=True, name="signals").start()


def _listen(heard: int, told: Callable[[], None]) -> None:
    first_at = 0.0
    while numbers := os.read(heard, 1):
        if numbers[0] not in ASKED:
            continue
        number = signal.Signals(numbers[0])
        if not stopping.requested():
            first_at = time.monotonic()
            stopping.request(number)
            # what is said may wait for a terminal that is held (Ctrl-S); a second signal must not
            threading.Thread(target=told, daemon=True, name="says that it stops").start()
        elif number in INSISTED and time.monotonic() - first_at > SAME_ASK_SECONDS:
            _end(number)


def _end(number: signal.Signals) -> NoReturn:
    """End at once, with a word of what is left, if somebody takes that in a moment."""
    saying = threading.Thread(target=_say_what_is_left, args=(number,), daemon=True, name="says what is left")
    with contextlib.suppress(RuntimeError):  # no thread can be made any more
        saying.start()
        saying.join(LAST_WORD_SECONDS)
    os._exit(128 + number)


def _say_what_is_left(number: signal.Signals) -> None:
    with contextlib.suppress(Exception):  # nothing may keep it from ending
        os.write(2, stopping.left(number).encode(errors="replace"))  # past our own streams: their locks may be held
