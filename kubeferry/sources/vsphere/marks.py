"""The mark in a machine's own settings, under a key of ours: VMware writes them to its .vmx file, and shows them."""

from __future__ import annotations

from kubeferry.sources.vsphere.plain import Plain

NAME = "kubeferry.stopped"


def text_of(props: Plain) -> str | None:
    """What stands under the key; None where nothing does: a setting is taken away by emptying it."""
    settings = props.get("config.extraConfig", [])
    found = (one.get("value") for one in settings if str(one.get("key", "")).lower() == NAME)
    return next((str(value) for value in found if value), None)
