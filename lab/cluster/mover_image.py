"""The mover's image for the lab: the product's own Containerfile on a Debian base, built without a registry.

The base is made once by mmdebstrap; what the product changes is built anew in seconds. buildah runs the Containerfile's
steps in a chroot: it needs no container host.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from kubeferry.outside.process import run
from lab.cluster.archive import Archive, file_digest
from lab.cluster.images import archive_key
from lab.cluster.progress import say
from lab.cluster.rootfs import debian
from lab.packages import cache_folder

MOVER = "localhost/kubeferry-mover:lab"
BASE = "localhost/kubeferry-lab/debian:12"
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "openssh-client", "python3", "qemu-utils", "util-linux")
BUILD_SECONDS = 600
ROOT = Path(__file__).resolve().parents[2]
CONTENT = ("deploy/Containerfile", "deploy/build-image", "deploy/requirements-mover.txt")


def archive() -> Archive:
    """The archive with the mover's image as the checkout has it, built if it is not in the cache."""
    base = debian(SUITE, PACKAGES)
    key = archive_key(base.name.encode(), *_content())
    dest = cache_folder("images") / f"mover-{key}.tar"
    if not dest.exists():
        say("building the mover's image from deploy/Containerfile")
        with tempfile.TemporaryDirectory(dir=dest.parent) as work:
            built = Path(work) / "mover.tar"
            _build(base, built, Path(work))
            for old in dest.parent.glob("mover-*.tar"):
                old.unlink()
            built.rename(dest)
    return Archive("mover", key, dest)


def _content() -> list[bytes]:
    """What decides about the image."""
    product = sorted(path for folder in ("kubeferry", "converters") for path in (ROOT / folder).rglob("*.py"))
    files = [*(ROOT / name for name in CONTENT), *product]
    return [f"{path.relative_to(ROOT)} {file_digest(path)}".encode() for path in files]


def _build(base: Path, dest: Path, work: Path) -> None:
    storage = [f"--root={work / 'storage'}", f"--runroot={work / 'run'}", "--storage-driver=vfs"]
    buildah = ["buildah", *storage]
    first = work / "base"
    first.mkdir()
    (first / "root.tar").hardlink_to(base)
    (first / "Containerfile").write_text("FROM scratch\nADD root.tar /\n")
    run([*buildah, "build", "--isolation=chroot", f"--tag={BASE}", str(first)], timeout=BUILD_SECONDS)
    argv = [str(ROOT / "deploy" / "build-image"), MOVER, "--isolation=chroot", f"--build-arg=BASE={BASE}"]
    run(argv, env={"BUILDER": " ".join(buildah)}, timeout=BUILD_SECONDS)
    run([*buildah, "push", "--quiet", MOVER, f"docker-archive:{dest}:{MOVER}"], timeout=BUILD_SECONDS)
