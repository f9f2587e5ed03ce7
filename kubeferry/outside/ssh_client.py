"""OpenSSH's client as we start it: one pinned host key, one private key, and nothing of a user's own SSH.

No configuration, no agent, no known hosts of anybody. It is started in a private folder that has `key` and
`known_hosts`. Pure, but for a look at the environment, at the processor, and at who we are.
"""

from __future__ import annotations

import functools
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

KEY = "KUBEFERRY_SSH_KEY"
"""The variable that names the private key's file."""
ALIAS = "kubeferry-source"
"""The name that the pinned key has for the client, whatever host and port are."""
CONNECT_SECONDS = 15
ALIVE_SECONDS, ALIVE_COUNT = 10, 3  # a host that went silent is given up after half a minute
# RSA keys sign with SHA-2; the key's own name stands for a signature that nobody takes any more.
SIGNATURES = {"ssh-rsa": "rsa-sha2-512,rsa-sha2-256"}
# OpenSSH ends where its user has no name, as a pod's where the cluster has chosen it. Nobody may write /etc/passwd
# there; this library, of Debian's libnss-wrapper, has it read ours. The loader leaves out a library that is not there.
NAMES = "libnss_wrapper.so"
WITH_A_NAME = ("NSS_WRAPPER_PASSWD=./passwd", "NSS_WRAPPER_GROUP=/etc/group")

# At the head of what the client knows, so that any server is still spoken with: with AES in the processor they cost
# less than OpenSSH's first choice (`python -m bench.network`), without it more.
FAST_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"


@dataclass(frozen=True, slots=True)
class Speed:
    """How the bytes go: `ciphers` in the client's words, None: the fastest that both have first; SSH's compression."""

    ciphers: str | None = None
    compression: bool = False

    def options(self) -> dict[str, str]:
        ciphers = self.ciphers or (FAST_CIPHERS if has_aes() else "")
        return {"Compression": "yes" if self.compression else "no"} | ({"Ciphers": ciphers} if ciphers else {})


@functools.cache
def has_aes() -> bool:
    """Whether this processor has instructions for AES."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return "aes" in words


def command(
    host: str,
    port: int,
    user: str,
    host_key: str,
    *more: str,
    keep_seconds: int = 0,
    speed: Speed = Speed(),
) -> list[str]:
    """The client, to be started in its private folder; `more` are options of one use. Words for the host may follow.
    With `keep_seconds` the connection is kept for that long after its last use, for others from the same folder."""
    kind = host_key.partition(" ")[0]
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": ALIAS,
        "HostKeyAlgorithms": SIGNATURES.get(kind, kind),
        "UserKnownHostsFile": "./known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "PasswordAuthentication": "no",
        "ControlMaster": "auto" if keep_seconds else "no",
        "ControlPath": "./control" if keep_seconds else "none",
        "ControlPersist": str(keep_seconds) if keep_seconds else "no",
        "ExitOnForwardFailure": "yes",
        "StreamLocalBindMask": "0177",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "ServerAliveInterval": str(ALIVE_SECONDS),
        "ServerAliveCountMax": str(ALIVE_COUNT),
        "LogLevel": "INFO",
        **speed.options(),
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    named = [] if has_name() else ["env", f"LD_PRELOAD={NAMES}", *WITH_A_NAME]
    return [*named, "ssh", "-F", "none", "-T", *words, *more, "-i", "./key", "-p", str(port), "-l", user, "--", host]


def private_key() -> Path | None:
    """The private key's file, None where it is not named or cannot be read."""
    named = os.environ.get(KEY, "")
    path = Path(named).absolute()
    return path if named and path.is_file() and os.access(path, os.R_OK) else None


def furnish(folder: Path, key: Path, host_key: str) -> None:
    """Put into a private folder what the client looks for there."""
    (folder / "known_hosts").write_text(f"{ALIAS} {host_key}\n", encoding="ascii")
    (folder / "key").symlink_to(key)
    if not has_name():
        (folder / "passwd").write_text(f"kubeferry:x:{os.getuid()}:{os.getgid()}::/tmp:/usr/sbin/nologin\n")


def has_name() -> bool:
    """Whether the system knows a name for our user."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
