"""Local paths in URIs: there and back, and everything that is no local path."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.uris import local_path


@pytest.mark.parametrize("path", ["/a", "/a b/c%20d", "/ü/#?;&=", "/dev/disk/by-path/pci-0000:03:00.0-lun-0"])
def test_local_paths_come_back_from_their_uris(path: str) -> None:
    assert local_path(Path(path).as_uri()) == Path(path)
    assert local_path(Path(path).as_uri().replace("file:", "block:", 1)) == Path(path)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/a",
        "file:a",
        "file://host/a",
        "file:///a?format=raw",
        "file:///a#b",
        "file:///a%00b",
        "file://[a",
        "nbd+unix:///a",
        "https://host/a",
    ],
)
def test_what_is_no_local_path_is_told(uri: str) -> None:
    assert local_path(uri) is None
