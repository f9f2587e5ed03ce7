"""Little that is read whole: what stands in a URI, and a qcow2 image as qemu-img makes it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from converters.endpoints.inline import open_endpoint
from kubeferry.errors import InputInvalid, KubeferryError
from kubeferry.faults import Side
from kubeferry.images.contents import contents
from kubeferry.outside.process import run
from kubeferry.uris import inline_content, inline_uri
from kubeferry.values import DiskRef
from tests.needs import here

SIZE = 540672


def content() -> bytes:
    made = bytearray(b"\xff" * SIZE)
    made[1000:9000] = random.Random(3).randbytes(8000)
    made[300_000:340_000] = bytes(40_000)
    return bytes(made)


@pytest.mark.parametrize("options", ["cluster_size=4096", "compat=0.10", "cluster_size=65536"])
def test_a_qcow2_image_is_read_whole(tmp_path: Path, options: str) -> None:
    here("qemu-img")
    (tmp_path / "raw").write_bytes(content())
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", options, str(tmp_path / "raw")]
    run([*command, str(tmp_path / "image")])
    assert contents((tmp_path / "image").read_bytes(), SIZE) == content()


def test_what_is_compressed_too_large_cut_off_or_not_alone_is_refused(tmp_path: Path) -> None:
    here("qemu-img")
    (tmp_path / "raw").write_bytes(content())
    for name, more in {"packed": ["-c"], "plain": []}.items():
        run(["qemu-img", "convert", *more, "-f", "raw", "-O", "qcow2", str(tmp_path / "raw"), str(tmp_path / name)])
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "raw", "-F", "raw", str(tmp_path / "layer")], cwd=tmp_path)
    plain = (tmp_path / "plain").read_bytes()
    for image, most, said in (
        ((tmp_path / "packed").read_bytes(), SIZE, "compressed"),
        ((tmp_path / "layer").read_bytes(), SIZE, "not whole by itself"),
        (plain, SIZE - 1, "claims"),
        (plain[:-200_000], SIZE, "behind its end"),
        (b"no image", SIZE, "does not start like"),
    ):
        with pytest.raises(ValueError, match=said):
            contents(image, most)


def test_what_stands_in_a_uri_is_bounded_and_never_written() -> None:
    uri = inline_uri(content())
    assert inline_content(uri, SIZE) == content()
    assert len(uri) < 16_000
    assert inline_content(uri, SIZE - 1) is None
    assert inline_content(uri[:-40], SIZE) is None
    assert inline_content("file:///etc/passwd", SIZE) is None
    with pytest.raises(InputInvalid, match="cut off"):
        open_endpoint(DiskRef(uri=uri[:-40]), Side.SOURCE)
    with pytest.raises(KubeferryError, match="cannot be written"):
        open_endpoint(DiskRef(uri=uri), Side.TARGET)
