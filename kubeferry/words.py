"""Words for people: numbers with their nouns, sizes, spans of time, the first of many names, text that cannot command a
terminal, and the known word that an unknown one was meant for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20))


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 machine`, `2 machines`; `plural` where an s at the end does not make it."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def size(number: int | None) -> str:
    """A number of bytes in the largest unit that it fills, to four digits."""
    if number is None:
        return "unknown"
    for unit, scale in _UNITS:
        if number >= scale:
            return f"{number / scale:.4g} {unit}"
    return f"{number} B"


def duration(seconds: float) -> str:
    """Seconds as people say them: `12 ms`, `0.4 s`, `41.3 s`, `2 min 05 s`, `1 h 02 min`, `3 d 04 h`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def first_of(names: Sequence[str], most: int) -> str:
    """`a, b`; of more than `most` the first ones, and how many there are besides: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shortened(text: str, most: int) -> str:
    """A text of one line, up to a word's end before so many characters; what is cut off stands as …."""
    if len(text) <= most:
        return text
    return f"{text[:most].rpartition(' ')[0] or text[:most]} …"


def meant(word: str, known: Iterable[str]) -> str:
    """The question whether a similar word was meant, `Did you mean 'web'?`; empty where none is similar."""
    import difflib  # only for a word that is wrong

    near = difflib.get_close_matches(word, list(known), n=3)
    return f"Did you mean {' or '.join(repr(one) for one in near)}?" if near else ""


# What comes of a run strategy of KubeVirt's, of a machine that has it.
RUN_STRATEGIES = {
    "Always": "it is kept running",
    "Halted": "it stays off until somebody starts it",
    "Manual": "it is started and stopped by hand",
    "RerunOnFailure": "it is started again when it fails",
}


def plain(text: str) -> str:
    """Text on one line that cannot command a terminal: a name is what somebody at the source chose."""
    if text.isprintable():
        return text
    return "".join(" " if one.isspace() else one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def plain_lines(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(plain(line) for line in text.split("\n"))
