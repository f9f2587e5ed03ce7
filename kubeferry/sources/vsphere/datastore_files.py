"""Bytes of a machine that is off, by HTTPS: the flat file beside a disk's descriptor, below the server's `/folder`.

A flat file is the disk, byte by byte, only where nothing lies above it: no snapshot, no other format, and a datastore
that has files. Whether it is there and has the disk's size is asked before a reference is handed out.
"""

from __future__ import annotations

import base64
import http.client
from urllib.parse import quote, urlencode

from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.sources.vsphere import trust
from kubeferry.sources.vsphere.access import Access
from kubeferry.sources.vsphere.disks import FLAT, place_of
from kubeferry.sources.vsphere.plain import Plain

NO_FILES = {"vsan", "vsand", "vvol", "pmem"}
ANSWER_SECONDS = 60


def flat_path(device: Plain, store_type: str) -> tuple[str, str] | None:
    """Datastore and path of the file that holds the disk's bytes; None where there is no such file."""
    backing: Plain = device.get("backing", {})
    store, path = place_of(str(backing.get("fileName", "")))
    plain = backing.get("_type") == FLAT and not backing.get("parent") and not backing.get("keyId")
    if not plain or not path.endswith(".vmdk") or store_type.lower() in NO_FILES:
        return None
    return store, f"{path.removesuffix('.vmdk')}-flat.vmdk"


def described_path(device: Plain, store_type: str) -> tuple[str, str] | None:
    """Datastore and path of the small file that describes the disk; None where there are no files."""
    store, path = place_of(str(device.get("backing", {}).get("fileName", "")))
    return (store, path) if path.endswith(".vmdk") and store_type.lower() not in NO_FILES else None


def folder_url(access: Access, datacenter: str, store: str, path: str) -> str:
    """Where the server gives a file of a datastore."""
    query = urlencode({"dcPath": datacenter, "dsName": store}, quote_via=quote)
    host = f"[{access.host}]" if ":" in access.host else access.host
    return f"https://{host}:{access.port}/folder/{quote(path)}?{query}"


def file_size(access: Access, certificate: bytes, url: str) -> int | None:
    """The size of a file, None where there is none. Raises SourceRefused for a login that is not accepted,
    SourceUnavailable when the server does not answer."""
    login = base64.b64encode(f"{access.user}:{access.password}".encode()).decode()
    context = trust.only(certificate)
    connection = http.client.HTTPSConnection(access.host, access.port, context=context, timeout=ANSWER_SECONDS)
    try:
        path = url.split("/", 3)[3]
        connection.request("HEAD", f"/{path}", headers={"Authorization": f"Basic {login}"})
        answer = connection.getresponse()
        length = answer.getheader("Content-Length") or ""
    except (OSError, http.client.HTTPException) as error:
        fix = "Check that vSphere runs; then run the same again."
        raise SourceUnavailable(f"{access.where} does not answer", why=str(error)[:200], fix=fix) from error
    finally:
        connection.close()
    if answer.status in {401, 403}:
        fix = "Give its role the privilege Datastore.Browse (browse, and read files)."
        raise SourceRefused(f"{access.user} may not read files of datastores", why=f"status {answer.status}", fix=fix)
    if answer.status >= 500:
        raise SourceUnavailable(f"{access.where} fails", why=f"status {answer.status}", fix="Run the same again.")
    return int(length) if answer.status == 200 and length.isdigit() else None
