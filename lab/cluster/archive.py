"""Container images without a registry or a builder: layers as tar files, many images in one docker-archive.

Images that share a layer share its bytes in the archive too, and an import unpacks it once. Every entry has owner root
and no time, so the same content gives the same layer.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Archive:
    """A file with images that are imported together. `key` tells one content from another."""

    name: str
    key: str
    path: Path


@dataclass(frozen=True, slots=True)
class Layer:
    """A tar file, and the SHA-256 of it."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its name, what it starts, as whom, and its layers from the lowest up."""

    name: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    env: tuple[str, ...] = field(default=(SEARCH_PATH,))

    def config(self) -> dict[str, Any]:
        """The image's configuration, as the image format has it."""
        return {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(self.entrypoint), "User": self.user, "Env": list(self.env)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in self.layers]},
            "history": [{"created_by": "kubeferry lab"} for _ in self.layers],
        }


class LayerWriter:
    """Writes the files of one layer; the folders above a file are made as needed."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 closed in __exit__
        self._folders: set[str] = set()

    def __enter__(self) -> LayerWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tar.close()

    def folder(self, name: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """A folder; `owner` is its user and its group."""
        self._above(name)
        if name not in self._folders:
            self._folders.add(name)
            self._tar.addfile(_info(name, tarfile.DIRTYPE, mode, owner))

    def text(self, name: str, content: str, *, mode: int = 0o644, owner: int = 0) -> None:
        """A file with this content."""
        self.content(name, content.encode(), mode=mode, owner=owner)

    def content(self, name: str, content: bytes, *, mode: int = 0o644, owner: int = 0) -> None:
        """The same, with bytes."""
        self._above(name)
        info = _info(name, tarfile.REGTYPE, mode, owner)
        info.size = len(content)
        self._tar.addfile(info, io.BytesIO(content))

    def program(self, name: str, source: Path, *, owner: int = 0, capability: bytes = b"") -> None:
        """A copy of an executable file. `capability` is the value of its `security.capability` attribute."""
        self._above(name)
        info = _info(name, tarfile.REGTYPE, 0o755, owner)
        info.size = source.stat().st_size
        if capability:
            info.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
        with source.open("rb") as file:
            self._tar.addfile(info, file)

    def tree(self, name: str, source: Path) -> None:
        """A folder with all that is in it; who may execute a file stays, nothing else of its mode."""
        self.folder(name)
        for path in sorted(source.iterdir()):
            inside = f"{name}/{path.name}"
            if path.is_symlink():
                self.link(inside, str(path.readlink()))
            elif path.is_dir():
                self.tree(inside, path)
            else:
                self.content(inside, path.read_bytes(), mode=0o755 if path.stat().st_mode & 0o100 else 0o644)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._above(name)
        info = _info(name, tarfile.SYMTYPE, 0o777, 0)
        info.linkname = target
        self._tar.addfile(info)

    def _above(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        if parent:
            self.folder(parent)


def read_layer(path: Path) -> Layer:
    """The layer that lies in a tar file."""
    return Layer(path, file_digest(path))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(images: Sequence[Image], dest: Path) -> None:
    """Write a docker-archive that holds all images, each layer once."""
    manifest = []
    with tarfile.open(dest, "w", format=tarfile.PAX_FORMAT) as tar:
        for layer in {layer.digest: layer for image in images for layer in image.layers}.values():
            info = _info(_layer_name(layer), tarfile.REGTYPE, 0o644, 0)
            info.size = layer.path.stat().st_size
            with layer.path.open("rb") as file:
                tar.addfile(info, file)
        for image in images:
            config = json.dumps(image.config()).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(tar, name, config)
            layers = [_layer_name(layer) for layer in image.layers]
            manifest.append({"Config": name, "RepoTags": [image.name], "Layers": layers})
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _layer_name(layer: Layer) -> str:
    return f"{layer.digest}.tar"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = _info(name, tarfile.REGTYPE, 0o644, 0)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _info(name: str, kind: bytes, mode: int, owner: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = kind, mode, owner, owner
    return info
