"""Runs of deployments that wait for an approval, let go on by who has given it, or looks each minute."""

from __future__ import annotations

import logging
import os

from flows.serving import given_answers
from flows.serving.reached import reached
from kubeferry.documents import Config
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal

logger = logging.getLogger(__name__)


def let_go_on(settings: Config, journal: Journal) -> list[str]:
    """What the runs are called on the user's Prefect server that go on now. None where there is no server, or it is
    away: whoever looks next finds them."""
    if not os.environ.get("PREFECT_API_URL") or not journal.decided_plans() or not given_answers():
        return []
    try:
        with reached():
            from flows.programme.waiting import go_on

            return go_on(settings, journal)
    except KubeferryError as error:
        logger.warning("no run that waits for an approval was looked for: %s", error.reason)
        return []
