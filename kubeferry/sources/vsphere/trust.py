"""TLS to vSphere: a server is who an authority or a pinned thumbprint says, and nobody else is talked to.

The certificate that was accepted once is the only one that the connection takes (it is its own authority), and its
SHA-256 goes with every reference: a mover trusts exactly what was verified here, and needs no authorities of its own.
"""

from __future__ import annotations

import hashlib
import socket
import ssl

from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.sources.vsphere.access import Access

CONNECT_SECONDS = 15.0


def certificate(access: Access, host: str, port: int, *, thumbprint: str | None = None) -> bytes:
    """The server's certificate (DER), verified: by `thumbprint` where one is given, by the access's pin for the host,
    else by authorities; by nothing where the access is insecure. Raises SourceRefused, SourceUnavailable."""
    pinned = thumbprint or access.pinned(host, port)
    if pinned or access.insecure:
        found = _shown(host, port, _unverified())
        if pinned and not matches(found, pinned):
            raise _other(host, port, found, f"pinned is {pinned}")
        return found
    return _shown(host, port, authorities(access.ca_files))


def only(der: bytes) -> ssl.SSLContext:
    """A context that takes this certificate and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is known by its bytes, whatever it is called
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(der))
    return context


def authorities(files: tuple[str, ...]) -> ssl.SSLContext:
    """A context that asks the authorities of these files, or the system's. Raises SourceRefused for a bad file."""
    if not files:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for path in files:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            fix = "Give a file of certificates in PEM format."
            raise SourceRefused(f"{path} holds no certificates", why=_words(error), fix=fix) from error
    return context


def sha256(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def matches(der: bytes, digest: str) -> bool:
    """Whether a certificate has this SHA-1 or SHA-256."""
    kind = "sha1" if len(digest) == 40 else "sha256"
    return hashlib.new(kind, der).hexdigest() == digest


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what is shown is compared, or was declared to be of no concern
    return context


def _shown(host: str, port: int, context: ssl.SSLContext) -> bytes:
    try:
        with (
            socket.create_connection((host, port), CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            return tls.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError as error:
        shown = _shown(host, port, _unverified())
        raise _other(host, port, shown, error.verify_message) from error
    except OSError as error:
        fix = "Check the address and that its HTTPS port is reachable from here; then run the same again."
        raise SourceUnavailable(f"{host}:{port} does not answer", why=_words(error), fix=fix) from error


def _other(host: str, port: int, shown: bytes, why: str) -> KubeferryError:
    return SourceRefused(
        f"the certificate of {host}:{port} is not trusted",
        why=f"{why}; it shows SHA-256 {sha256(shown)}",
        fix="Give the CA's file (GOVC_TLS_CA_CERTS) or, if this digest is right, pin it as vmware.thumbprint.",
    )


def _words(error: OSError) -> str:
    return error.strerror or str(error)
