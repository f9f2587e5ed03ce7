"""`python -m bench.network`: disks that a server gives or takes, ours and nbdcopy, side by side as ratios.

The server is qemu-nbd, on a unix socket, behind an sshd on loopback, and with TLS. Both ends and what lies between
share this machine's processors: a tunnel's two ends take two of them. A row's ratio is its time by that of the row that
it is measured against; how programs are run and counted says `side_by_side`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import random
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).parent.parent))
from bench import disk
from bench.side_by_side import ROOT, Run, in_turn, job, ratios, spread, timed
from flows.serving.ports import free_port
from kubeferry.outside.process import child, run
from kubeferry.outside.ssh_client import KEY
from kubeferry.uris import NbdSsh, NbdTls

PART = 1 << 20
OLD = "chacha20-poly1305@openssh.com"  # what OpenSSH takes where nobody names a cipher
NEW_KEY = ("-newkey", "rsa:2048", "-nodes")
SSHD = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


@dataclass(frozen=True)
class Row:
    """One program, the row that its time is divided by, and its server; `target` is the one that takes the disk."""

    name: str
    command: Sequence[str]
    against: str
    server: str = "source"


class Authority:
    """Signs for both ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def signed(self) -> Path:
        place = self.folder
        made = ["-keyout", str(place / "ca-key.pem"), "-out", str(place / "ca-cert.pem")]
        run(["openssl", "req", "-x509", "-days", "2", *NEW_KEY, *made, "-subj", "/CN=bench"])
        (place / "extra").write_text("subjectAltName=IP:127.0.0.1\n")
        for who in ("server", "client"):
            asked = ["-keyout", str(place / f"{who}-key.pem"), "-out", str(place / "request.pem")]
            run(["openssl", "req", *NEW_KEY, *asked, "-subj", f"/CN={who}"])
            by = ["-CA", str(place / "ca-cert.pem"), "-CAkey", str(place / "ca-key.pem"), "-CAcreateserial"]
            out = ["-out", str(place / f"{who}-cert.pem"), "-extfile", str(place / "extra"), "-days", "2"]
            run(["openssl", "x509", "-req", "-in", str(place / "request.pem"), *by, *out])
        return place


class Bench:
    """The servers of one disk, and what is copied from and to them."""

    def __init__(self, folder: Path, source: Path, opened: contextlib.ExitStack) -> None:
        self.folder, self.source, self.opened = folder, source, opened
        self.target = folder / "target"
        self.size = source.stat().st_size
        self.pids: dict[str, int] = {}

    # --- servers ---

    def server(self, name: str, path: Path, *words: str) -> Path:
        socket = self.folder / f"{name}.sock"
        argv = ["qemu-nbd", "--persistent", "--shared=0", "--format=raw", *words]
        started = self.opened.enter_context(child([*argv, str(path)], log=self.folder / f"{name}.log"))
        self.pids[name] = started.pid
        return socket

    def ssh(self, socket: Path) -> NbdSsh:
        """The account behind an sshd; the private key is in the environment."""
        port = free_port()
        for name in ("key", "host_key"):
            (self.folder / name).unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.folder / name)])
        (self.folder / "sshd_config").write_text(SSHD.format(port=port, folder=self.folder))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "sshd"
        argv = [sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.opened.enter_context(child(argv, log=self.folder / "sshd.log"))
        os.environ[KEY] = str(self.folder / "key")
        pin = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        return NbdSsh(pwd.getpwuid(os.geteuid()).pw_name, "127.0.0.1", port, str(socket), pin)

    def tunnel(self, place: NbdSsh, cipher: str) -> Path:
        """One connection of OpenSSH's client, for programs that have none of their own."""
        near = self.folder / f"near-{cipher.partition('-')[0]}.sock"
        near.unlink(missing_ok=True)
        options = ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", f"-oCiphers={cipher}"]
        argv = ["ssh", "-q", "-F", "none", "-N", "-L", f"{near}:{place.socket}", *options, "-i", os.environ[KEY]]
        argv += ["-p", str(place.port), f"{place.user}@{place.host}"]
        self.opened.enter_context(child(argv, log=self.folder / "tunnel.log"))
        return near

    def certificates(self) -> Path:
        """A folder for both ends, as QEMU's programs have theirs."""
        return Authority(self.folder / "pki").signed()

    # --- programs ---

    def job(self, name: str, source: str, target: str) -> list[str]:
        return job(self.folder, name, self.source, source={"uri": source}, target={"uri": target})

    def rows(self) -> list[Row]:
        source = self.server("source", self.source, "--read-only", f"--socket={self.folder / 'source.sock'}")
        target = self.folder / "target.sock"
        place = self.ssh(source)
        time.sleep(1)
        old, fast = self.tunnel(place, OLD), self.tunnel(place, "aes128-gcm@openssh.com")
        port, pki = free_port(), self.certificates()
        tls = [f"--object=tls-creds-x509,id=tls,endpoint=server,dir={pki},verify-peer=yes", "--tls-creds=tls"]
        self.server("tls", self.source, "--read-only", "--bind=127.0.0.1", f"--port={port}", *tls)
        time.sleep(1)
        here, there = self.target.as_uri(), f"nbd+unix:///?socket={target}"
        behind = NbdTls("127.0.0.1", port, certificates=str(pki)).uri()
        near = "nbd+unix:///?socket="
        one = replace(place, connections=1)
        stream = "ours, SSH, one connection, its first cipher"
        return [
            Row("ours, from a socket", self.job("read", f"{near}{source}", here), "nbdcopy, from a socket"),
            Row("nbdcopy, from a socket", self.nbdcopy(f"{near}{source}"), ""),
            Row("ours, to a socket", self.job("write", self.source.as_uri(), there), "nbdcopy, to a socket", "target"),
            Row("nbdcopy, to a socket", ["nbdcopy", "--flush", str(self.source), there], "", "target"),
            Row("ours, SSH", self.job("ssh", place.uri(), here), stream),
            Row("ours, SSH, one connection", self.job("ssh-one", one.uri(), here), stream),
            Row(stream, self.job("ssh-old", replace(one, ciphers=OLD).uri(), here), ""),
            Row("nbdcopy, SSH, one connection, its first cipher", self.nbdcopy(f"{near}{old}"), stream),
            Row("nbdcopy, SSH, one connection, AES", self.nbdcopy(f"{near}{fast}"), stream),
            Row("ours, SSH, compressed", self.job("ssh-z", replace(place, compression=True).uri(), here), stream),
            Row("ours, TLS", self.job("tls", behind, here), "nbdcopy, TLS", "tls"),
            Row("nbdcopy, TLS", self.nbdcopy(behind), "", "tls"),
        ]

    def nbdcopy(self, source: str) -> list[str]:
        return ["nbdcopy", "--destination-is-zero", source, str(self.target)]

    def run(self, row: Row) -> Run:
        """Until the target is durable; the time of the server's processor for it besides."""
        self.target.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        with self.target.open("wb") as file:
            file.truncate(self.size)
        with contextlib.ExitStack() as opened:
            pid = self.pids.get(row.server, 0)
            if row.server == "target":
                place = f"--socket={self.folder / 'target.sock'}"
                argv = ["qemu-nbd", "--persistent", "--shared=0", "--format=raw", "--discard=unmap", place]
                pid = opened.enter_context(child([*argv, str(self.target)], log=self.folder / "written.log")).pid
                time.sleep(0.5)
            disk.warm(self.source)
            os.sync()
            before = _cpu(pid)
            found = timed(row.name, row.command, self.target)
            return replace(found, server=_cpu(pid) - before)


def _cpu(pid: int) -> float:
    """Seconds of a processor that a program has taken."""
    taken = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, taken)) / os.sysconf("SC_CLK_TCK")


def full(folder: Path, size: int) -> Path:
    """A disk without a hole, made unless it is there."""
    path, chance = folder / f"full-{size >> 20}.raw", random.Random(disk.SEED)  # noqa: S311 (the same each time)
    if not path.exists():
        with path.with_suffix(".new").open("wb") as file:
            for _ in range(size // PART):
                file.write(chance.randbytes(PART))
        path.with_suffix(".new").replace(path)
    return path


def table(bench: Bench, rounds: int, only: str) -> Iterator[str]:
    rows = [row for row in bench.rows() if only in row.name]
    found = dict(zip([row.name for row in rows], in_turn(rows, rounds, bench.run), strict=True))
    yield "| program | seconds, median (min - max) | its time / that of | median (min - max) | CPU s | its server's |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        runs = found[row.name]
        clock = spread([one.seconds for one in runs])
        cpu, server = (statistics.median(of) for of in ([one.cpu for one in runs], [one.server for one in runs]))
        ratio = spread(ratios(runs, found[row.against])) if row.against in found else ""
        yield f"| {row.name} | {clock} | {row.against} | {ratio} | {cpu:.2f} | {server:.2f} |"


def text(
    folder: Path, sizes: Sequence[int], rounds: int, only: str = "", kinds: Sequence[str] = ("sparse", "full")
) -> str:
    """The tables of disks with holes and without, of each size."""
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    for size in sizes:
        for kind in kinds:
            data = int(size * disk.SHARE_OF_DATA)
            source = full(folder, size) if kind == "full" else disk.make(folder, size, data)[0]
            with contextlib.ExitStack() as opened:
                bench = Bench(folder, source, opened)
                load = os.getloadavg()[0]
                lines = table(bench, rounds, only)
                held = source.stat().st_blocks * 512 >> 20
                title = f"{size >> 20} MiB {kind} ({held} MiB of data), {rounds} rounds, load {load:.1f} at the start"
                told.append("\n".join((f"{title}:\n", *lines)))
    (folder / "target").unlink(missing_ok=True)
    return "\n\n".join(told)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.network", description=__doc__)
    options.add_argument("--sizes-mib", type=int, nargs="+", default=[1024, 4096])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--kinds", choices=["sparse", "full"], nargs="+", default=["sparse", "full"])
    options.add_argument("--only", default="", help="rows whose names hold this")
    options.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="where the disks are made")
    asked = options.parse_args()
    sizes = [size << 20 for size in asked.sizes_mib]
    print(text(asked.folder.absolute(), sizes, asked.rounds, asked.only, asked.kinds))


if __name__ == "__main__":
    main()
