"""Disks of a hypervisor that is another host, served read-only by qemu-nbd there: one a disk, on a unix socket.

The same places and the same confinement as `exports` has on its own host; what is served is known again by its words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kubeferry.errors import SourceRefused
from kubeferry.images import whole
from kubeferry.images.network import Logins
from kubeferry.images.nodes import SERVER_ENV, check
from kubeferry.ledger import EXPORT, External, Ledger
from kubeferry.model import DiskRef, Machine
from kubeferry.outside import stopping
from kubeferry.sources.disks import exports
from kubeferry.sources.disks.exports import NOBODY, Export, Serving, digest, serving_of
from kubeferry.sources.libvirt.far_host import FarHost

# $1 base, $2 the machine's folder, $3 name, $4 what is served, $5 whether a server has it, $6… qemu-nbd's own words; a
# secret that it wants is on standard input
OPEN = """\
set -eu
umask 077
base=$1 folder=$2 name=$3 served=$4 network=$5
shift 5
pid=$(cat "$folder/$name.pid" 2>/dev/null || echo none)
if [ "$(cat "$folder/$name.json" 2>/dev/null || :)" = "$served" ] && [ -S "$folder/$name.sock" ] &&
    [ -d "/proc/$pid" ] && tr '\\0' ' ' <"/proc/$pid/cmdline" | grep -q '^qemu-nbd '; then
    exit 0
fi
mkdir -p "$base" && chmod 755 "$base"
mkdir -p "$folder"
rm -f "$folder/$name.sock"
set -- setpriv --no-new-privs --bounding-set=-all,+dac_read_search --inh-caps=-all -- \\
    qemu-nbd --fork --pid-file="$folder/$name.pid" --socket="$folder/$name.sock" \\
    --read-only --persistent --shared=0 "$@"
[ "$network" = yes ] || set -- unshare --net -- "$@"
"$@" >/dev/null 2>"$folder/$name.log" || { cat "$folder/$name.log" >&2; exit 1; }
printf %s "$served" >"$folder/$name.json"
"""
ENVIRONMENT = "".join(f"export {name}={value}\n" for name, value in SERVER_ENV.items())
# $1 the machine's folder
CLOSE = """\
[ -d "$1" ] || exit 0
for pidfile in "$1"/*.pid; do
    [ -f "$pidfile" ] || continue
    pid=$(cat "$pidfile")
    if [ -d "/proc/$pid" ] && tr '\\0' ' ' <"/proc/$pid/cmdline" | grep -q '^qemu-nbd '; then
        kill "$pid"
        tries=0
        while [ -d "/proc/$pid" ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    fi
done
for served in "$1"/*.json; do
    [ -f "$served" ] && printf '%s\\n' "${served%.json}.sock"
done
rm -rf "$1"
rmdir "$(dirname "$1")" 2>/dev/null || :
"""


def open_all(
    host: FarHost, machine: Machine, refs: dict[str, DiskRef], ledger: Ledger, logins: Logins = NOBODY
) -> dict[str, DiskRef]:
    """Every disk is served; the references that lead to it from here and elsewhere. `logins` are those of disks that a
    server has.

    All headers and tables are checked before a first server is started. Raises HostileImage, SourceRefused,
    SourceUnavailable; what was started for this call is ended then.
    """
    for disk, ref in refs.items():
        if disk not in logins:
            check(ref, host.read)
            whole.check(ref, stopping.check, host)
    try:
        return {
            disk: _open(host, machine, disk, ref, serving_of(ref, logins.get(disk)), ledger)
            for disk, ref in refs.items()
        }
    except Exception:
        close_all(host, machine)
        raise


def close_all(host: FarHost, machine: Machine) -> list[str]:
    """Every export of the machine has ended, whoever made it; returns their sockets."""
    return host.must(CLOSE, str(_folder(host, machine))).splitlines()


@contextlib.contextmanager
def trial(host: FarHost, machine: Machine) -> Iterator[DiskRef]:
    """A disk of zeros, as `exports.trial` has it, on that host."""
    export = exports.trial_of(host.access, machine)
    try:
        _serve(host, machine, exports.TRIAL, export, Serving([exports.ZEROS]))
        place = host.access.place(str(export.socket))
        yield DiskRef(uri=place.uri(), size_bytes=exports.TRIAL_BYTES, credential=host.access.secret)
    finally:
        host.must(CLOSE, str(export.folder))


def _open(host: FarHost, machine: Machine, disk: str, ref: DiskRef, what: Serving, ledger: Ledger) -> DiskRef:
    export = Export(_folder(host, machine), digest(disk))
    ledger(External(EXPORT, f"{machine.name}/{disk}", str(export.socket)))
    _serve(host, machine, disk, export, what)
    place = host.access.place(str(export.socket))
    return DiskRef(uri=place.uri(), size_bytes=ref.size_bytes, credential=host.access.secret, changed=ref.changed)


def _serve(host: FarHost, machine: Machine, disk: str, export: Export, what: Serving) -> None:
    network = "yes" if what.network else "no"
    told = (host.access.folder, str(export.folder), export.name, " ".join(what.words), network, *what.words)
    done = host.script(ENVIRONMENT + OPEN, *told, stdin=what.stdin)
    if done.code:
        raise SourceRefused(
            "QEMU does not open the disk there",
            why=done.err.strip() or f"it ended with exit code {done.code}",
            fix="If it says that a lock cannot be had, something uses the disk: stop that machine first.",
            machine=machine.name,
            disk=disk,
        )


def _folder(host: FarHost, machine: Machine) -> Path:
    return Path(host.access.folder) / digest(f"{machine.source}/{machine.id}")
