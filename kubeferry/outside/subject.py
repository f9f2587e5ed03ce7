"""Which machine of which plan a thread is at work on: what its log records are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_subject: ContextVar[Mapping[str, str]] = ContextVar("kubeferry_subject", default={})  # noqa: B039 (never written to)


@contextmanager
def about(**words: str) -> Iterator[None]:
    """While the block lasts, this thread's records are about this: plan, wave, app, machine. What is empty is not
    said; what an outer block has said stands."""
    before = _subject.get()
    token = _subject.set({**before, **{name: word for name, word in words.items() if word}})
    try:
        yield
    finally:
        _subject.reset(token)


def subject() -> Mapping[str, str]:
    """What this thread is at work on."""
    return _subject.get()
