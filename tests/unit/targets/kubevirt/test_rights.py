"""Three lists of rights are one: what the code asks of a cluster, the table of the preflight, the Roles we hand out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kubeferry.targets import kubevirt as cluster
from kubeferry.targets.kubevirt import kinds, removal
from kubeferry.targets.kubevirt.checks.rights import FOR_FILE_PROBES, IN_CLUSTER, IN_NAMESPACE, SUBRESOURCES, Right

CODE = Path(cluster.__file__).parent
DEPLOY = CODE.parents[2] / "deploy"
Granted = set[tuple[str, str, str]]

VERBS = {
    "get": {"get"},
    "list": {"list"},
    "_list": {"list"},
    "_get": {"get"},
    "create": {"create"},
    "apply": {"create", "patch"},  # what is applied and not there is created
    "merge": {"patch"},
    "delete": {"delete"},
}
# Calls whose kind is not written where they stand: the kinds that they go through.
PASSED_ON = {
    "instancetypes.py": (*kinds.INSTANCE_TYPES, *kinds.PREFERENCES),
    "objects.py": kinds.PLANNED,
    "removal.py": (kinds.CLAIM, kinds.DATA_VOLUME, kinds.VIRTUAL_MACHINE),
}
# Rights of paths that are put together by hand: the words of the code that they come from.
BY_PATH = {
    "}/log": ("", "pods/log", ("get",)),
    "}/exec": ("", "pods/exec", ("get", "create")),
}


def in_table(rights: tuple[Right, ...]) -> Granted:
    return {(right.group, right.resource, verb) for right in rights for verb in right.verbs}


def in_file(name: str) -> Granted:
    documents = yaml.safe_load_all((DEPLOY / name).read_text())
    rules = [rule for one in documents if one["kind"] in {"Role", "ClusterRole"} for rule in one["rules"]]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("name", "rights"),
    [
        ("namespace-role.yaml", IN_NAMESPACE),
        ("file-probes-role.yaml", FOR_FILE_PROBES),
        ("cluster-role.yaml", IN_CLUSTER),
    ],
)
def test_the_table_and_the_roles_are_one(name: str, rights: tuple[Right, ...]) -> None:
    assert in_table(rights) == in_file(name)


def test_what_the_code_asks_is_what_the_table_has() -> None:
    used = {right for path in sorted(CODE.glob("*.py")) for right in rights_used(path)}
    assert used == in_table((*IN_NAMESPACE, *FOR_FILE_PROBES, *IN_CLUSTER))


def test_a_right_stands_once() -> None:
    everywhere = [*IN_NAMESPACE, *FOR_FILE_PROBES, *IN_CLUSTER]
    assert len({(right.group, right.resource) for right in everywhere}) == len(everywhere)


def test_what_the_ledger_holds_can_be_looked_for() -> None:
    assert {(kind.group, kind.plural, "get") for kind in removal.KINDS.values()} <= in_table(IN_NAMESPACE)


def rights_used(path: Path) -> Iterator[tuple[str, str, str]]:
    """Group, resource and verb of every request in a module."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield from _of_objects(path, node)
            yield from _of_subresources(node)
    for words, (group, resource, verbs) in BY_PATH.items():
        if words in text:
            yield from ((group, resource, verb) for verb in verbs)


def _of_objects(path: Path, call: ast.Call) -> Iterator[tuple[str, str, str]]:
    function = call.func
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    on_cluster = isinstance(function, ast.Attribute) and ast.unparse(function.value) in {"cluster", "self._cluster"}
    if name not in VERBS or not (on_cluster or name.startswith("_")):
        return
    named = [kind for argument in call.args if (kind := _kind(argument)) is not None]
    passed = any("kind" in ast.unparse(argument) for argument in call.args[:2])
    for kind in named or (PASSED_ON.get(path.name, ()) if passed and on_cluster else ()):
        yield from ((kind.group, kind.plural, verb) for verb in VERBS[name])


def _kind(argument: ast.expr) -> kinds.Kind | None:
    found = getattr(kinds, argument.id, None) if isinstance(argument, ast.Name) else None
    return found if isinstance(found, kinds.Kind) else None


def _of_subresources(call: ast.Call) -> Iterator[tuple[str, str, str]]:
    """`subresource(namespace, KIND.plural, name, WHAT)`: asked for by PUT of a machine, by GET of an instance."""
    if ast.unparse(call.func) != "subresource":
        return
    kind: kinds.Kind = getattr(kinds, ast.unparse(call.args[1]).removesuffix(".plural"))
    what = call.args[3]
    first = what.values[0] if isinstance(what, ast.JoinedStr) else what
    assert isinstance(first, ast.Constant)
    words = str(first.value).rstrip("/")
    verb = "update" if kind is kinds.VIRTUAL_MACHINE else "get"
    # Kubernetes reads the first word only, the server behind it all of them.
    yield from ((SUBRESOURCES, f"{kind.plural}/{part}", verb) for part in {words, words.partition("/")[0]})
