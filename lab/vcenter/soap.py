"""The little of SOAP that the relay reads and writes by itself. Pure."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

_METHOD = re.compile(rb"<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)")
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<soapenv:Body>{}</soapenv:Body></soapenv:Envelope>"
)


def method_of(body: bytes) -> str:
    """The method that a request calls."""
    found = _METHOD.search(body)
    return found[1].decode() if found else ""


def field(body: bytes, name: str) -> str:
    """The text of the first element of this name."""
    found = re.search(rf"<(?:\w+:)?{name}[^>]*>([^<]*)<".encode(), body)
    return found[1].decode() if found else ""


def answer(method: str, inner: str = "") -> bytes:
    """What a method gives back."""
    return _ENVELOPE.format(f'<{method}Response xmlns="urn:vim25">{inner}</{method}Response>').encode()


def fault(name: str, text: str) -> bytes:
    """A fault of the API, by its name."""
    detail = f'<{name}Fault xmlns="urn:vim25" xsi:type="{name}"/>'
    inner = f"<faultcode>ServerFaultCode</faultcode><faultstring>{escape(text)}</faultstring><detail>{detail}</detail>"
    return _ENVELOPE.format(f"<soapenv:Fault>{inner}</soapenv:Fault>").encode()


def areas(start: int, length: int, changed: list[tuple[int, int]]) -> bytes:
    """The answer to QueryChangedDiskAreas."""
    told = "".join(
        f"<changedArea><start>{begin}</start><length>{count}</length></changedArea>" for begin, count in changed
    )
    inner = f"<returnval><startOffset>{start}</startOffset><length>{length}</length>{told}</returnval>"
    return answer("QueryChangedDiskAreas", inner)


def manifest(entries: list[tuple[str, str, int, int]]) -> bytes:
    """The answer to HttpNfcLeaseGetManifest: key, SHA-1, size and capacity of each disk that was streamed whole."""
    told = "".join(
        f"<returnval><key>{escape(key)}</key><sha1>{sha1}</sha1><size>{size}</size><disk>true</disk>"
        f"<capacity>{capacity}</capacity></returnval>"
        for key, sha1, size, capacity in entries
    )
    return answer("HttpNfcLeaseGetManifest", told)
