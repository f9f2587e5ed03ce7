"""What import-linter cannot see of the contracts: modules that are named as text, and files that are touched without an
import of ours."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "reports", "mappings", "converters", "kubeferry")
BY_NAME = {  # each of them by a table
    "kubeferry/sources/__init__.py",
    "kubeferry/targets/__init__.py",
    "converters/endpoints/__init__.py",
    "flows/cli/__init__.py",
}
ITS_OWN_DATA = {"mappings/admission/schema.py"}  # a file of the wheel
TOUCHES = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "rename", "replace_text"}
TOUCHES |= {"iterdir", "glob", "rglob", "stat", "exists", "is_file", "is_dir", "urlopen", "create_connection"}


def code(*places: str) -> Iterator[tuple[str, ast.Module]]:
    """Each module in these folders or files, by its path."""
    for place in places:
        root = ROOT / place
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root.with_suffix(".py")]:
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def called(tree: ast.Module) -> set[str]:
    """The last names of all functions and methods that are called."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                found.add(name)
    return found


def test_modules_are_opened_by_name_at_the_seams_only() -> None:
    """There a table says which; anywhere else a module opened by its name would be hidden from the contracts."""
    opens = {path for path, tree in code(*PACKAGES) if called(tree) & {"import_module", "__import__"}}
    assert opens == BY_NAME


def test_pure_modules_touch_no_files() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = (one["source_modules"] for one in contracts if one["name"].startswith("Pure modules"))
    touch = {
        path: sorted(called(tree) & TOUCHES)
        for path, tree in code(*(name.replace(".", "/") for name in pure))
        if called(tree) & TOUCHES and path not in ITS_OWN_DATA
    }
    assert touch == {}


def test_a_seam_knows_none_of_those_behind_it() -> None:
    """Not before one is opened: who imports the seam imports no library of one source, target or scheme."""
    for seam in ("kubeferry/sources", "kubeferry/targets", "converters/endpoints"):
        ((_, tree),) = code(f"{seam}/__init__.py")
        known = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert [name for name in known if name.startswith(seam.replace("/", "."))] == [], seam
