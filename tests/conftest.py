"""For all tests: no thread outlives its test, and property tests have no deadline.

How long one example takes says more about a shared machine than about the code.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.threads import Threads

settings.register_profile("kubeferry", deadline=None)
settings.load_profile("kubeferry")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Threads(), "kubeferry-threads")
