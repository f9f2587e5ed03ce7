"""Values of the vSphere API as plain ones, so that everything behind it is a function over dictionaries. No pyVmomi.

managed object    "Folder:group-v3"        what a reference is in the API: type and id
data object       {"_type": "VirtualDisk", "key": 2000, …}    by its name in the API; what is not set is not there
date              ISO 8601                 enum and subclasses of str, int, float: the base
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from kubeferry.sources.facts.escaped_names import unescaped

Plain = dict[str, Any]
MAX_TEXT = 4096  # of one string: an annotation may be long, and is for people, who see where it was cut
MAX_ITEMS = 10_000  # of one list


def plain(value: Any) -> Any:
    """One value, whatever it holds, without the library's classes."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value[:MAX_ITEMS]]
    return _of_library(value)


def _of_library(value: Any) -> Any:
    if hasattr(value, "_moId"):
        return reference(value)
    names: Callable[[], list[Any]] | None = getattr(value, "_GetPropertyList", None)
    if names is None:
        return _text(str(value))
    found: Plain = {"_type": type(value)._wsdlName}
    for one in names():
        told = getattr(value, one.name)
        empty = told is None or (isinstance(told, list) and not told)
        if not empty and not one.name.startswith("dynamic"):
            found[one.name] = plain(told)
    return found


def _text(value: str) -> str:
    return str(value) if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"


def reference(managed: Any) -> str:
    """`Type:id` of a managed object."""
    return f"{type(managed)._wsdlName}:{managed._moId}"


def name_of(thing: Mapping[str, Any]) -> str:
    """The name that people see; empty where it has none."""
    return unescaped(str(thing.get("name") or ""))
