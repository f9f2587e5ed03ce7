"""Plain values, and the reference to bytes: all that the data plane knows of the model.

A plain value is a frozen dataclass that pydantic reads like any other value of ours, once somebody asks for that. It
stands apart because a mover starts in less time than Python needs to import pydantic: its job is small, and read here
if there is no fault in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from pydantic import TypeAdapter

API_VERSION: Literal["kubeferry.io/v1alpha1"] = "kubeferry.io/v1alpha1"


_ADAPTERS: dict[type[object], TypeAdapter[Any]] = {}


def camel(name: str) -> str:
    """A field's name as it stands in files."""
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)


@dataclass(frozen=True)
class Between:
    """What a number must be, for pydantic and for us: from `least` to `most`, and a number at all."""

    least: int
    most: int | None = None

    def holds(self, value: float) -> bool:
        return self.least <= value <= (sys.float_info.max if self.most is None else self.most)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        told = handler(source) | {"ge": self.least} | ({} if self.most is None else {"le": self.most})
        return told | {"allow_inf_nan": False} if told["type"] == "float" else told


Bytes = Annotated[int, Between(0)]
Seconds = Annotated[float, Between(0)]


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Base of plain values: frozen, no unknown fields, `camelCase` in files and `snake_case` in code. Its methods are
    called what pydantic calls them, and do the same."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "alias_generator": camel,
        "populate_by_name": True,
    }

    @classmethod
    def model_validate(cls, content: Any) -> Self:
        """Raises pydantic's ValidationError with every fault."""
        found: Self = _adapter(cls).validate_python(content)
        return found

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Raises pydantic's ValidationError with every fault."""
        found: Self = _adapter(cls).validate_json(text)
        return found

    @classmethod
    def model_json_schema(cls, *, by_alias: bool = True) -> dict[str, Any]:
        return _adapter(cls).json_schema(by_alias=by_alias)

    @classmethod
    def of(cls, told: object) -> Self:
        """The value in what JSON holds. Raises ValueError for any fault, without a word about it: pydantic has them,
        and may yet accept it."""
        known = {camel(one.name): one for one in fields(cls)}
        if not isinstance(told, dict) or not told.keys() <= known.keys():
            raise ValueError("no such value")
        hints = get_type_hints(cls, include_extras=True)
        found = {known[key].name: _fitting(hints[known[key].name], value) for key, value in told.items()}
        if any(one.name not in found and _default(one) is MISSING for one in known.values()):
            raise ValueError("a field is missing")
        return cls(**found)

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        return replace(self, **update)

    def model_dump(
        self,
        *,
        mode: str = "python",
        by_alias: bool = False,
        exclude_none: bool = False,
        exclude_defaults: bool = False,
    ) -> dict[str, Any]:
        del mode  # all that there is in it, JSON has, too
        content = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if (exclude_none and value is None) or (exclude_defaults and value == _default(one)):
                continue
            if isinstance(value, Plain):
                value = value.model_dump(
                    by_alias=by_alias, exclude_none=exclude_none, exclude_defaults=exclude_defaults
                )
            content[camel(one.name) if by_alias else one.name] = value
        return content

    def model_dump_json(
        self,
        *,
        indent: int | None = None,
        by_alias: bool = False,
        exclude_none: bool = False,
        exclude_defaults: bool = False,
    ) -> str:
        content = self.model_dump(by_alias=by_alias, exclude_none=exclude_none, exclude_defaults=exclude_defaults)
        marks = (",", ":") if indent is None else (",", ": ")
        return json.dumps(content, indent=indent, separators=marks, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class PlainDocument(Plain):
    """A file of its own: `apiVersion` and `kind` stand first."""

    KIND: ClassVar[str]

    api_version: Literal["kubeferry.io/v1alpha1"] = API_VERSION


@dataclass(frozen=True, kw_only=True)
class DiskRef(Plain):
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


def _default(one: Field[Any]) -> object:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _fitting(hint: Any, value: Any) -> Any:
    """A value of JSON as a field of this type has it; what the type does not allow is a ValueError."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        found = _fitting(parts[0], value)
        fits = all(rule.holds(found) for rule in parts[1:])
    elif kind in {Union, UnionType}:
        found = None if value is None else _fitting(next(one for one in parts if one is not NoneType), value)
        fits = found is not None or NoneType in parts
    elif kind is Literal:
        found, fits = value, any(value == one and type(value) is type(one) for one in parts)
    elif kind is dict:
        fits = isinstance(value, dict)
        found = {_fitting(parts[0], key): _fitting(parts[1], one) for key, one in value.items()} if fits else None
    elif isinstance(hint, type) and issubclass(hint, Plain):
        found, fits = hint.of(value), True
    else:
        found = float(value) if hint is float and type(value) is int else value
        fits = type(found) is hint
        if fits and isinstance(found, str):
            found.encode()  # half of a character (\ud800) is none, and raises ValueError: no path and no name has it
    if not fits:
        raise ValueError("a field has another type")
    return found


def _adapter(cls: type[Plain]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]
