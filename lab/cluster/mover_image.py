"""The mover's image for the lab, as the checkout has it: built anew, in seconds, when what is in it has changed."""

from __future__ import annotations

from pathlib import Path

from lab import product_images
from lab.cluster.archive import Archive, file_digest
from lab.cluster.images import archive_key
from lab.cluster.progress import say
from lab.packages import cache_folder

MOVER = "localhost/kubeferry-mover:lab"
ROOT = product_images.ROOT
CONTENT = ("mover/Containerfile", "mover/requirements.txt", "build-image")


def archive() -> Archive:
    """The archive with the mover's image as the checkout has it, built if it is not in the cache."""
    key = archive_key(product_images.base("mover").name.encode(), *_content())
    dest = cache_folder("images") / f"mover-{key}.tar"
    if not dest.exists():
        say("building the mover's image from deploy/mover")
        arriving = dest.with_suffix(".new")
        arriving.unlink(missing_ok=True)
        with product_images.built("mover", MOVER) as buildah:
            product_images.push(buildah, MOVER, arriving)
        for old in dest.parent.glob("mover-*.tar"):
            old.unlink()
        arriving.rename(dest)
    return Archive("mover", key, dest)


def _content() -> list[bytes]:
    """What decides about the image."""
    product = sorted(path for folder in ("kubeferry", "converters") for path in (ROOT / folder).rglob("*.py"))
    files: list[Path] = [*(ROOT / "deploy" / name for name in CONTENT), *product]
    return [f"{path.relative_to(ROOT)} {file_digest(path)}".encode() for path in files]
