"""A hypervisor that is another host than this one: its files, and programs there, through OpenSSH.

Nothing of ours is installed there. Every call is one command, over one connection that is kept for a while; an argument
is always one argument, whatever signs it has. The account must have root's rights: to read the images, and to make
folders and start qemu-nbd where sockets are.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kubeferry.documents import SshAccess
from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.outside import process, ssh_client
from kubeferry.outside.process import Completed

RUN_SECONDS = 60
KEEP_SECONDS = 30
SSH_FAILED = 255
REFUSED = ("Host key verification failed", "no matching host key type", ": Permission denied (", "error in libcrypto")
READ = """\
{ [ -f "$1" ] || [ -b "$1" ]; } || { echo "neither a file nor a block device" >&2; exit 3; }
dd if="$1" bs=64k iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none | base64 -w0
"""
# $1 the file, $2 the length of each piece, the rest where they begin
PIECES = """\
{ [ -f "$1" ] || [ -b "$1" ]; } || { echo "neither a file nor a block device" >&2; exit 3; }
file=$1 length=$2
shift 2
for place in "$@"; do
    dd if="$file" bs=64k iflag=skip_bytes,count_bytes skip="$place" count="$length" status=none | base64 -w0
    echo
done
"""
SIZE = """\
if [ -b "$1" ]; then blockdev --getsize64 "$1"; else stat -L -c %s -- "$1"; fi
"""
LOOK = """\
[ -e "$1" ] || { echo "No such file or directory"; exit 0; }
{ [ -f "$1" ] || [ -b "$1" ]; } || { echo "it is neither a file nor a block device"; exit 0; }
[ -r "$1" ] || echo "it may not be read"
"""


class FarHost:
    """The host that `access` leads to. All methods raise SourceUnavailable where there is no way to it, SourceRefused
    without a private key."""

    def __init__(self, access: SshAccess) -> None:
        self.access = access
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def run(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """Run a program there, whatever its end; `stdin` may be secret."""
        process.require("ssh")
        key = ssh_client.private_key()
        if key is None:
            fix = f"Name the private key of {self.access.user}@{self.access.host} in {ssh_client.KEY}."
            raise SourceRefused("there is no private key for the hypervisor", fix=fix)
        if self._folder is None:
            made = tempfile.TemporaryDirectory(prefix="kubeferry-host-")
            ssh_client.furnish(Path(made.name), key, self.access.host_key)
            self._folder = made
        done = self._ssh([], [shlex.join(argv)], stdin)
        if done.code == SSH_FAILED:
            refused = any(sign in done.err for sign in REFUSED)
            raise (SourceRefused if refused else SourceUnavailable)(
                f"there is no way to the hypervisor {self.access.host}:{self.access.port} by SSH",
                why=" ".join(done.err.split()),
                fix="Check ssh.host, ssh.user and ssh.hostKey of the source, and the account's authorized_keys there.",
            )
        return done

    def close(self) -> None:
        """Let the connection go."""
        if self._folder is not None:
            if (Path(self._folder.name) / "control").exists():
                self._ssh(["-O", "exit"], [])
            self._folder.cleanup()
            self._folder = None

    def _ssh(self, options: list[str], words: list[str], stdin: str | None = None) -> Completed:
        access, folder = self.access, Path(self._folder.name if self._folder else ".")
        place = (access.host, access.port, access.user, access.host_key)
        argv = [*ssh_client.command(*place, *options, keep_seconds=KEEP_SECONDS), *words]
        return process.run(argv, check=False, timeout=RUN_SECONDS, cwd=folder, stdin=stdin)

    def script(self, text: str, *arguments: str, stdin: str | None = None) -> Completed:
        """Run a shell script there; its arguments are `$1` and so on."""
        return self.run(["sh", "-c", text, "kubeferry", *arguments], stdin=stdin)

    def must(self, text: str, *arguments: str) -> str:
        """What a script prints there. Raises SourceRefused with what it said where it fails."""
        done = self.script(text, *arguments)
        if done.code:
            fix = f"The account {self.access.user} needs root's rights there; see docs/operations.md."
            why = done.err.strip() or f"it ended with exit code {done.code}"
            raise SourceRefused(f"the hypervisor {self.access.host} refuses", why=why, fix=fix)
        return done.out

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Bytes of a file or device there, fewer at its end."""
        return self._bytes(path, self.must(READ, str(path), str(offset), str(length)))[:length]

    def pieces(self, path: Path, places: Sequence[int], length: int) -> list[bytes]:
        """Bytes of a file or device there, so many at each of these places, fewer at its end; in one call."""
        said = self.must(PIECES, str(path), str(length), *map(str, places)).splitlines()
        if len(said) != len(places):
            raise self._cut_off(path)
        return [self._bytes(path, one)[:length] for one in said]

    def size(self, path: Path) -> int:
        """The length of a file or device there."""
        said = self.must(SIZE, str(path)).strip()
        if not said.isdecimal():
            raise self._cut_off(path)
        return int(said)

    def _bytes(self, path: Path, said: str) -> bytes:
        with contextlib.suppress(binascii.Error):
            return base64.b64decode(said, validate=True)
        raise self._cut_off(path)

    def _cut_off(self, path: Path) -> SourceUnavailable:
        return SourceUnavailable(f"{path} cannot be read on {self.access.host}", why="the answer is cut off")

    def trouble(self, path: Path) -> str | None:
        """Why an image there cannot be read, None if it can."""
        return self.must(LOOK, str(path)).strip() or None
