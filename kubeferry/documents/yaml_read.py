"""YAML as documents have it: safe, without aliases, tags and keys that stand there twice, not nested without end.

A reader of its own is needed: PyYAML resolves what is refused here, and says nothing of keys that it drops.
"""

from __future__ import annotations

from typing import Any

import yaml

from kubeferry.errors import InputInvalid, Problem

DEPTH_LIMIT = 100
MERGE = "<<"  # a key of YAML 1.1 that takes in another mapping


def parse_yaml(text: str, name: str) -> tuple[Any, yaml.Node | None]:
    """Its content as plain data, and its nodes, which know their lines."""
    try:
        refuse_the_unread(text, name)
        loader = Loader(text)
        try:
            root = loader.get_single_node()
            content = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
        if MERGE in text:  # it is resolved in the nodes themselves, which then do not tell any more what stands where
            root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputInvalid(
            f"{name} is not valid YAML", [Problem(where, reason, "Correct the syntax on this line.")]
        ) from error
    except ValueError as error:
        raise number_too_long(name) from error
    return content, root


class Loader(yaml.CSafeLoader):
    """Safe YAML whose timestamps stay text: a document's times are strings, as in JSON."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def mark_line(mark: Any) -> int:
    return int(mark.line) + 1 if mark else 1


def refuse_the_unread(text: str, name: str) -> None:
    """Aliases make a small file expand without bound, tags make other values than JSON has, and neither a document nor
    what reads it is nested without end."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        what, fix, tag = "", "Write the value out.", getattr(event, "tag", None)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            what = "aliases (`*name`) are not read"
        elif tag not in {None, "!"}:
            what = f"tags (`{str(tag)[:80]}`) are not read"
        elif depth > DEPTH_LIMIT:
            what, fix = f"it is nested more than {DEPTH_LIMIT} deep", "Correct the brackets or the indentation."
        if what:
            raise InputInvalid(
                f"{name} is not YAML that is read here", [Problem(f"{name}:{mark_line(event.start_mark)}", what, fix)]
            )


def number_too_long(name: str) -> InputInvalid:
    what = "a number in it has thousands of digits"
    return InputInvalid(f"{name} cannot be read", [Problem(name, what, "Correct it, or put it into quotes.")])


def twice(node: yaml.Node | None, name: str) -> list[Problem]:
    """Keys that a mapping has twice: YAML's readers take the last one without a word."""
    problems = []
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, yaml.SequenceNode):
            waiting += here.value
        elif isinstance(here, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in here.value:
                if key.value in seen:
                    where = f"{name}:{mark_line(key.start_mark)}"
                    problems.append(Problem(where, f"{key.value!r} is there twice", "Keep one of them."))
                seen.add(key.value)
                waiting.append(value)
    return problems
