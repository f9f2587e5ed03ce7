"""A certificate authority of a test's own, and the folders of certificates that QEMU's programs and ours take."""

from __future__ import annotations

from pathlib import Path

from kubeferry.outside.process import run

SERVER, CLIENT = "server", "client"


class Authority:
    """Signs for servers of this host, and for those who ask them."""

    def __init__(self, folder: Path, name: str = "kubeferry tests") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate, self._key = folder / "ca-cert.pem", folder / "ca-key.pem"
        made = ["-keyout", str(self._key), "-out", str(self.certificate)]
        run(["openssl", "req", "-x509", "-days", "2", *KEY, *made, "-subj", f"/CN={name}"])

    def signed(self, who: str, *, names: str = "DNS:localhost,IP:127.0.0.1", days: int = 2) -> Path:
        """A folder with the authority's certificate, and one of its own for `who` (server or client)."""
        folder = self.trusting(f"{who}-of-{self.folder.name}")
        asked, extra = folder / "request.pem", folder / "extra"
        extra.write_text(f"subjectAltName={names}\n")
        run(["openssl", "req", *KEY, "-keyout", str(folder / f"{who}-key.pem"), "-out", str(asked), "-subj", "/CN=a"])
        authority = ["-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial"]
        out = ["-out", str(folder / f"{who}-cert.pem"), "-extfile", str(extra), "-days", str(days)]
        run(["openssl", "x509", "-req", "-in", str(asked), *authority, *out])
        return folder

    def trusting(self, name: str = "only") -> Path:
        """A folder of one who trusts this authority, and is nobody."""
        folder = self.folder.parent / name
        folder.mkdir()
        (folder / "ca-cert.pem").write_bytes(self.certificate.read_bytes())
        return folder


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
