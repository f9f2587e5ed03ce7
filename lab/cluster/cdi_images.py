"""CDI's images: one program each on the common base, which brings qemu-img and nbdkit to those that copy."""

from __future__ import annotations

from pathlib import Path

from lab.cluster.archive import Image, Layer, LayerWriter, read_layer
from lab.cluster.bundle import Bundle
from lab.cluster.kubevirt_images import NOBODY, image_name, write_users

# Program -> how it is started.
PROGRAMS = {
    "cdi-operator": ("/usr/bin/cdi-operator",),
    "cdi-apiserver": ("/usr/bin/cdi-apiserver", "-alsologtostderr"),
    "cdi-controller": ("/usr/bin/cdi-controller", "-alsologtostderr"),
    "cdi-uploadproxy": ("/usr/bin/cdi-uploadproxy", "-alsologtostderr"),
    "cdi-uploadserver": ("/usr/bin/cdi-uploadserver", "-alsologtostderr"),
    "cdi-importer": ("/usr/bin/cdi-importer", "-alsologtostderr"),
    "cdi-cloner": ("/usr/bin/cloner_startup.sh",),
}


def build(bundle: Bundle, base: Layer, work: Path) -> list[Image]:
    """All images of CDI; new layers are written into `work`."""
    return [_image(bundle, name, entrypoint, base, work) for name, entrypoint in PROGRAMS.items()]


def _image(bundle: Bundle, name: str, entrypoint: tuple[str, ...], base: Layer, work: Path) -> Image:
    path = work / f"{name}.layer"
    with LayerWriter(path) as files:
        files.program(f"usr/bin/{name}", bundle.program(name))
        if name == "cdi-cloner":
            script = bundle.folder / "cdi" / "conf" / "cloner_startup.sh"
            files.text("usr/bin/cloner_startup.sh", script.read_text(), mode=0o755)
        write_users(files)
    return Image(image_name(name), (base, read_layer(path)), entrypoint=entrypoint, user=str(NOBODY))
