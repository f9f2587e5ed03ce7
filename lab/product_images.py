"""The product's images, built from the folders that `kubeferry manifests` writes, on a Debian base without a registry.

The base is made once by mmdebstrap; buildah runs the Containerfile's steps in a chroot: it needs no container host.
`python -m lab.product_images` builds kubeferry's own image into build/image.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flows.setup.manifests import write_context
from kubeferry.outside.process import require, run
from lab.cluster.rootfs import debian

SUITE = "bookworm"
BASE = "localhost/kubeferry-lab/debian:12"
BOTH = ("ca-certificates", "openssh-client", "python3", "qemu-utils", "util-linux")
PACKAGES = {"mover": (*BOTH, "libnss-wrapper"), "control-plane": (*BOTH, "python3-libvirt")}
"""What the base has of what each Containerfile would install."""
NAME = "localhost/kubeferry:lab"
BUILD_SECONDS = 600
ROOT = Path(__file__).resolve().parent.parent


def base(image: str) -> Path:
    """The root file system that the image stands on, as a tar file in the cache. Raises ToolMissing."""
    require("mmdebstrap", "buildah")
    return debian(SUITE, PACKAGES[image])


@contextlib.contextmanager
def built(image: str, name: str) -> Iterator[list[str]]:
    """Build an image; gives the buildah command that has it in its storage, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="kubeferry-image-", dir=base(image).parent) as folder:
        work = Path(folder)
        buildah = ["buildah", f"--root={work / 'storage'}", f"--runroot={work / 'run'}", "--storage-driver=vfs"]
        first = work / "base"
        first.mkdir()
        (first / "root.tar").hardlink_to(base(image))
        (first / "Containerfile").write_text("FROM scratch\nADD root.tar /\n")
        run([*buildah, "build", "--isolation=chroot", f"--tag={BASE}", str(first)], timeout=BUILD_SECONDS)
        write_context(image, work / "context")
        argv = [str(work / "context" / "build-image"), name, "--isolation=chroot", f"--build-arg=BASE={BASE}"]
        run(argv, env={"BUILDER": " ".join(buildah), "PYTHON": sys.executable}, timeout=BUILD_SECONDS)
        yield buildah


def push(buildah: list[str], name: str, dest: Path) -> None:
    """Write the image as a docker-archive, which podman, docker and ctr load."""
    run([*buildah, "push", "--quiet", name, f"docker-archive:{dest}:{name}"], timeout=BUILD_SECONDS)


def main() -> None:
    dest = ROOT / "build" / "image" / "kubeferry.tar"
    dest.parent.mkdir(parents=True, exist_ok=True)
    dest.unlink(missing_ok=True)
    with built("control-plane", NAME) as buildah:
        push(buildah, NAME, dest)
    print(f"{NAME}: {dest.relative_to(ROOT)}, {dest.stat().st_size // 2**20} MiB; podman load --input {dest.name}")


if __name__ == "__main__":
    main()
