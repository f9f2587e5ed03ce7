"""Templates, styles and the one script that pages share: what makes a page of a report or an assessment stand alone.

Every page has its styles inside, and a policy that forbids the rest; where a page has a script, the policy names its
hash and lets no other one run. Every text goes through Jinja's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kubeferry.model import Fate, Severity
from reports import wording

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_AROUND = re.compile(r"\s*([{};,])\s*")
_LOADER = PackageLoader("reports", "templates")
_AFTER_NAME = re.compile(r"([{;][-\w]+):\s+")


@cache
def environment() -> Environment:
    """The environment of all templates."""
    made = Environment(
        loader=_LOADER,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        size=wording.size,
        rate=wording.rate,
        duration=wording.duration,
        moment=wording.moment,
        clock=wording.clock,
        plain=wording.plain,
        listed=wording.listed,
    )
    made.globals.update(style=style, script=script, may_run=may_run, count=wording.count, Fate=Fate, Severity=Severity)
    return made


@cache
def style(*names: str) -> Markup:
    """Style sheets of ours in few bytes: there is one in each page."""
    text = _COMMENT.sub("", "\n".join(map(_source, names)))
    return Markup(_AFTER_NAME.sub(r"\1:", _AROUND.sub(r"\1", " ".join(text.split()))))  # noqa: S704 (a file of ours)


@cache
def script(name: str) -> Markup:
    """A script of ours, as it stands in a page."""
    return Markup(_source(name).strip())  # noqa: S704 (a file of ours)


@cache
def may_run(name: str) -> str:
    """What a page's policy says so that this script runs, and no other."""
    digest = hashlib.sha256(script(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _source(name: str) -> str:
    return _LOADER.get_source(environment(), name)[0]
