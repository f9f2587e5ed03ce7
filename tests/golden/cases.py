"""What golden tests have in common: an assessment as it is reviewed, and the file that it is held against."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from kubeferry.model import Carried
from mappings.assessment import Assessment


def content_of(found: Assessment) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "concerns": [f"{concern.severity} {concern.id}: {concern.what}" for concern in found.concerns],
        "fates": [line_of(line) for line in found.carried],
        "manifests": list(found.manifests),
    }


def line_of(line: Carried) -> str:
    target = f" -> {line.target}" if line.target else ""
    reason = f" ({line.reason})" if line.reason else ""
    return f"{line.fate} {line.field}: {line.source}{target}{reason}"


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


def assert_reviewed(content: Any, expected: Path) -> None:
    """The content is what stands in the file; it is written where it is missing or asked for."""
    if os.environ.get("KUBEFERRY_REGENERATE") == "1" or not expected.exists():
        missing = not expected.exists()
        text = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=160)
        expected.write_text(text, encoding="utf-8")
        assert not missing, f"{expected.name} was missing and has been written: read it, then run the test again"
    assert content == yaml.safe_load(expected.read_text(encoding="utf-8"))
