"""What the policy says of waves: what may stand in one, and what a machine that did not move holds back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from kubeferry.documents.base import ShortName
from kubeferry.model import Bytes, Value


class StopAfter(Value):
    """When a wave stops: once so many of its machines have failed or went back, or such a share of those that came to
    an end, counted from the third one that failed: one of two says nothing of the others. None: never."""

    failures: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None


class Kin(Value):
    """Machines that have something in common: all that is said must fit, with the patterns of a rule's `match`."""

    folder: str | None = None
    tags: dict[str, str] = {}
    labels: dict[str, str] = {}

    @model_validator(mode="after")
    def _says_something(self) -> Kin:
        if self.folder is None and not self.tags and not self.labels:
            raise ValueError("say a folder, tags or labels: without any it would fit all machines")
        return self

    def __str__(self) -> str:
        said = self.model_dump(exclude_defaults=True)
        pairs = [f"{key}: {value}" for kind in ("tags", "labels") for key, value in said.get(kind, {}).items()]
        return ", ".join([*(f"folder: {one}" for one in (self.folder,) if one), *pairs])


class AtMost(Kin):
    """No more than `count` of these machines stand in one wave."""

    count: Annotated[int, Field(ge=1)]

    def __str__(self) -> str:
        return Kin.__str__(self)


class Capacity(Value):
    """What the machines of one wave may come to: bytes of their claims, bytes of memory, processors, and how many they
    are. None: any amount."""

    claims_bytes: Bytes | None = None
    memory_bytes: Bytes | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    machines: Annotated[int, Field(ge=1)] | None = None


class WavesPolicy(Value):
    """What may stand in one wave, and what a machine that did not move holds back. That is always those that come
    `after` it, and those that come after them.

    `in_order`: each wave waits until all machines of the waves before it have moved; else one that is later by its
    number alone goes on. `stop_after`: when a wave stops, and with it all later ones; what is under way comes to its
    end, and what has failed is tried again by the next run.

    `apart`: of each group no two machines stand in one wave; a group names machines (patterns, too), or what they have
    in common. Two of one app are apart as well where its order has one of them wait for the other. `at_most`: so many
    of such machines in one wave, and so at the same time, since one run takes the waves one after the other.
    `capacity`: what a wave may come to. `order`: waves by their names, the first one first; those that it does not name
    come behind them, in the natural order of their names.
    """

    in_order: bool = False
    stop_after: StopAfter = StopAfter(share=0.5)
    apart: tuple[tuple[str | Kin, ...], ...] | None = None
    at_most: tuple[AtMost, ...] | None = None
    capacity: Capacity | None = None
    order: tuple[ShortName, ...] | None = None
