"""The tree is what its pages say: the drawing in docs/architecture.md, each folder's own docstring, and every place
that a page or a comment names."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "reports", "mappings", "converters", "kubeferry")
LEVEL = 4  # blanks
TREES = (*PACKAGES, "lab", "bench", "soak", "tests", "docs", "deploy")
# What looks like a place and is none: groups and files, a module's own attribute, a setting, networks,
# a folder of the cache, an archive, a module that a test has not.
WORDS = {"kubeferry.io", "kubeferry.yaml", "kubeferry.db", "kubeferry.__file__", "kubeferry.changeTracking"}
WORDS |= {"lab/lan", "lab/prod-web", "kubeferry/lab-kubevirt", "kubeferry.tar", "kubeferry.nothing"}
WORDS |= {"kubeferry.stopped"}
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(TREES)})(?:/[\w.-]+)+")
DOTTED = re.compile(rf"(?<![\w./@-])(?:{'|'.join(PACKAGES)})(?:\.[a-zA-Z_]\w*)+")


def packages(*names: str) -> list[Path]:
    """Every folder of the wheel that holds code, or of these."""
    return sorted({path.parent for name in names or PACKAGES for path in (ROOT / name).rglob("*.py")})


def drawn() -> Iterator[str]:
    """The folders in the drawing, as paths."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawing = page.split("## The rooms", 1)[1].split("```")[1]
    above: list[str] = []
    for line in drawing.strip().splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // LEVEL
        assert name.endswith("/"), line
        above[depth:] = [name.rstrip("/")]
        yield "/".join(above)


def test_the_drawing_shows_every_folder_and_no_other() -> None:
    folders = list(drawn())
    assert sorted(folders) == [str(folder.relative_to(ROOT)) for folder in packages()]
    assert len(folders) == len(set(folders))


@pytest.mark.parametrize("folder", packages(*PACKAGES, "soak"), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_says_what_each_of_its_modules_is(folder: Path) -> None:
    page = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    said = set(re.findall(r"\w+", page.lower()))
    assert modules <= said, f"{folder} does not speak of {sorted(modules - said)}"


def texts() -> Iterator[Path]:
    """What people read: pages, code, configuration."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.py", "*.toml", "Makefile"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n"):
        if name and name != "CHANGELOG.md" and (ROOT / name).exists():
            yield ROOT / name


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        module = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
        if module.exists():
            return count == len(parts) or parts[count] in defined(module)
    return False


def defined(module: Path) -> set[str]:
    """The names that a module has at its top."""
    found = set()
    for node in ast.parse(module.read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {one.asname or one.name for one in names}
    return found


def test_no_page_names_a_place_that_is_gone() -> None:
    gone = []
    for path in texts():
        text = path.read_text()
        places = {found.rstrip(".") for found in PATH.findall(text)} - WORDS
        names = set(DOTTED.findall(text)) - WORDS
        lost = {name for name in places if not list(ROOT.glob(f"{name}*"))} | {
            name for name in names if not exists(name)
        }
        gone += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(lost)]
    assert "\n".join(gone) == ""
