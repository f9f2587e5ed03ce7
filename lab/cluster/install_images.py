"""The images of `deploy/install` for the lab: kubeferry's own as the checkout has it, and PostgreSQL, Debian's.

Put together from layers, so that a change of ours costs seconds: Debian, the libraries of the lock, our packages. What
this does not do: follow the steps of `deploy/control-plane/Containerfile`. `lab/product_images.py` does, and
tests/tools/test_product_image.py looks at what comes of it.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import sys
import tempfile
from pathlib import Path

from flows.setup.manifests import CONTENT, write_context
from kubeferry.outside.process import run
from lab import product_images
from lab.cluster import rootfs
from lab.cluster.archive import SEARCH_PATH, Archive, Image, LayerWriter, file_digest, read_layer, write
from lab.cluster.images import archive_key
from lab.cluster.progress import say
from lab.packages import cache_folder

KUBEFERRY = "localhost/kubeferry:lab"
POSTGRES = "localhost/kubeferry-lab/postgres:15"
POSTGRES_PACKAGES = ("postgresql-15",)
POSTGRES_PROGRAMS = "/usr/lib/postgresql/15/bin"
PLACE = "opt/kubeferry"
GIVEN = product_images.ROOT / "deploy" / "control-plane"
USERS = {"kubeferry": (1000, "/work"), "postgres": (999, "/tmp")}  # noqa: S108 (in the image)
LIBRARIES_SECONDS = 900
FORM = b"1"
"""Changes with what is done to what layers are made of: those that are kept count no more."""


def kubeferry() -> Archive:
    """The archive with kubeferry's image as the checkout has it."""
    key = archive_key(
        *(f"{path.relative_to(product_images.ROOT)} {file_digest(path)}".encode() for path in _decisive())
    )
    dest = cache_folder("images") / f"kubeferry-{key}.tar"
    if not dest.exists():
        base, libraries = product_images.base("control-plane"), _libraries()
        say("putting kubeferry's image together")
        with tempfile.TemporaryDirectory(dir=dest.parent) as folder:
            ours, built = Path(folder) / "ours.layer", Path(folder) / "archive.tar"
            _write_ours(ours, base, Path(folder) / "code")
            layers = (read_layer(base), read_layer(libraries), read_layer(ours))
            write([Image(KUBEFERRY, layers, entrypoint=("kubeferry",), user="1000:1000", env=_environment())], built)
            _replace(built, dest, "kubeferry-*.tar")
    return Archive("kubeferry", key, dest)


def postgres() -> Archive:
    """The archive with PostgreSQL: its programs on the search path, and a user that is not Debian's."""
    key = archive_key(FORM, *(part.encode() for part in (*POSTGRES_PACKAGES, POSTGRES_PROGRAMS, str(USERS))))
    dest = cache_folder("images") / f"postgres-{key}.tar"
    if not dest.exists():
        base = rootfs.debian(product_images.SUITE, POSTGRES_PACKAGES)
        with tempfile.TemporaryDirectory(dir=dest.parent) as folder:
            layer, built = Path(folder) / "users.layer", Path(folder) / "archive.tar"
            with LayerWriter(layer) as files:
                _user(files, base, "postgres")
            env = (SEARCH_PATH.replace("PATH=", f"PATH={POSTGRES_PROGRAMS}:"),)
            write([Image(POSTGRES, (read_layer(base), read_layer(layer)), user="999:999", env=env)], built)
            _replace(built, dest, "postgres-*.tar")
    return Archive("postgres", key, dest)


def _libraries() -> Path:
    """The layer with the libraries of the lock, fetched and compiled once for each lock (about a minute)."""
    key = archive_key(FORM, (GIVEN / "requirements.txt").read_bytes())
    dest = cache_folder("images") / f"libraries-{key}.layer"
    if not dest.exists():
        say("fetching the libraries of kubeferry's image: a minute, once")
        with tempfile.TemporaryDirectory(dir=dest.parent) as folder:
            context, built = Path(folder) / "context", Path(folder) / "libraries.layer"
            write_context("control-plane", context)
            # A builder that builds nothing leaves what was fetched.
            argv = [str(context / "build-image"), "none"]
            run(argv, env={"BUILDER": "true", "PYTHON": sys.executable}, timeout=LIBRARIES_SECONDS)
            _compile(context / "site")
            with LayerWriter(built) as files:
                files.tree(PLACE, context / "site")
            _replace(built, dest, "libraries-*.layer")
    return dest


def _write_ours(layer: Path, base: Path, work: Path) -> None:
    write_context("control-plane", work)
    with LayerWriter(layer) as files:
        for package in CONTENT["control-plane"]:
            name = package.__name__
            _compile(work / name)
            files.tree(f"{PLACE}/{name}", work / name)
        for module, command in re.findall(r"exec python3 -m (\S+).*?>/usr/local/bin/(\S+)", _containerfile()):
            files.text(f"usr/local/bin/{command}", f'#!/bin/sh\nexec python3 -m {module} "$@"\n', mode=0o755)
        _user(files, base, "kubeferry")
        files.folder("work", owner=USERS["kubeferry"][0])


def _user(files: LayerWriter, base: Path, name: str) -> None:
    """The user of a pod, whose name the base may have with another number."""
    number, home = USERS[name]
    for kind, entry in (
        ("passwd", f"{name}:x:{number}:{number}:{name}:{home}:/usr/sbin/nologin"),
        ("group", f"{name}:x:{number}:"),
    ):
        lines = rootfs.read(base, f"etc/{kind}").decode().splitlines()
        kept = [line for line in lines if not line.startswith(f"{name}:")]
        files.text(f"etc/{kind}", "\n".join([*kept, entry, ""]))


def _compile(folder: Path) -> None:
    """With files that count whatever their time: a layer has none."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, workers=2, invalidation_mode=mode)


def _environment() -> tuple[str, ...]:
    """What the Containerfile sets."""
    (line,) = re.findall(r"^ENV (.*)$", _containerfile(), re.MULTILINE)
    return (SEARCH_PATH, *line.split())


def _containerfile() -> str:
    return (GIVEN / "Containerfile").read_text()


def _decisive() -> list[Path]:
    """The files that decide about kubeferry's image."""
    packages = [Path(str(package.__file__)).parent for package in CONTENT["control-plane"]]
    ours = [path for folder in packages for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sorted({*ours, GIVEN / "Containerfile", GIVEN / "requirements.txt", GIVEN.parent / "build-image"})


def _replace(built: Path, dest: Path, older: str) -> None:
    for old in dest.parent.glob(older):
        old.unlink()
    built.rename(dest)
