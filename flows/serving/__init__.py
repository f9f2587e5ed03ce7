"""A Prefect server of our own, where the user has none.

server      started for the length of a command, on loopback
program     what is started: Prefect's server with pages that ask nobody but this machine
reached     what Prefect's client makes of a server of the user's that is away, as an error of ours
ports       which port is free, and who has one that is not
"""

from __future__ import annotations

import os


def given_answers() -> bool:
    """Whether there is a Prefect server of the user's, and it answers now."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return False
    from flows.serving.server import Api

    return Api(url).answers()
