"""Reading and writing documents: YAML or JSON, every problem at once, each with its line and a fix."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ValidationError

from kubeferry.documents import first_reading, lines, readings
from kubeferry.documents.approvals import Approval
from kubeferry.documents.earlier import as_written
from kubeferry.documents.inventory import Inventory
from kubeferry.documents.observation import Observation
from kubeferry.documents.outline import Outline
from kubeferry.documents.plan import Plan, digest_of_plan, is_whole
from kubeferry.documents.policy import Policy
from kubeferry.documents.settings import Config
from kubeferry.documents.yaml_lines import Irregular
from kubeferry.documents.yaml_lines import document as regular
from kubeferry.documents.yaml_read import number_too_long, parse_yaml, twice
from kubeferry.documents.yaml_text import pieces, to_yaml
from kubeferry.errors import InputInvalid, Problem
from kubeferry.jobs import MoverJob, MoverResult
from kubeferry.outside import atomic
from kubeferry.passwords import struck
from kubeferry.shapes import Document
from kubeferry.values import API_VERSION, PlainDocument

# Some 25,000 machines. A first reading as YAML takes forty times as much memory as the text, and what is larger is more
# likely to be no document at all; an estate of that size is planned in parts.
DOCUMENT_LIMIT_BYTES = 256 * 1024 * 1024
UNKNOWN_FIELD = ("extra_forbidden", "unexpected_keyword_argument")  # of a model, of a plain value
NO_OBJECT = ("model_type", "dict_type", "model_attributes_type", "dataclass_type")
LARGE_PLAN = 64 * 1024  # bytes; a smaller one is read in a twentieth of a second
LARGE_TEXT = 64 * 1024  # signs; the same of any other document

logger = logging.getLogger(__name__)

KINDS: dict[str, type[Document | PlainDocument]] = {
    cls.KIND: cls for cls in (Config, Inventory, Policy, Plan, Approval, MoverJob, MoverResult, Observation)
}

D = TypeVar("D", bound=Document | PlainDocument)
P = TypeVar("P", Plan, Outline)


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Python looks for garbage again and again while a large document becomes a million objects, none of them garbage:
    that takes five times as long as all the rest."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def load(path: Path, expected: type[D]) -> D:
    """Read one document from YAML or JSON. Raises InputInvalid with every problem found, each with its line."""
    size = _size(path)
    logger.debug("reads %s, %s bytes", path, size)
    if expected is not Plan or size < LARGE_PLAN:
        return parse(_read(path), expected, name=str(path))
    return cast("D", _large(path, lines.plan_of))


def load_outline(path: Path) -> Outline:
    """A plan as far as one asks where its machines stand: thousands of them in seconds. As whole as by `load`, and
    refused for the same. Raises InputInvalid."""
    if _size(path) < LARGE_PLAN:
        return outline(load(path, Plan))
    found = _large(path, lines.outline_of)
    return outline(found) if isinstance(found, Plan) else found


def outline(plan: Plan) -> Outline:
    """The outline of a plan."""
    return lines.outline_of(line.encode() for line in lines.to_lines(plan))


def in_lines(plan: Plan) -> str:
    """A frozen plan as a document that is read fast, an entry a line."""
    return "\n".join(lines.to_lines(plan))


@no_garbage()
def plan_in(document: str, name: str = "document") -> Plan:
    """The plan in a document that a journal holds, in lines or as an earlier kubeferry kept it. `name` stands in for
    the file's path in messages. Raises InputInvalid."""
    with contextlib.suppress(lines.NotLines):
        return lines.plan_of(document.encode().splitlines())
    return parse(document, Plan, name=name)


@no_garbage()
def outline_in(document: str, name: str = "document") -> Outline:
    """Its outline. Raises InputInvalid."""
    with contextlib.suppress(lines.NotLines):
        return lines.outline_of(document.encode().splitlines())
    return outline(parse(document, Plan, name=name))


@no_garbage()
def _large(path: Path, read: Callable[[Iterable[bytes]], P]) -> P | Plan:
    """A large plan: what it was read as before, else the plan in its text."""
    with _told(path):
        text = readings.text_of(path)
    if (found := readings.recall(text, read)) is not None:
        return found
    with _told(path), contextlib.suppress(Irregular, lines.NotLines):
        return _written_here(text, read)
    plan = parse(_read(path), Plan, name=str(path))
    readings.keep(text, lines.to_lines(plan))
    return plan


def _written_here(text: readings.Text, read: Callable[[Iterable[bytes]], P]) -> P:
    """The plan in a text that a kubeferry of this version wrote, elsewhere: machine by machine. Raises Irregular."""
    with text.path.open("rb") as stream:
        kept = readings.keep(text, first_reading.lines_of(stream, text.digest, text.claims))
        if kept and (found := readings.recall(text, read)) is not None:
            return found
        stream.seek(0)
        return read(line.encode() for line in first_reading.lines_of(stream, text.digest, text.claims))


def _size(path: Path) -> int:
    with _told(path):
        size = path.stat().st_size
    if size > DOCUMENT_LIMIT_BYTES:
        what = f"a document has at most {DOCUMENT_LIMIT_BYTES >> 20} MiB"
        raise InputInvalid(
            f"{path} is too large", [Problem(str(path), what, "Split it: discover and plan some machines at a time.")]
        )
    return size


def _read(path: Path) -> str:
    with _told(path):
        return path.read_text(encoding="utf-8")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputInvalid(
            f"{path} cannot be read",
            [Problem(str(path), reason, "Check the path, its permissions, and that it is UTF-8 text.")],
        ) from error


@no_garbage()
def parse(text: str, expected: type[D], *, name: str = "document") -> D:
    """Like `load`, from text. `name` stands in for the file's path in messages."""
    if len(text) >= LARGE_TEXT:
        with contextlib.suppress(Irregular, ValidationError):  # PyYAML knows where
            return _in_our_form(text, expected)
    content, root = parse_yaml(text, name)
    if not isinstance(content, dict):
        raise InputInvalid(
            f"{name} is not {_a(expected.KIND)}",
            [
                Problem(
                    f"{name}:1",
                    "the document is not a mapping",
                    f"Start it with `apiVersion: {API_VERSION}` and `kind: {expected.KIND}`.",
                )
            ],
        )
    problems = _header_problems(content, expected.KIND, name, root)
    if problems:
        raise InputInvalid(f"{name} is not {_a(expected.KIND)} that this version reads", problems)
    problems = twice(root, name)
    try:
        document = cast("D", expected.model_validate_json(_as_json(content, name)))
    except ValidationError as error:
        problems += [_problem(dict(item), name, root) for item in error.errors()]
        raise _has(sorted(problems, key=_place), name) from error
    if problems:
        raise _has(problems, name)
    if isinstance(document, Plan):
        _check_digest(document, name)
    return document


def _in_our_form(text: str, expected: type[D]) -> D:
    """A document that is written as we write it, and has no problem. Raises Irregular or ValidationError."""
    content = regular(text)
    if _header_problems(content, expected.KIND, "", None):
        raise Irregular("another kind of document")
    document = cast("D", expected.model_validate_json(json.dumps(content)))
    if isinstance(document, Plan) and not is_whole(document):
        raise Irregular("its digest does not match its content")
    return document


def _has(problems: list[Problem], name: str) -> InputInvalid:
    return InputInvalid(f"{name} has {len(problems)} problem{'s' if len(problems) > 1 else ''}", problems)


def _check_digest(plan: Plan, name: str) -> None:
    if not is_whole(plan):
        raise InputInvalid(
            f"{name} was changed after it was made",
            [
                Problem(
                    name,
                    "its digest does not match its content",
                    "Change the policy or inventory and run `kubeferry plan` again; a plan is never edited.",
                )
            ],
        )


def dump(document: Document | PlainDocument) -> str:
    """The document as YAML: `apiVersion` and `kind` first, empty parts left out. A plan of an earlier version comes out
    as that one wrote it, so that its digest still fits."""
    return to_yaml(_content(document))


def _content(document: Document | PlainDocument) -> dict[str, Any]:
    content = document.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(document, Plan) and document.digest and document.digest != digest_of_plan(document):
        content = _without_nothing(as_written(document))
    head = {"apiVersion": content.pop("apiVersion"), "kind": content.pop("kind")}
    return head | content


def _without_nothing(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nothing(value) for key, value in content.items() if value is not None}
    return [_without_nothing(value) for value in content] if isinstance(content, list) else content


@no_garbage()
def save(document: Document | PlainDocument, path: Path) -> None:
    """Write a document so that a reader finds the old one or the new one, never a part. Of a large plan a reading is
    kept, too: nobody has to read its YAML to go on with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    as_json = path.suffix == ".json"
    text = (document.model_dump_json(by_alias=True, indent=1),) if as_json else pieces(_content(document))
    atomic.replace_lines(path, text)
    size = path.stat().st_size
    logger.debug("wrote %s, %s bytes", path, size)
    if isinstance(document, Plan) and size >= LARGE_PLAN and is_whole(document):
        with contextlib.suppress(OSError):
            readings.keep(readings.text_of(path), lines.to_lines(document))


def json_schema(kind: str) -> dict[str, Any]:
    """The published JSON schema of one kind of document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | KINDS[kind].model_json_schema(by_alias=True)


def _as_json(content: Any, name: str) -> str:
    try:
        return json.dumps(content)
    except ValueError as error:
        raise number_too_long(name) from error


def _header_problems(content: dict[str, Any], kind: str, name: str, root: yaml.Node | None) -> list[Problem]:
    wanted = {"apiVersion": API_VERSION, "kind": kind}
    return [
        Problem(
            f"{name}:{_line(root, (key,))}",
            f"{key} is {content.get(key)!r}, not {value!r}",
            f"Give {_a(kind)} document, `{key}: {value}`.",
        )
        for key, value in wanted.items()
        if content.get(key) != value
    ]


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "AEIO" else f"a {kind}"


def _problem(item: dict[str, Any], name: str, root: yaml.Node | None) -> Problem:
    place = tuple(item["loc"])
    path = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in place)) or "document"
    return Problem(f"{name}:{_line(root, place)}", f"{path}: {_what(item)}", _fix(item))


def _place(problem: Problem) -> int:
    return int(problem.where.rpartition(":")[2])


def _what(item: dict[str, Any]) -> str:
    if item["type"] in UNKNOWN_FIELD:
        return "is not a field of this document"
    if item["type"] == "missing":
        return "is missing"
    said = str(item["msg"]).removeprefix("Value error, ")
    if isinstance(item["input"], dict):  # it is what the line holds, and long
        return said
    return f"{said} (got {struck(str(item['input']))[:80]!r})"


def _fix(item: dict[str, Any]) -> str:
    if _lacks_quotes(item):
        return "Put it in quotes: without them YAML takes it for a number, or for yes or no."
    fixes = {
        **dict.fromkeys(UNKNOWN_FIELD, "Remove it or correct its spelling; `kubeferry schema` lists the fields."),
        "missing": "Add it; `kubeferry schema` shows its type.",
        **dict.fromkeys(NO_OBJECT, "Write fields, as in `{name: value}`; `kubeferry schema` lists them."),
    }
    return fixes.get(str(item["type"]), "Correct the value.")


def _lacks_quotes(item: dict[str, Any]) -> bool:
    """Whether the value would be right as text, and YAML has made something else of it."""
    if not isinstance(item["input"], bool | int | float):
        return False
    return item["type"] == "string_type" or (item["type"] == "literal_error" and f"'{item['input']}'" in item["msg"])


def _line(node: yaml.Node | None, place: tuple[str | int, ...]) -> int:
    """The line (from 1) of the deepest part of `place` that exists in the file."""
    line = 1 if node is None else node.start_mark.line + 1
    for part in place:
        child = _child(node, part)
        if child is None:
            return line
        line, node = child
    return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return child.start_mark.line + 1, child
    return None
