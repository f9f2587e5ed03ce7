"""Who logs in to which vCenter or ESXi host, and whom to trust: the configuration and govc's environment. Pure.

    GOVC_URL  GOVC_USERNAME  GOVC_PASSWORD  GOVC_INSECURE  GOVC_TLS_CA_CERTS  GOVC_TLS_KNOWN_HOSTS  GOVC_DATACENTER

Another `prefix` than GOVC serves a second vCenter. What the configuration says counts before the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from kubeferry.documents import SourceConfig
from kubeferry.errors import InputInvalid, Problem

TRUE = {"1", "true", "t", "yes", "on"}
SUFFIXES = ("USERNAME", "PASSWORD")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Access:
    """One server and a login. `ca_files` and `known` (HOST:PORT -> digest) say whom to trust; without both, the
    system's authorities. A digest is SHA-1 or SHA-256 of the certificate, in small hexadecimal digits."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    insecure: bool = False
    ca_files: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    datacenter: str | None = None

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    def pinned(self, host: str, port: int) -> str | None:
        """The digest that a host's certificate must have, None where authorities decide."""
        return self.known.get(f"{host}:{port}") or self.known.get(host)


def read_access(name: str, config: SourceConfig, environ: Mapping[str, str], files: Mapping[str, str]) -> Access:
    """The access of the source `name`. `files` holds the content of the known-hosts files by path.

    Raises InputInvalid with everything that is missing or wrong; no password stands in it.
    """
    prefix, settings = config.vmware.prefix, config.vmware
    problems: list[Problem] = []
    told = config.uri if not config.uri.startswith("qemu:") else environ.get(f"{prefix}_URL", "")
    parts = urlsplit(told if "//" in told else f"//{told}")
    host, port = parts.hostname or "", 443
    try:
        port = parts.port or 443
    except ValueError:
        host = ""
    if not host or parts.scheme not in {"", "https"}:
        fix = f"Write https://HOST/sdk as the source's uri, or set {prefix}_URL."
        what = "it names no https server" if told else f"it is not set, nor is {prefix}_URL"
        problems.append(Problem(f"sources.{name}.uri", what, fix))
    if parts.password and told == config.uri:
        fix = f"Take it out of the uri and set {prefix}_PASSWORD."
        problems.append(Problem(f"sources.{name}.uri", "it carries a password", fix))
    user = environ.get(f"{prefix}_USERNAME") or unquote(parts.username or "")
    password = environ.get(f"{prefix}_PASSWORD") or unquote(parts.password or "")
    for value, suffix in ((user, "USERNAME"), (password, "PASSWORD")):
        if not value:
            problems.append(
                Problem(f"{prefix}_{suffix}", "it is not set", f"Set {prefix}_{suffix} in the environment.")
            )
    known: dict[str, str] = {}
    for path, text in files.items():
        known |= known_hosts(path, text, problems)
    if settings.thumbprint:
        digest = digest_of(settings.thumbprint)
        if digest is None:
            fix = "Give SHA-256 or SHA-1 of the certificate in hexadecimal digits, with or without colons."
            problems.append(Problem(f"sources.{name}.vmware.thumbprint", "it is no digest", fix))
        else:
            known[f"{host}:{port}"] = digest
    if problems:
        raise InputInvalid(f"the source {name} cannot be reached", problems)
    authorities = settings.ca_file or environ.get(f"{prefix}_TLS_CA_CERTS", "")
    return Access(
        host=host,
        port=port,
        user=user,
        password=password,
        insecure=environ.get(f"{prefix}_INSECURE", "").lower() in TRUE,
        ca_files=tuple(path for path in authorities.split(":") if path),
        known=known,
        datacenter=settings.datacenter or environ.get(f"{prefix}_DATACENTER") or None,
    )


def known_files(config: SourceConfig, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The paths of the known-hosts files."""
    told = environ.get(f"{config.vmware.prefix}_TLS_KNOWN_HOSTS", "")
    return tuple(path for path in told.split(":") if path)


def known_hosts(path: str, text: str, problems: list[Problem]) -> dict[str, str]:
    """`HOST[:PORT] THUMBPRINT` lines, as `govc about.cert -k -thumbprint` prints them."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        digest = digest_of(words[1]) if len(words) == 2 else None
        if digest is None:
            fix = "Write a host and the thumbprint of its certificate, as `govc about.cert -k -thumbprint` does."
            problems.append(Problem(f"{path}:{number}", "it is no host with a thumbprint", fix))
            continue
        found[words[0]] = digest
    return found


def digest_of(thumbprint: str) -> str | None:
    """A thumbprint in small digits without colons, None for what is none."""
    digest = thumbprint.strip().lower().removeprefix("sha256:").removeprefix("sha1:").replace(":", "")
    return digest if _DIGEST.fullmatch(digest) else None
