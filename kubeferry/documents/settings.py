"""Config: which sources, which target, where the journal is, how much at once."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kubeferry.documents.base import Document, EnvName, ShortName
from kubeferry.model import Value


class SourceConfig(Value):
    """One place that machines come from. `uri` carries no password; credentials follow each ecosystem's own rules."""

    kind: Literal["libvirt", "memory"]
    uri: str = "qemu:///system"


class TargetConfig(Value):
    """Where machines go. `path` is the folder of the directory target."""

    kind: Literal["directory", "memory"]
    path: str = ""


class JournalConfig(Value):
    """`url` is an SQLAlchemy URL without a password; `password_env` names the variable that holds it."""

    url: str = "sqlite:///kubeferry.db"
    password_env: EnvName | None = None


class Limits(Value):
    concurrent_machines: Annotated[int, Field(ge=1, le=64)] = 2
    bandwidth_bytes_per_second: Annotated[int, Field(ge=1)] | None = None


class Config(Document):
    KIND: ClassVar[str] = "Config"

    kind: Literal["Config"] = "Config"
    sources: dict[ShortName, SourceConfig]
    target: TargetConfig
    journal: JournalConfig = JournalConfig()
    limits: Limits = Limits()
