"""What a machine printed on its console, as facts of its guest. The text is kept nowhere: it may hold secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass

LIMIT = 1 << 17  # EC2 keeps 64 KiB

_KERNEL = re.compile(r"Linux version (\d[\w.+~-]{1,80})")
_SYSTEM = re.compile(
    r"^(?:\x1b\[[0-9;]*m)*Welcome to (?:\x1b\[[0-9;]*m)*([A-Z][\w .()/+-]{2,80}?)(?:\x1b\[[0-9;]*m)*!?\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Console:
    """The kernel's version and the system's name, as they were printed last."""

    kernel: str | None = None
    system: str | None = None


def read(text: str | None) -> Console:
    kept = (text or "")[-LIMIT:]
    kernels, systems = _KERNEL.findall(kept), _SYSTEM.findall(kept)
    return Console(kernels[-1] if kernels else None, systems[-1] if systems else None)
