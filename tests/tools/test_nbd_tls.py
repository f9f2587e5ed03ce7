"""NBD with TLS: real servers (qemu-nbd, nbdkit) with certificates and with keys, as source and as target."""

from __future__ import annotations

import os
import random
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converters.endpoints import Endpoint, open_source, open_target
from converters.endpoints.nbd import tls
from converters.engine.disks import copy_disk, parse_ref, prepare_target, verify_disk
from converters.engine.transfer import Options, Watch
from flows.serving.ports import free_port
from kubeferry.errors import InputInvalid, KubeferryError, SourceRefused, SourceUnavailable, TargetRefused
from kubeferry.model import DiskRef
from kubeferry.outside import process
from tests.listening import listens
from tests.needs import here
from tests.tools.authority import CLIENT, SERVER, Authority
from tests.tools.sshd import await_true

MIB = 1 << 20
SIZE = 24 * MIB
here("qemu-nbd", "openssl")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path, chance = tmp_path / "disk.img", random.Random(5)
    with path.open("wb") as file:
        for at in range(0, 20, 2):
            file.seek(at * MIB)
            file.write(chance.randbytes(MIB))
        file.truncate(SIZE)
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


class Server:
    """A qemu-nbd on a port of loopback, with TLS or without."""

    def __init__(self, folder: Path, disk: Path, *words: str) -> None:
        self.port = free_port()
        address = ["--bind=127.0.0.1", f"--port={self.port}", "--persistent", "--shared=0", "--format=raw"]
        self.argv = ["qemu-nbd", *address, *words, str(disk)]
        self.log = folder / f"qemu-nbd-{self.port}.log"
        self.program: process.Child | None = None

    @contextmanager
    def up(self) -> Iterator[Server]:
        with process.child(self.argv, log=self.log) as self.program:
            await_true(lambda: listens(self.port), self.program)
            yield self

    def ref(self, folder: Path | None, *, host: str = "127.0.0.1", more: str = "") -> DiskRef:
        trusted = f"tls-certificates={folder}" if folder else ""
        return DiskRef(uri=f"nbds://{host}:{self.port}/?{trusted}{more}".rstrip("?"))


def with_certificates(folder: Path, *, asks: bool = True) -> list[str]:
    kind = "tls-creds-x509,id=tls,endpoint=server"
    return [f"--object={kind},dir={folder},verify-peer={'yes' if asks else 'no'}", "--tls-creds=tls"]


def with_keys(folder: Path) -> list[str]:
    return [f"--object=tls-creds-psk,id=tls,endpoint=server,dir={folder}", "--tls-creds=tls"]


def keys(folder: Path, user: str = "mover") -> Path:
    folder.mkdir()
    (folder / "keys.psk").write_text(f"other:{secrets.token_hex(32)}\n{user}:{secrets.token_hex(32)}\n")
    return folder / "keys.psk"


def whole(disk: Endpoint) -> bytes:
    view = memoryview(bytearray(disk.size))
    disk.read_into(0, view)
    return bytes(view)


def refused(ref: DiskRef, kind: type[KubeferryError] = SourceRefused) -> KubeferryError:
    with pytest.raises(kind) as caught, open_source(ref):
        pass
    assert caught.value.fix
    return caught.value


# --- what works -------------------------------------------------------------------------------------------------------


def test_a_disk_is_copied_from_one_server_to_another_and_read_back(
    tmp_path: Path, disk: Path, authority: Authority
) -> None:
    """Both ask who we are; both let several connections in."""
    ours, theirs = authority.signed(CLIENT), with_certificates(authority.signed(SERVER))
    empty = tmp_path / "target.img"
    empty.touch()
    os.truncate(empty, SIZE)
    with (
        Server(tmp_path, disk, "--read-only", *theirs).up() as source,
        Server(tmp_path, empty, "--discard=unmap", *theirs).up() as target,
    ):
        prints, written = tmp_path / "disk.kff", target.ref(ours)
        done = copy_disk(source.ref(ours), written, prints, options=Options(may_lose=False))
        assert (done.tally.data, done.tally.written) == (10 * MIB, 10 * MIB)
        assert not verify_disk(written, prints).differing
    assert empty.read_bytes() == disk.read_bytes()


def test_the_name_in_the_certificate_may_be_given(tmp_path: Path, disk: Path, authority: Authority) -> None:
    theirs = with_certificates(authority.signed(SERVER, names="DNS:store.example"), asks=False)
    with Server(tmp_path, disk, "--read-only", *theirs).up() as server:
        only = authority.trusting()
        assert "not valid" in refused(server.ref(only)).why
        with open_source(server.ref(only, more="&tls-hostname=store.example")) as opened:
            assert whole(opened) == disk.read_bytes()
            assert opened.parallel


def test_the_folder_may_come_from_the_environment(
    tmp_path: Path, disk: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tls.CERTIFICATES, str(authority.signed(CLIENT)))
    with (
        Server(tmp_path, disk, "--read-only", *with_certificates(authority.signed(SERVER))).up() as server,
        open_source(server.ref(None)) as opened,
    ):
        assert whole(opened) == disk.read_bytes()


def test_nbdkit_is_read_and_written(tmp_path: Path, disk: Path, authority: Authority) -> None:
    here("nbdkit")
    port, folder = free_port(), authority.signed(SERVER)
    words = ["--tls=require", f"--tls-certificates={folder}", "--tls-verify-peer", f"--port={port}"]
    argv = ["nbdkit", "--foreground", "--exit-with-parent", "--ipaddr=127.0.0.1", *words, "file", str(disk)]
    with process.child(argv, log=tmp_path / "nbdkit.log") as server:
        await_true(lambda: listens(port), server)
        ref = DiskRef(uri=f"nbds://localhost:{port}/?tls-certificates={authority.signed(CLIENT)}")
        with open_target(ref) as opened:
            assert whole(opened) == disk.read_bytes()
            opened.write(MIB + 5, memoryview(b"written"))
            opened.zero(0, MIB)
            opened.flush()
    assert disk.read_bytes()[: MIB + 12] == bytes(MIB + 5) + b"written"


def test_with_a_key_a_disk_is_copied_from_one_server_to_another(tmp_path: Path, disk: Path) -> None:
    key = keys(tmp_path / "keys")
    empty = tmp_path / "target.img"
    empty.touch()
    os.truncate(empty, SIZE)
    with (
        Server(tmp_path, disk, "--read-only", *with_keys(key.parent)).up() as source,
        Server(tmp_path, empty, *with_keys(key.parent)).up() as target,
    ):
        read, write = (f"nbds://mover@127.0.0.1:{one.port}/?tls-psk-file={key}" for one in (source, target))
        done = copy_disk(DiskRef(uri=read), DiskRef(uri=write), tmp_path / "disk.kff")
        assert done.tally.data == 10 * MIB
        assert not verify_disk(DiskRef(uri=write), tmp_path / "disk.kff").differing
    assert empty.read_bytes() == disk.read_bytes()


# --- whom we trust, and who trusts us ---------------------------------------------------------------------------------


def test_a_server_of_another_authority_is_refused(tmp_path: Path, disk: Path, authority: Authority) -> None:
    stranger = Authority(tmp_path / "stranger")
    with Server(tmp_path, disk, *with_certificates(stranger.signed(SERVER), asks=False)).up() as server:
        for folder in (authority.trusting(), None):  # None: the authorities of this system
            said = refused(server.ref(folder))
            assert "is not trusted" in said.what
            assert "ca-cert.pem" in said.fix
        with pytest.raises(TargetRefused, match="is not trusted"):
            open_target(server.ref(None))


def test_a_server_without_tls_is_refused_and_nothing_of_its_disk_is_read(
    tmp_path: Path, disk: Path, authority: Authority
) -> None:
    with Server(tmp_path, disk).up() as server:
        said = refused(server.ref(authority.trusting()))
        assert "has no TLS" in said.what
        key = keys(tmp_path / "keys")
        uri = f"nbds://mover@127.0.0.1:{server.port}/?tls-psk-file={key}"
        assert "does not take us" in refused(DiskRef(uri=uri)).what


def test_a_server_that_asks_for_tls_says_so_to_one_who_has_none(
    tmp_path: Path, disk: Path, authority: Authority
) -> None:
    path = tmp_path / "socket"
    words = with_certificates(authority.signed(SERVER))
    argv = ["qemu-nbd", "--persistent", f"--socket={path}", "--format=raw", *words, str(disk)]
    with process.child(argv, log=tmp_path / "log") as server:
        await_true(lambda: listens(path), server)
        said = refused(DiskRef(uri=f"nbd+unix:///?socket={path}"))
    assert "TLS" in said.why


def test_a_server_that_does_not_know_us_is_told(tmp_path: Path, disk: Path, authority: Authority) -> None:
    stranger = Authority(tmp_path / "stranger").signed(CLIENT)
    (stranger / "ca-cert.pem").write_bytes(authority.certificate.read_bytes())
    with Server(tmp_path, disk, *with_certificates(authority.signed(SERVER))).up() as server:
        for folder in (authority.trusting(), stranger):
            said = refused(server.ref(folder), KubeferryError)
            assert "client-cert.pem" in said.fix, said


def test_a_wrong_key_and_a_wrong_user_are_told_and_no_key_is_shown(tmp_path: Path, disk: Path) -> None:
    key, other = keys(tmp_path / "keys"), keys(tmp_path / "wrong")
    with Server(tmp_path, disk, *with_keys(key.parent)).up() as server:
        place = f"127.0.0.1:{server.port}/?tls-psk-file="
        said = refused(DiskRef(uri=f"nbds://mover@{place}{other}"))
        assert "does not take us" in said.what
        assert "tls-creds" not in said.why
        assert "has no key of nobody" in refused(DiskRef(uri=f"nbds://nobody@{place}{key}")).what
        assert "cannot be used" in refused(DiskRef(uri=f"nbds://mover@{place}{tmp_path}/none")).what
        for file in (key, other):
            assert not any(line.partition(":")[2] in str(said) for line in file.read_text().splitlines())


@pytest.mark.parametrize("broken", ["ca-cert.pem", "client-key.pem"])
def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path, authority: Authority, broken: str) -> None:
    folder = authority.signed(CLIENT)
    (folder / broken).write_text("no PEM\n")
    said = refused(DiskRef(uri=f"nbds://127.0.0.1:1/?tls-certificates={folder}"))
    assert broken in said.what


@pytest.mark.parametrize(
    "uri",
    [
        "nbds:///export",
        "nbds://ann:pw@host/",
        "nbds://host/?tls-certificates=relative",
        "nbds://host/?tls-verify-peer=false",
        "nbds://host/?tls-certificates=/a&tls-psk-file=/b",
        "nbds://host/?tls-certificates=/a&tls-certificates=/b",
        "nbds://host:port/",
    ],
)
def test_what_is_not_understood_is_never_left_out(uri: str) -> None:
    refused(DiskRef(uri=uri), InputInvalid)


# --- what fails on the way --------------------------------------------------------------------------------------------


def test_no_server_and_no_such_host(authority: Authority) -> None:
    only = authority.trusting()
    refused(DiskRef(uri=f"nbds://127.0.0.1:{free_port()}/?tls-certificates={only}"), SourceUnavailable)
    refused(DiskRef(uri=f"nbds://host.invalid/?tls-certificates={only}"), SourceUnavailable)


class Once(Watch):
    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if phase == "copying" and done >= 4 * MIB and self.action is not None:
            self.action()
            self.action = None


def test_a_server_that_dies_is_told_and_the_copy_goes_on_from_its_checkpoint(
    tmp_path: Path, disk: Path, authority: Authority
) -> None:
    ours = authority.signed(CLIENT)
    server = Server(tmp_path, disk, "--read-only", *with_certificates(authority.signed(SERVER)))
    target = parse_ref(str(tmp_path / "copy.img"))
    prints = tmp_path / "copy.kff"
    zero = prepare_target(target, SIZE, prints)

    def kill() -> None:
        assert server.program is not None
        os.kill(server.program.pid, signal.SIGKILL)

    slow = Options(bandwidth=8 * MIB, checkpoint_seconds=0.1)
    with server.up(), pytest.raises(SourceUnavailable) as caught:
        copy_disk(server.ref(ours), target, prints, target_reads_zero=zero, options=slow, watch=Once(kill))
    assert str(server.port) in caught.value.what
    with server.up():
        done = copy_disk(server.ref(ours), target, prints)
    assert done.tally.resumed >= 2 * MIB
    assert (tmp_path / "copy.img").read_bytes() == disk.read_bytes()
