"""What endpoints have in common that are never written to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from kubeferry.errors import KubeferryError
from kubeferry.faults import Side, refused


class ReadOnly(ABC):
    """The half of an endpoint that writes, refused. `name` is the disk in errors."""

    name: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def write(self, offset: int, view: memoryview) -> None:
        del offset, view
        raise read_only(self.name)

    def zero(self, offset: int, length: int) -> None:
        del offset, length
        raise read_only(self.name)

    def flush(self) -> None:  # noqa: B027 (to do nothing is what it does)
        """Nothing was written."""


def read_only(name: str) -> KubeferryError:
    """The error for a target that can only be read."""
    return refused(Side.TARGET, f"{name} cannot be written", fix="Give a raw file or device as the target.")
