"""Property tests have no deadline: how long one example takes says more about a shared machine than about the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("kubeferry", deadline=None)
settings.load_profile("kubeferry")
