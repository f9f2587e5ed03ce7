"""NBD servers that lie, fail, hang up or fall silent, as sources and as targets: a copy ends, right or refused in
words, and stops within seconds of being asked to."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from converters.endpoints.nbd import client
from converters.engine.disks import copy_disk, parse_ref
from converters.engine.transfer import Options
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.outside import stopping
from soak import images
from soak.data.liar import ANSWERS, Liar, serving
from soak.images import MIB
from soak.trial import Trial

RIGHT = ("honest", "statuses in tiny pieces", "short statuses", "answers in another order")
"""Odd, and within the standard: the copy has to be right."""
FAILING = ("errors now and then", "hangs up now and then")
"""The same command comes to its end, after some tries."""
FALSE = (
    "statuses of nothing",
    "statuses that go beyond",
    "statuses without an end",
    "says that all is zeros",
    "silent when it is to zero",
    *ANSWERS,
)
SHORT_SECONDS = 2.0  # for an answer, of which the client waits for a minute: a trial has not so long
STOP_SECONDS = 20.0
END_SECONDS = 40.0
TRIES = 400


def run(given: Trial) -> None:
    r = given.random
    client.ANSWER_SECONDS = client.FLUSH_SECONDS = SHORT_SECONDS
    mode = r.choice((*RIGHT, *FAILING, *FALSE))
    served = images.filled(r, given.folder / "served", r.choice((MIB, 4 * MIB, 9 * MIB + 512)))
    liar = Liar(bytearray(served.read_bytes()), mode, r)
    as_target = mode in {*FAILING, "honest", "silent when it is to zero"} and r.random() < 0.5
    given.point(f"{'a target' if as_target or mode.endswith('zero') else 'a source'}: {mode}")
    with serving(given.folder, liar) as uri:
        if as_target or mode == "silent when it is to zero":
            _to(given, liar, uri, served)
        else:
            _from(given, liar, uri)


def _from(given: Trial, liar: Liar, uri: str) -> None:
    target = images.empty(given.folder / "target", len(liar.content))
    options = Options(checkpoint_seconds=0, read_holes=liar.mode == "says that all is zeros")
    if _ended(given, liar.mode, uri, str(target), options):
        given.hold("the target is what was served", target.read_bytes() == liar.content)


def _to(given: Trial, liar: Liar, uri: str, served: Path) -> None:
    source = images.filled(given.random, given.folder / "source", len(liar.content))
    if _ended(given, liar.mode, str(source), uri, Options(checkpoint_seconds=0)):
        given.hold("the target is the source", source.read_bytes() == liar.content)
    given.hold("the trial has its own disk", served.exists())


def _ended(given: Trial, mode: str, source: str, target: str, options: Options) -> bool:
    """Whether the copy said done. One that is asked to stop stops; one whose server fails is tried again."""
    stops = mode in FALSE and given.random.random() < 0.3
    with _stop_soon() if stops else contextlib.nullcontext():
        return _tried(given, mode, source, target, options, STOP_SECONDS if stops else END_SECONDS)


@contextlib.contextmanager
def _stop_soon() -> Iterator[None]:
    """Asked for in a moment, and not in the next trial where this one has ended by then."""
    asking = threading.Timer(0.5, stopping.request)
    asking.start()
    try:
        yield
    finally:
        asking.cancel()


def _tried(given: Trial, mode: str, source: str, target: str, options: Options, limit: float) -> bool:
    began = time.monotonic()
    for _ in range(TRIES if mode in FAILING else 1):
        try:
            copy_disk(parse_ref(source), parse_ref(target), given.folder / "target.kff", options=options)
        except Interrupted:
            given.point("asked to stop")
            break
        except KubeferryError as error:
            given.in_words(error)
        else:
            return True
    took = time.monotonic() - began
    given.hold("a copy from a bad server ends in time", mode in FAILING or took < limit, f"{took:.0f} s")
    given.hold("a good server's copy comes to its end", mode not in {*RIGHT, *FAILING}, "it was refused")
    return False
