"""Disks behind SSH: a real sshd that allows forwarding only, a real qemu-nbd behind a unix socket, cut and gone on."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converters.endpoints import open_source
from converters.endpoints.nbd import ssh
from converters.engine.disks import Outcome, copy_disk, parse_ref, prepare_target, repair_disk, verify_disk
from converters.engine.transfer import Options, Watch
from flows.serving.ports import free_port
from kubeferry.documents import MoverJob, MoverProgress, MoverResult, save
from kubeferry.errors import InputInvalid, Interrupted, KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.model import DiskRef
from kubeferry.outside import process, ssh_client, stopping
from tests.needs import CI, here
from tests.tools.sshd import MIB, SIZE, Hypervisor, await_true, clients, make_key

ROOT = Path(__file__).resolve().parents[2]
here("ssh", "sshd", "qemu-nbd")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not below pytest's own folder: whenever pytest starts on this machine, it closes that to other users again."""
    with tempfile.TemporaryDirectory(prefix="kubeferry-ssh-") as folder:
        yield Path(folder)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hypervisor]:
    """A hypervisor that runs, and the right private key for it."""
    (tmp_path / "far").mkdir()
    made = Hypervisor(tmp_path / "far")
    monkeypatch.setenv(ssh.KEY, str(made.key))
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    with made.up():
        yield made
    await_true(lambda: not clients(made.folder))


@pytest.fixture
def near(tmp_path: Path) -> Path:
    (tmp_path / "near").mkdir()
    return tmp_path / "near"


def fetch(source: DiskRef, near: Path, watch: Watch | None = None, **options: object) -> Outcome:
    target = parse_ref(str(near / "disk.img"))
    zero = prepare_target(target, SIZE, near / "disk.kff")
    return copy_disk(
        source,
        target,
        near / "disk.kff",
        target_reads_zero=zero,
        options=Options(**options),  # type: ignore[arg-type]
        watch=watch or Watch(),
    )


def refused(source: DiskRef, error: type[KubeferryError] = SourceRefused) -> KubeferryError:
    with pytest.raises(error) as caught, open_source(source):
        pass
    assert caught.value.fix
    assert "PRIVATE KEY-" not in str(caught.value)
    return caught.value


# --- what works -------------------------------------------------------------------------------------------------------


def test_a_disk_is_copied_verified_and_repaired_and_its_holes_are_not_read(far: Hypervisor, near: Path) -> None:
    with far.serving():
        done = fetch(far.ref(), near)
        assert (done.size, done.tally.data, done.tally.read) == (SIZE, 12 * MIB, 12 * MIB)
        assert (near / "disk.img").read_bytes() == far.disk.read_bytes()
        with (near / "disk.img").open("r+b") as disk:
            disk.seek(5 * MIB)
            disk.write(b"flipped")
        target = parse_ref(str(near / "disk.img"))
        assert list(verify_disk(target, near / "disk.kff").differing) == [5 * MIB]
        assert list(repair_disk(far.ref(), target, near / "disk.kff").differing) == [5 * MIB]
        assert not verify_disk(target, near / "disk.kff").differing
    assert sorted(path.name for path in near.iterdir()) == ["disk.img", "disk.kff", "proven-disk.kff"]


def test_all_workers_go_through_one_ssh_connection_if_that_is_asked_for(far: Hypervisor) -> None:
    with far.serving(), open_source(far.ref(connections=1)) as disk:
        before = far.sessions()
        with disk.clone() as second, disk.clone() as third:
            for one in (disk, second, third):
                view = memoryview(bytearray(MIB))
                one.read_into(2 * MIB, view)
                assert view == far.disk.read_bytes()[2 * MIB : 3 * MIB]
            assert far.sessions() == before
            assert len(clients(far.folder)) == 1


def test_a_small_disk_is_read_before_a_second_connection_stands(far: Hypervisor) -> None:
    with far.serving(), open_source(far.ref()) as disk, disk.clone(), disk.clone():
        assert len(clients(far.folder)) == 1


def test_each_worker_has_an_ssh_connection_of_its_own_up_to_the_limit(
    far: Hypervisor, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MANY_FROM_BYTES", MIB)
    with far.serving():
        with open_source(far.ref(connections=2), work=near) as disk:
            alone = far.sessions()
            with disk.clone(), disk.clone() as second, disk.clone():
                view = memoryview(bytearray(MIB))
                second.read_into(2 * MIB, view)
                assert view == far.disk.read_bytes()[2 * MIB : 3 * MIB]
                assert len(clients(far.folder)) == 2
            await_true(lambda: far.sessions() == alone)  # each goes with its worker
        done = fetch(far.ref(), near, workers=3)
    assert done.tally.read == 12 * MIB
    assert (near / "disk.img").read_bytes() == far.disk.read_bytes()


def test_a_host_that_lets_no_second_connection_in_is_read_through_the_first(
    far: Hypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MANY_FROM_BYTES", MIB)
    with far.serving(), open_source(far.ref()) as disk, disk.clone():
        os.kill(far.daemon.pid, signal.SIGKILL)  # who is logged in stays
        assert far.daemon.wait(5) is not None
        with disk.clone() as second:
            view = memoryview(bytearray(MIB))
            second.read_into(2 * MIB, view)
            assert view == far.disk.read_bytes()[2 * MIB : 3 * MIB]


def test_what_a_target_was_given_on_several_connections_is_durable_after_a_flush_on_one(
    far: Hypervisor, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MANY_FROM_BYTES", MIB)
    content = far.disk.read_bytes()
    (near / "disk.img").write_bytes(content)
    with far.disk.open("r+b") as file:
        file.truncate(0)
        file.truncate(SIZE)
    with far.serving(read_only=False):
        done = copy_disk(parse_ref(str(near / "disk.img")), far.ref(), near / "disk.kff", options=Options(workers=3))
        assert done.tally.written == 12 * MIB
        assert not verify_disk(far.ref(), near / "disk.kff").differing
    assert far.disk.read_bytes() == content


def ciphers(far: Hypervisor) -> list[str]:
    """Those that were agreed on, as the server tells them."""
    lines = (far.folder / "sshd.log").read_text().splitlines()
    return [line.split("cipher: ")[1].split()[0] for line in lines if "server->client cipher: " in line]


@pytest.mark.parametrize(
    ("aes", "asked", "found"),
    [
        (True, None, "aes128-gcm@openssh.com"),
        (False, None, "chacha20-poly1305@openssh.com"),
        (True, "aes256-ctr,aes128-ctr", "aes256-ctr"),
    ],
)
def test_the_cipher_is_the_fastest_or_the_one_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aes: bool, asked: str | None, found: str
) -> None:
    monkeypatch.setattr(ssh_client, "has_aes", lambda: aes)
    (tmp_path / "talking").mkdir()
    talking = Hypervisor(tmp_path / "talking")
    with (talking.folder / "sshd_config").open("a") as configuration:
        configuration.write("LogLevel DEBUG1\n")
    monkeypatch.setenv(ssh.KEY, str(talking.key))
    with talking.up(), talking.serving(), open_source(talking.ref(ciphers=asked)):
        assert set(ciphers(talking)) == {found}


def test_a_cipher_that_the_host_does_not_have_is_told(far: Hypervisor) -> None:
    with (far.folder / "sshd_config").open("a") as configuration:
        configuration.write("Ciphers aes256-ctr\n")
    os.kill(far.daemon.pid, signal.SIGHUP)
    with far.serving():
        await_true(lambda: opens(far.ref()))  # the fast ones are first, not alone
        said = refused(far.ref(ciphers="aes128-gcm@openssh.com"))
    assert "cipher" in said.what
    assert "aes256-ctr" in said.why


def test_the_connection_may_be_compressed(far: Hypervisor) -> None:
    with far.serving(), open_source(far.ref(compression=True)) as disk:
        view = memoryview(bytearray(MIB))
        disk.read_into(2 * MIB, view)
        assert view == far.disk.read_bytes()[2 * MIB : 3 * MIB]
        (line,) = clients(far.folder)
    assert "Compression=yes" in line


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_host_keys_of_every_kind_can_be_pinned(far: Hypervisor, kind: str) -> None:
    make_key(far.folder / "other_key", kind)
    with (far.folder / "sshd_config").open("a") as configuration:
        configuration.write(f"HostKey {far.folder}/other_key\n")
    os.kill(far.daemon.pid, signal.SIGHUP)
    await_true(far.greets)
    pin = " ".join((far.folder / "other_key.pub").read_text().split()[:2])
    with far.serving():
        await_true(lambda: opens(far.ref(host_key=pin)))


def opens(source: DiskRef) -> bool:
    try:
        with open_source(source) as disk:
            return disk.size == SIZE
    except SourceUnavailable:  # sshd is about to listen again
        return False


def test_names_with_spaces_and_signs_are_only_names(
    far: Hypervisor, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = near / "a b%h ${HOME} c"
    odd.mkdir()
    shutil.copy(far.key, odd / "the key%d")
    monkeypatch.setenv(ssh.KEY, str(odd / "the key%d"))
    with far.serving(), open_source(far.ref(), work=odd) as disk:
        assert disk.size == SIZE
        assert (odd / ".kubeferry-ssh").is_dir()
    assert [path.name for path in odd.iterdir()] == ["the key%d"]


def test_a_long_work_folder_and_what_a_killed_run_left_there_are_no_trouble(far: Hypervisor, near: Path) -> None:
    work = near / ("w" * 100)
    (work / ".kubeferry-ssh").mkdir(parents=True)
    (work / ".kubeferry-ssh" / "socket").write_text("left")
    with far.serving(), open_source(far.ref(), work=work) as disk:
        assert disk.size == SIZE
    assert not list(work.iterdir())


# --- who is there, and who we are -------------------------------------------------------------------------------------


def test_a_host_with_another_key_is_refused_and_both_fingerprints_are_told(far: Hypervisor, near: Path) -> None:
    make_key(near / "pinned")
    pinned = " ".join((near / "pinned.pub").read_text().split()[:2])
    with far.serving():
        said = refused(far.ref(host_key=pinned))
    assert "not the one that is pinned" in said.what
    for path in (near / "pinned.pub", far.folder / "host_key.pub"):
        assert process.run(["ssh-keygen", "-lf", str(path)]).out.split()[1] in said.why
    assert "hostKey" in said.fix


def test_a_host_that_has_no_key_of_the_pinned_kind_is_refused(far: Hypervisor, near: Path) -> None:
    make_key(near / "pinned", "ecdsa")
    said = refused(far.ref(host_key=" ".join((near / "pinned.pub").read_text().split()[:2])))
    assert "not the one that is pinned" in said.what
    assert "ssh-ed25519" in said.why


@pytest.mark.parametrize(
    "key", ["ssh-ed25519 AAAA", "ssh-ed25519 not*base64", "ssh-rsa \u00e4", "nothing", "ssh-rsa\nx AAAAC3Nz"]
)
def test_what_is_no_host_key_is_told_before_anything_is_started(far: Hypervisor, key: str) -> None:
    assert "is not a host key" in refused(far.ref(host_key=key), InputInvalid).why


@pytest.mark.parametrize("path", ["/run/a:b", "/run/a b", "/run/%h", "/run/${HOME}", "/run/a\nb"])
def test_a_socket_path_that_ssh_would_read_otherwise_is_refused(far: Hypervisor, path: str) -> None:
    assert "SSH reads otherwise" in refused(far.ref(socket=path), InputInvalid).why


def test_a_key_that_is_not_accepted_is_refused(far: Hypervisor, near: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ssh.KEY, str(make_key(near / "stranger")))
    with far.serving():
        said = refused(far.ref())
    assert "does not accept the private key" in said.what
    assert "authorized_keys" in said.fix


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(
    far: Hypervisor, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ssh.KEY, str(make_key(near / "locked", passphrase="swordfish")))  # noqa: S106 (of a test's key)
    assert "no passphrase" in refused(far.ref()).fix


def test_a_file_that_is_no_key_is_told_without_its_content(
    far: Hypervisor, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (near / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nc3dvcmRmaXNo\n-----END OPENSSH PRIVATE KEY-----\n")
    (near / "key").chmod(0o600)
    monkeypatch.setenv(ssh.KEY, str(near / "key"))
    said = refused(far.ref())
    assert "cannot be used" in said.what
    assert "c3dvcmRmaXNo" not in str(said)


@pytest.mark.parametrize("named", [None, "", "/nowhere/key"])
def test_a_missing_key_is_told_with_its_place(
    far: Hypervisor, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ssh.KEY) if named is None else monkeypatch.setenv(ssh.KEY, named)
    said = refused(far.ref())
    assert ssh.KEY in said.why
    assert "Secret" in said.fix


def test_the_key_is_in_no_command_line_and_the_users_own_ssh_is_not_asked(far: Hypervisor) -> None:
    with far.serving(), open_source(far.ref()):
        (line,) = clients(far.folder)
    assert " -F none " in line
    assert far.key.read_text().splitlines()[1] not in line


# --- what fails on the way --------------------------------------------------------------------------------------------


def test_a_socket_that_is_not_there_may_be_there_later(far: Hypervisor) -> None:
    said = refused(far.ref(), SourceUnavailable)
    assert "does not serve the disk" in said.what
    assert "the export is made anew" in said.fix


def test_an_export_that_the_server_does_not_have_is_refused(far: Hypervisor) -> None:
    with far.serving():
        assert str(far.socket) in refused(far.ref(export="other")).what


def test_forwarding_that_is_forbidden_is_told(far: Hypervisor) -> None:
    public = (far.folder / "key.pub").read_text()
    (far.folder / "authorized_keys").write_text(f"restrict {public}")
    with far.serving():
        assert "AllowStreamLocalForwarding" in refused(far.ref(), SourceUnavailable).fix


def test_a_host_that_refuses_connections_may_be_there_later(far: Hypervisor) -> None:
    said = refused(far.ref(port=free_port()), SourceUnavailable)
    assert "Connection refused" in said.why


def test_a_host_that_says_nothing_is_not_waited_for_long(far: Hypervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_client, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        said = refused(far.ref(port=silent.getsockname()[1]), SourceUnavailable)
    assert time.monotonic() - begun < ssh.START_SECONDS  # as long as the whole tunnel may take
    assert "timed out" in said.why


def test_a_stop_is_answered_while_it_connects(far: Hypervisor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stopping.request()
        try:
            with pytest.raises(Interrupted), open_source(far.ref(port=silent.getsockname()[1])):
                pass
        finally:
            stopping.reset()


class Cutting(Watch):
    """Does something once, when a copy has come so far."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        self.at = at
        self.action = action
        self.done = False

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if done >= self.at and not self.done and phase == "copying":
            self.done = True
            self.action()


SLOW = {"bandwidth": 8 * MIB, "checkpoint_seconds": 0.1}


def test_a_connection_cut_in_mid_copy_is_told_and_the_copy_goes_on_from_its_checkpoint(
    far: Hypervisor, near: Path
) -> None:
    with far.serving():
        with pytest.raises(SourceUnavailable) as caught:
            fetch(far.ref(), near, Cutting(5 * MIB, far.cut), **SLOW)
        assert f"127.0.0.1:{far.port}" in caught.value.what
        assert caught.value.why
        done = fetch(far.ref(), near)
    assert done.tally.resumed >= 4 * MIB
    assert done.tally.read <= 8 * MIB
    assert (near / "disk.img").read_bytes() == far.disk.read_bytes()


def test_a_host_that_falls_silent_in_mid_copy_is_noticed(
    far: Hypervisor, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_client, "ALIVE_SECONDS", 1)
    monkeypatch.setattr(ssh_client, "ALIVE_COUNT", 2)
    with far.serving():
        with pytest.raises(SourceUnavailable) as caught:
            fetch(far.ref(), near, Cutting(3 * MIB, lambda: far.cut(signal.SIGSTOP)), **SLOW)
        far.cut()
        assert "not responding" in caught.value.why
        assert fetch(far.ref(), near).tally.resumed >= 2 * MIB


def test_a_server_that_dies_behind_a_living_connection_is_told_as_such(far: Hypervisor, near: Path) -> None:
    with far.serving() as server:
        with pytest.raises(SourceUnavailable) as caught:
            fetch(far.ref(), near, Cutting(3 * MIB, lambda: os.kill(server.pid, signal.SIGKILL)), **SLOW)
        assert str(far.socket) in caught.value.what


# --- the mover --------------------------------------------------------------------------------------------------------


def mover_job(far: Hypervisor, near: Path, **more: object) -> list[str]:
    facts: dict[str, object] = {
        "name": "web-vda",
        "action": "copy",
        "source": far.ref(),
        "target": DiskRef(uri=(near / "disk.img").as_uri(), size_bytes=SIZE),
        "state_dir": str(near / "state"),
        "makes_target": True,
    }
    save(MoverJob.model_validate(facts | more), near / "job.json")
    return [sys.executable, "-m", "converters.mover", str(near / "job.json"), "--report", str(near / "report")]


def test_a_mover_whose_connection_is_cut_reports_it_and_the_next_one_goes_on(far: Hypervisor, near: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    with far.serving():
        argv = mover_job(far, near, bandwidth_bytes_per_second=2 * MIB)
        with process.child(argv, log=near / "log", env=environment) as mover:
            await_true(lambda: copied(near) >= 4 * MIB, mover)
            far.cut()
            assert mover.wait(60) == 1
        failed = MoverResult.model_validate_json((near / "report").read_text())
        assert failed.error is not None
        assert failed.error.type == "SourceUnavailable"
        done = process.run(mover_job(far, near), cwd=ROOT)
    result = MoverResult.model_validate_json((near / "report").read_text())
    assert result.ok
    assert result.resumed_bytes >= 4 * MIB
    assert json.loads(done.out.splitlines()[-1])["phase"] == "done"
    assert (near / "disk.img").read_bytes() == far.disk.read_bytes()
    assert not (near / "state" / ".kubeferry-ssh").exists()


def copied(near: Path) -> int:
    try:
        return MoverProgress.model_validate_json((near / "state/progress.json").read_text()).done_bytes
    except FileNotFoundError:
        return 0


def test_nothing_outlives_a_mover_that_is_killed(far: Hypervisor, near: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    with far.serving():
        argv = mover_job(far, near, bandwidth_bytes_per_second=3 * MIB)
        with process.child(argv, log=near / "log", env=environment) as mover:
            await_true(lambda: copied(near) >= MIB, mover)
            assert clients(far.folder)
            os.kill(mover.pid, signal.SIGKILL)
        await_true(lambda: not clients(far.folder))
        assert process.run(mover_job(far, near), cwd=ROOT).code == 0
    assert (near / "disk.img").read_bytes() == far.disk.read_bytes()


NAMELESS = 54321
with_the_library = pytest.mark.skipif(
    not CI and not [*Path("/usr/lib").glob(f"*/{ssh_client.NAMES}")], reason="missing: libnss-wrapper"
)
UNPRIVILEGED = """
import encodings.ascii, encodings.idna, os, sys
import converters.endpoints.file, converters.endpoints.nbd.ssh, converters.mover.job, kubeferry.documents
from converters.mover.__main__ import main
from kubeferry.outside import ssh_client
ssh_client.NAMES = {names!r}
os.setgroups([]); os.setgid({group}); os.setuid({user})
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("uid", "names", "reads"),
    [
        pytest.param(pwd.getpwnam("nobody").pw_uid, "", True, id="nobody"),
        pytest.param(NAMELESS, ssh_client.NAMES, True, id="a uid without a name", marks=with_the_library),
        pytest.param(NAMELESS, "no-such.so", False, id="a uid without a name, in an image that gives none"),
    ],
)
def test_a_user_without_a_home_reads_with_the_groups_right_to_the_key(
    far: Hypervisor, near: Path, uid: int, names: str, reads: bool
) -> None:
    """As in a pod: the key is root's, readable by the group; a uid without a name, as a cluster chooses one, gets one
    for OpenSSH, or is told to be the image's fault."""
    group = pwd.getpwnam("nobody").pw_gid
    os.chown(far.key, 0, group)
    far.key.chmod(0o440)
    for folder in (near, *list(near.parents)[:4], far.folder):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    os.chown(near, uid, group)
    with far.serving():
        arguments = mover_job(far, near)[3:]
        (near / "job.json").chmod(0o644)
        script = UNPRIVILEGED.format(user=uid, group=group, names=names)
        done = process.run([sys.executable, "-c", script, *arguments], cwd=ROOT, check=False)
    assert (near / "report").exists(), done.err
    result = MoverResult.model_validate_json((near / "report").read_text())
    if reads:
        assert (done.code, result.ok) == (0, True), done.err
        assert (near / "disk.img").stat().st_uid == uid
        assert (near / "disk.img").read_bytes() == far.disk.read_bytes()
    else:
        assert result.error is not None
        assert (done.code, result.error.type) == (2, "SourceRefused")
        assert "/etc/passwd" in result.error.fix
