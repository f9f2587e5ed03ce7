"""A connection to PostgreSQL that does not wait for ever.

The server ends statements and waits for locks in time, and TCP tells of a network that is gone. A server that is frozen
as a whole (its machine paused, its disk hung) does neither: its kernel takes what is sent, and nobody answers. Then the
connection is given up here.
"""

from __future__ import annotations

from typing import Any

import psycopg

SILENCE_SECONDS = 75.0  # longer than the server's own deadlines, which tell more


class Impatient(psycopg.Connection[Any]):
    """Gives each answer `SILENCE_SECONDS`; then it is closed, and raises psycopg.OperationalError."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, SILENCE_SECONDS if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if timeout is not None or not isinstance(error, psycopg.errors._WaitTimeout):
                raise
            self.pgconn.finish()  # what it would answer now is no answer to the next question
            raise psycopg.OperationalError(f"the server said nothing for {SILENCE_SECONDS:g} s") from error


def connect(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> Impatient:
    """For SQLAlchemy's event `do_connect`."""
    return Impatient.connect(*arguments, **named)
