"""What every value is made of, and the reference to bytes: all that the data plane knows of the model.

It stands apart because a mover starts in less time than Python needs to make the rest of the model.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

API_VERSION: Literal["kubeferry.io/v1alpha1"] = "kubeferry.io/v1alpha1"


class Value(BaseModel):
    """Base of all values: frozen, no unknown fields, `camelCase` in files and `snake_case` in code."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Document(Value):
    """A file of its own: `apiVersion` and `kind` stand first."""

    KIND: ClassVar[str]

    api_version: Literal["kubeferry.io/v1alpha1"] = API_VERSION


class DiskRef(Value):
    """Where bytes are: a URI, a format, a size. Sources and targets hand these over; only converters open them.

    `backing` is the next image down the chain; None means that there is none, whatever the image's header says.
    `credential` names what opens it, never the thing itself: in a cluster, a Secret of the mover's namespace.
    `changed` names the bytes that may differ from the round before, in the words of the URI's scheme: an NBD metadata
    context, an older snapshot, a set of byte ranges as HTTP has them. None: all of them may.
    """

    uri: str
    format: str = "raw"
    size_bytes: Bytes | None = None
    backing: DiskRef | None = None
    credential: str | None = None
    changed: str | None = None
