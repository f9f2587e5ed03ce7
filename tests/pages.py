"""Pages as a browser takes them apart, and every way from one to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

VOID = {"meta", "img", "br", "rect", "link", "input", "hr", "path"}


class Page(HTMLParser):
    """The elements, attributes and text of a page; balanced or an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in {"style", "script"}:
            self.text += data

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]

    @property
    def links(self) -> list[str]:
        return [str(attributes["href"]) for tag, attributes in self.tags if tag == "a"]


def pages_in(folder: Path) -> dict[str, Page]:
    """Every page below a folder, by its place in it."""
    return {
        path.relative_to(folder).as_posix(): Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")
    }


def dead_links(folder: Path, pages: Mapping[str, Page]) -> Iterator[str]:
    """Links that lead to no file in the folder, or to no element of its page; and labels of nothing."""
    for name, page in pages.items():
        known = set(page.ids)
        if len(known) != len(page.ids):
            yield f"{name}: an id comes twice"
        for _, attributes in page.tags:
            label = attributes.get("aria-labelledby")
            if label and label not in known:
                yield f"{name}: nothing is called {label}"
        for link in page.links:
            place, _, part = link.partition("#")
            there = normal(PurePosixPath(name).parent / unquote(place)) if place else name
            if not (folder / there).is_file() or (part and unquote(part) not in pages[there].ids):
                yield f"{name}: {link}"


def normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def asks_elsewhere(text: str, page: Page) -> Iterator[str]:
    """What a browser would fetch or run for a page beside what stands in it."""
    for tag, attributes in page.tags:
        if tag in {"iframe", "object", "embed", "link", "base", "form"}:
            yield f"<{tag}>"
        for name, value in attributes.items():
            if name.startswith("on") or (name == "style" and "url(" in str(value)):
                yield f"{tag} {name}"
            fetched = name in {"src", "srcset", "action", "data", "poster", "background", "xlink:href"}
            if fetched and not str(value).startswith("data:image/png;base64,"):
                yield f"{tag} {name}={value}"
            if name == "href" and ("://" in str(value) or str(value).startswith(("//", "javascript:", "data:"))):
                yield f"{tag} {name}={value}"
    if "@import" in text or "url(" in text.partition("</style>")[0]:
        yield "a style sheet that fetches"
