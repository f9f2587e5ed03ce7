"""What a policy says of the time around a cutover: how long a machine may be down, and when it has moved for good."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kubeferry.model import Value

Positive = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
"""Seconds, of at most a year."""


class DowntimePolicy(Value):
    """How long a machine may be down.

    `budget_seconds` count from the moment its cutover begins. What cannot be done within them leads back, whatever kind
    of error is in the way, and so does a transfer that is seen to take longer; once all probes have passed, nothing
    does. None: no such bound. Then what may pass by itself is tried again after the stop for `patience_seconds`, before
    it leads back.
    """

    budget_seconds: Positive | None = None
    patience_seconds: Positive = 900.0


class CommitPolicy(Value):
    """When a machine whose probes have all passed has moved for good.

    It is watched for `watch_seconds`: the probes are asked again every `probe_seconds`, and one that fails leads back.
    What comes `then`: it is committed, it goes back, or it waits until a person says `kubeferry commit` (or rolls it
    back), watched all the while. Until then nothing is dropped that the way back needs.
    """

    watch_seconds: Positive = 3600.0
    then: Literal["commit", "rollback", "wait"] = "commit"
    probe_seconds: Positive = 60.0
