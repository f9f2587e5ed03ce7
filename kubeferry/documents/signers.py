"""Public keys of OpenSSH and the signatures made with them, as far as one reads them without OpenSSH: who is meant by a
key, its fingerprint, the list that ssh-keygen verifies with. Pure. Whether a signature is good says ssh-keygen alone
(`kubeferry.outside.signatures`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable

NAMESPACE = "kubeferry"
"""What signatures of ours are made for (ssh-keygen -n): one that was made for git, say, is none of ours."""

LONGEST = 16 * 1024  # characters of a key or a signature; RSA with 16384 bits has 3000

_KINDS = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}")
_MAGIC = b"SSHSIG"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def public_key(text: str) -> str:
    """`KIND BASE64` of a line such as OpenSSH's .pub files hold, without its comment. Raises ValueError."""
    words = text.split()
    if len(text) > LONGEST or len(text.splitlines()) > 1 or len(words) < 2 or words[0] not in _KINDS:
        raise ValueError(f"a public key is one line that begins with one of {', '.join(_KINDS)}")
    try:
        blob = base64.b64decode(words[1], validate=True)
        kind, _ = _string(blob)
    except (binascii.Error, ValueError):
        raise ValueError("the public key is not whole: take the line of its .pub file as it is") from None
    if kind.decode(errors="replace") != words[0]:
        raise ValueError(f"the public key says that it is {words[0]}, and holds another kind")
    return f"{words[0]} {base64.b64encode(blob).decode()}"  # one key has one text


def fingerprint(key: str) -> str:
    """As ssh-keygen prints it: `SHA256:…`."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def is_name(text: str) -> bool:
    """Whether a text can name a person in a list of signers: no pattern, nothing to put in quotes."""
    return _NAME.fullmatch(text) is not None


def key_of(signature: str) -> str:
    """The public key, `KIND BASE64`, that a signature in OpenSSH's armour says it was made with. That says nothing of
    whether it was. Raises ValueError where it is none."""
    text = signature.strip()
    if len(text) > LONGEST or not text.startswith(_BEGIN) or not text.endswith(_END):
        raise ValueError("it is no signature of `ssh-keygen -Y sign`")
    try:
        data = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
        blob, _ = _string(data[len(_MAGIC) + 4 :])  # after the version
        kind, _ = _string(blob)
    except (binascii.Error, ValueError):
        raise ValueError("the signature is not whole") from None
    if not data.startswith(_MAGIC):
        raise ValueError("it is a signature of another kind than `ssh-keygen -Y sign` makes")
    return f"{kind.decode(errors='replace')} {base64.b64encode(blob).decode()}"


def allowed(signers: Iterable[tuple[str, str]]) -> str:
    """The ALLOWED SIGNERS file (ssh-keygen(1)) for these names and keys: for our namespace, and no other."""
    return "".join(f'{name} namespaces="{NAMESPACE}" {key}\n' for name, key in signers)


def signers_in(text: str) -> list[tuple[str, str]]:
    """Name and key of each line of an ALLOWED SIGNERS file. Of several names of one key the first is the person's.
    Raises ValueError for what would say less than it seems to: patterns, certificates, validity in time."""
    return [_signer(line) for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]


def _signer(line: str) -> tuple[str, str]:
    name, _, rest = line.partition(" ")
    first = name.split(",")[0].strip('"')
    if not is_name(first):
        raise ValueError(f"{first!r} names nobody: one person a line, by a name without patterns")
    options, told = _options(rest.strip())
    key = public_key(told)
    for option in options:
        if option.lower() != f'namespaces="{NAMESPACE}"':
            raise ValueError(f"the option {option} of {first} is not understood: only namespaces={NAMESPACE!r} is")
    return first, key


def _options(text: str) -> tuple[list[str], str]:
    if text.split(" ", 1)[0] in _KINDS:
        return [], text
    told, _, key = text.partition(" ")
    return told.split(","), key.strip()


def _string(data: bytes) -> tuple[bytes, bytes]:
    """A string of SSH's wire format, and what follows it."""
    if len(data) < 4:
        raise ValueError
    (length,) = struct.unpack(">I", data[:4])
    if length > len(data) - 4:
        raise ValueError
    return data[4 : 4 + length], data[4 + length :]
