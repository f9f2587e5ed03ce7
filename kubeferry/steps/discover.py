"""Ask a source about its machines."""

from __future__ import annotations

import contextlib

from kubeferry.config import pick_source
from kubeferry.documents import Config, Inventory
from kubeferry.sources import open_named


def discover(config: Config, source: str | None) -> Inventory:
    """The inventory of one source or estate; without a name, of what `pick_source` takes."""
    with contextlib.closing(open_named(config, pick_source(config, source))) as opened:
        return opened.discover()
