"""Probes: what is asked of a machine that was started at the target."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kubeferry.model import Value


class Probe(Value):
    """One question to the started target.

    agent: the guest agent answers. http: GET `path` on guest port `port` answers `status` (200) and holds `expect`; no
    redirect is followed. `tls` asks inside TLS: `unchecked` takes any certificate, `checked` one for `host` that this
    host trusts; `host` is also the name that is asked for. tcp: the guest takes a connection on `port`, and what it
    says first holds `expect` (an SSH server says `SSH-2.0`). file: the file `path`, read through the agent, holds
    `expect`. counter: the number in the file `path` is exactly one higher than at the source's last words. serial:
    `expect` appears on the serial console.

    screen: the picture stays as it is for `still_seconds` (20), and is no firmware, boot loader, panic or empty screen:
    text asks for a login or holds `expect`, anything else is a picture. packets: a network card of the guest has sent
    what a system sends, ARP or IPv4; a folder as the target sees that, a cluster does not tell.
    """

    kind: Literal["agent", "http", "tcp", "file", "counter", "serial", "screen", "packets"]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    path: str | None = None
    expect: str | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    tls: Literal["unchecked", "checked"] | None = None
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,253}$")] | None = None
    still_seconds: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 120

    @model_validator(mode="after")
    def _complete(self) -> Probe:
        needs = {"http": ("port",), "tcp": ("port",), "file": ("path",), "counter": ("path",), "serial": ("expect",)}
        needed = (*needs.get(self.kind, ()), *(("host",) if self.tls == "checked" else ()))
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a probe of kind {self.kind} needs {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _fitting(self) -> Probe:
        only = {"status": "http", "tls": "http", "host": "http", "still_seconds": "screen"}
        if foreign := [name for name, kind in only.items() if getattr(self, name) is not None and kind != self.kind]:
            raise ValueError(f"a probe of kind {self.kind} has no {', '.join(foreign)}")
        if self.kind == "screen" and self.still >= self.timeout_seconds:
            raise ValueError(f"the picture is to stay for {self.still:g} s, and the probe ends after no more than that")
        return self

    @property
    def still(self) -> float:
        """For how many seconds a picture must stay: longer than boot loaders commonly wait in their menus."""
        return 20.0 if self.still_seconds is None else self.still_seconds
