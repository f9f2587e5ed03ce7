"""Keys and values of labels, annotations and node selectors, as the API server takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeferry.errors import Problem
from mappings.admission.view import problem
from mappings.names import LABEL_VALUE, is_dns_label

_PREFIX_MOST = 253
_KEY_FIX = "Use `name` or `domain/name`."


def is_subdomain(text: str) -> bool:
    """Whether a text is one or more DNS labels with dots between them, of at most 253 characters."""
    return len(text) <= _PREFIX_MOST and all(is_dns_label(part) for part in text.split("."))


def is_key(key: str) -> bool:
    """Whether a key is `name` or `domain/name`."""
    prefix, slash, name = key.rpartition("/")
    return bool(name) and LABEL_VALUE.fullmatch(name) is not None and (not slash or is_subdomain(prefix))


def key_problems(keys: Iterable[str], where: str) -> Iterator[Problem]:
    """Those that are not legal keys of labels, where a place names them."""
    for key in keys:
        if not is_key(key):
            yield problem(where, f"{key!r} is not a legal label key", _KEY_FIX)


def label_problems(labels: dict[str, str], where: str) -> Iterator[Problem]:
    for key, value in labels.items():
        if not is_key(key):
            yield problem(f"{where}[{key}]", "is not a legal label key", _KEY_FIX)
        if LABEL_VALUE.fullmatch(value) is None:
            fix = "Use at most 63 letters, digits, dots, hyphens and underscores."
            yield problem(f"{where}[{key}]", f"{value!r} is not a legal label value", fix)


def annotation_problems(keys: Iterable[str], where: str) -> Iterator[Problem]:
    """Values may be anything; of keys the server looks at the small letters."""
    for key in keys:
        if not is_key(key.lower()):
            yield problem(f"{where}[{key}]", "is not a legal annotation key", _KEY_FIX)
