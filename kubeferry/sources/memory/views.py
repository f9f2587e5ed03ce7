"""Frozen views for the source in a folder: a copy of every disk, and what differs between two copies.

views/MACHINE/TOKEN/DISK     a copy, whole; what its source image held when the view was opened
views/MACHINE/open           the token of the view that is open
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from kubeferry.ledger import VIEW, External, Ledger
from kubeferry.model import DiskRef, Machine, Marker
from kubeferry.outside import atomic, clock
from kubeferry.ranges import Range, range_set
from kubeferry.uris import local_path

PIECE_BYTES = 64 << 10


class Views:
    """The views of one machine. `folder` is the source's."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._machine = machine
        self._folder = folder / "views" / _digest(machine.id)

    def opened(
        self, refs: dict[str, DiskRef], since: Marker | None, ledger: Ledger
    ) -> tuple[Marker, dict[str, DiskRef]]:
        """The open view, made now if there is none; its references name what changed since another view."""
        token = self._open_token()
        if token is None or (since is not None and since.token == token):
            token = f"{clock.now('milliseconds')}-{secrets.token_hex(4)}"
            ledger(External(VIEW, self._machine.name, str(self._folder)))
            self._freeze(token, refs)
        self._keep({token, *([since.token] if since else [])})
        frozen = {disk: self._frozen(token, disk, ref) for disk, ref in refs.items()}
        marker = Marker(source=self._machine.source, token=token, taken_at=token.rpartition("-")[0])
        return marker, self.changed(frozen, since)

    def changed(self, refs: dict[str, DiskRef], since: Marker | None) -> dict[str, DiskRef]:
        """The references, with what differs from an earlier view where that is known: a raw disk of the same size."""
        return {disk: self._named(disk, ref, since) for disk, ref in refs.items()}

    def end(self) -> None:
        """No view is open any more; its copy stays for its marker."""
        (self._folder / "open").unlink(missing_ok=True)

    def forget(self) -> list[str]:
        """Every copy is gone; returns where they were."""
        found = [str(self._folder)] if self._folder.exists() else []
        shutil.rmtree(self._folder, ignore_errors=True)
        return found

    def _open_token(self) -> str | None:
        with contextlib.suppress(FileNotFoundError):
            token = (self._folder / "open").read_text()
            return token if (self._folder / token).is_dir() else None
        return None

    def _freeze(self, token: str, refs: dict[str, DiskRef]) -> None:
        half = self._folder / "half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for disk, ref in refs.items():
            shutil.copyfile(_path(ref), half / _digest(disk))
        half.rename(self._folder / token)
        atomic.replace_text(self._folder / "open", token)

    def _keep(self, tokens: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in tokens:
                shutil.rmtree(path)

    def _frozen(self, token: str, disk: str, ref: DiskRef) -> DiskRef:
        return ref.model_copy(update={"uri": (self._folder / token / _digest(disk)).as_uri()})

    def _named(self, disk: str, ref: DiskRef, since: Marker | None) -> DiskRef:
        before = self._folder / _digest_of(since) / _digest(disk)
        known = ref.format == "raw" and ref.backing is None and before.is_file()
        if not known or before.stat().st_size != _path(ref).stat().st_size:
            return ref
        return ref.model_copy(update={"changed": range_set(_differences(before, _path(ref)))})


def _differences(before: Path, now: Path) -> Iterator[Range]:
    with before.open("rb") as old, now.open("rb") as new:
        position = 0
        while piece := new.read(PIECE_BYTES):
            if piece != old.read(PIECE_BYTES):
                yield position, position + len(piece)
            position += len(piece)


def _path(ref: DiskRef) -> Path:
    """Where an image is: the source has looked at its disks, and all of them are local."""
    return local_path(ref.uri) or Path()


def _digest_of(since: Marker | None) -> str:
    """The folder's name for a marker's token: a token of another source may hold anything."""
    return since.token if since is not None and "/" not in since.token and since.token.strip(".") else "none"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
