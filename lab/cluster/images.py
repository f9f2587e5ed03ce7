"""The images that every lab cluster has: the pause program that holds pods together, and busybox for tests."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from kubeferry.outside.process import run
from lab.cluster.archive import Archive, Image, LayerWriter, file_digest, read_layer, write
from lab.packages import cache_folder

PAUSE = "localhost/kubeferry-lab/pause:1"
BUSYBOX = "localhost/kubeferry-lab/busybox:1"
PAUSE_SOURCE = Path(__file__).with_name("pause.c")
# Names that busybox answers to in the image; a test's shell finds the rest as `busybox NAME`.
APPLETS = (
    "sh",
    "cat",
    "dd",
    "echo",
    "id",
    "ls",
    "mkdir",
    "rm",
    "sha256sum",
    "sleep",
    "stat",
    "sync",
    "nslookup",
)
USERS = "root:x:0:0:root:/root:/bin/sh\nqemu:x:107:107:qemu:/:/bin/sh\n"
GROUPS = "root:x:0:\nqemu:x:107:\n"


def archive() -> Archive:
    """The archive with both images, built if it is not in the cache."""
    busybox = Path(shutil.which("busybox") or "busybox")
    key = archive_key(Path(__file__).read_bytes(), PAUSE_SOURCE.read_bytes(), file_digest(busybox).encode())
    dest = cache_folder("images") / f"node-{key}.tar"
    if not dest.exists():
        with tempfile.TemporaryDirectory(dir=dest.parent) as work:
            built = Path(work) / "archive.tar"
            write([_pause(Path(work)), _busybox(busybox, Path(work))], built)
            built.rename(dest)
    return Archive("node", key, dest)


def archive_key(*parts: bytes) -> str:
    """A short digest of everything that decides about an archive's content."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _pause(work: Path) -> Image:
    program, layer = work / "pause", work / "pause.layer"
    run(["gcc", "-static", "-Os", "-o", str(program), str(PAUSE_SOURCE)])
    with LayerWriter(layer) as files:
        files.program("pause", program)
    return Image(PAUSE, (read_layer(layer),), entrypoint=("/pause",))


def _busybox(program: Path, work: Path) -> Image:
    layer = work / "busybox.layer"
    with LayerWriter(layer) as files:
        files.program("bin/busybox", program)
        for name in APPLETS:
            files.link(f"bin/{name}", "busybox")
        files.text("etc/passwd", USERS)
        files.text("etc/group", GROUPS)
        files.folder("tmp", mode=0o1777)
    return Image(BUSYBOX, (read_layer(layer),), entrypoint=("/bin/sh",))
