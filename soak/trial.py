"""One trial: what it is given, what it says, and what it is when a promise did not hold. Pure but for its folder."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kubeferry.errors import KubeferryError


class Wrong(Exception):
    """A promise that did not hold: its name, and what was seen."""

    def __init__(self, promise: str, seen: str) -> None:
        super().__init__(f"{promise}: {seen}")
        self.promise = promise


@dataclass
class Trial:
    """A random life of one thing. The same seed makes the same choices; threads and clocks are their own."""

    seed: int
    folder: Path
    random: random.Random = field(init=False)
    points: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 (it has to come again)

    def point(self, name: str) -> None:
        """A fault that is tried now. It is survived when the trial ends without Wrong."""
        self.points[name] += 1
        self.say(name)

    def say(self, text: str) -> None:
        """What is told, in order, when the trial ends wrong."""
        self.said.append(text)

    def hold(self, promise: str, held: object, seen: str = "it does not hold") -> None:
        """Raise Wrong unless `held`."""
        if not held:
            raise Wrong(promise, seen)

    def in_words(self, error: BaseException) -> None:
        """An error is one of ours, with what to do, and nothing in it that a terminal would obey."""
        if not isinstance(error, KubeferryError):
            raise Wrong("errors are told in words", f"{type(error).__name__}: {error}") from error
        self.say(f"{type(error).__name__}: {error.what}")
        self.hold("an error says what to do", error.fix, str(error))
        plain = not any(ord(letter) < 32 and letter not in "\n\t" for letter in str(error))
        self.hold("nothing foreign reaches the terminal as it is", plain, repr(str(error)))


Run = Callable[[Trial], None]
"""Does one trial; raises Wrong. What else it raises is wrong, too."""
