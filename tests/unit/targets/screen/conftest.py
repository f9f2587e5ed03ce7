from __future__ import annotations

import pytest

from kubeferry.targets.guest.screen import reading
from tests.unit.targets.screen.drawing import forms


@pytest.fixture
def font(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up font is the one that is known."""
    monkeypatch.setattr(reading, "LETTERS", forms(16))
    monkeypatch.setattr(reading, "EFI_LETTERS", forms(19))
