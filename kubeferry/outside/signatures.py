"""Signatures by OpenSSH: ssh-keygen makes and verifies them (`-Y sign`, `-Y verify`), so keys in an agent and on a
token work as they do elsewhere. A passphrase is asked for by ssh-keygen at the terminal: no key and no passphrase
passes through here.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.outside import process

KEYGEN = "ssh-keygen"
SIGN_SECONDS = 300.0  # a person looks for a token, and touches it
VERIFY_SECONDS = 30.0


def sign(text: str, key: Path, namespace: str) -> str:
    """The signature of a text, in OpenSSH's armour. `key` is a private key, or a public one whose private half an agent
    has. Raises InputInvalid where ssh-keygen does not sign with it, ToolMissing without ssh-keygen."""
    process.require(KEYGEN)
    argv = [KEYGEN, "-Y", "sign", "-n", namespace, "-f", str(key)]
    done = process.run(argv, check=False, stdin=text, timeout=SIGN_SECONDS)
    if done.code or not done.out.strip():
        fix = "Name a private key that you may read, or the .pub file of one that `ssh-add -l` lists."
        raise InputInvalid("nothing was signed", [Problem(f"--key {key}", _said(done.err), fix)])
    return done.out


@functools.lru_cache(maxsize=1024)
def wrong_with(text: str, signature: str, namespace: str, signer: str, allowed: str) -> str:
    """What is wrong with a signature, in ssh-keygen's words; empty for one that `signer` has made of this very text for
    this namespace, with a key that the list (ALLOWED SIGNERS, ssh-keygen(1)) gives him. Asked twice, answered once.

    Raises ToolMissing without ssh-keygen.
    """
    process.require(KEYGEN)
    with tempfile.TemporaryDirectory(prefix="kubeferry-signature-") as folder:
        listed, armour = Path(folder, "allowed"), Path(folder, "signature")
        listed.write_text(allowed)
        armour.write_text(signature)
        argv = [KEYGEN, "-Y", "verify", "-n", namespace, "-I", signer, "-f", str(listed), "-s", str(armour)]
        done = process.run(argv, check=False, stdin=text, timeout=VERIFY_SECONDS, env={"LC_ALL": "C"})
    return _said(done.err or done.out) if done.code else ""


def _said(text: str) -> str:
    lines = [line.strip().rstrip(".") for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines[-3:])) or f"{KEYGEN} says nothing"
