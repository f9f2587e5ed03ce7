"""Ask a source about its machines."""

from __future__ import annotations

import contextlib

from kubeferry.config import pick_source
from kubeferry.documents import Config, Inventory
from kubeferry.sources import open_source


def discover(config: Config, source: str | None) -> Inventory:
    """The inventory of one source; without a name, of the only one configured."""
    name, settings = pick_source(config, source)
    with contextlib.closing(open_source(name, settings)) as opened:
        return opened.discover()
