"""The bench of a wave, with few machines: workers and servers are killed in the middle, and nothing is lost."""

from __future__ import annotations

import re
import sys

import pytest

from kubeferry.outside.process import run
from tests.needs import needs
from tests.runs.conftest import ROOT


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs("setpriv")
def test_nothing_is_lost_where_workers_and_servers_are_killed() -> None:
    done = run([sys.executable, "-m", "bench.waves", "60"], cwd=ROOT, timeout=880)
    assert "lost: none" in done.out
    assert done.out.count("killed at") == 3
    assert int(re.search(r"machines_per_minute=(\d+)", done.out)[1]) > 5  # type: ignore[index]
