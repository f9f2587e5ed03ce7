"""What every value of the model and of the documents is made of: a pydantic model that is frozen and strict."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from kubeferry.values import API_VERSION


class Value(BaseModel):
    """Base of all values: frozen, no unknown fields, `camelCase` in files and `snake_case` in code."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Document(Value):
    """A file of its own: `apiVersion` and `kind` stand first."""

    KIND: ClassVar[str]

    api_version: Literal["kubeferry.io/v1alpha1"] = API_VERSION
