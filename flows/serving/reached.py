"""A Prefect server of the user's, asked for something: what its client makes of one that is away, as our own error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from flows.serving.server import CLIENT_SETTINGS
from kubeferry.errors import KubeferryError, PermanentError, TargetUnavailable
from kubeferry.passwords import struck

FIX = (
    "See that PREFECT_API_URL names a Prefect server that runs, and that PREFECT_API_AUTH_STRING is its own where it "
    "asks for one; or unset both: kubeferry starts a server of its own where it needs one."
)


def away(why: str) -> TargetUnavailable:
    """The error for a server that does not answer."""
    url = os.environ.get("PREFECT_API_URL", "")
    return TargetUnavailable(f"the Prefect server at {struck(url) or 'no address'} does not answer", why=why, fix=FIX)


@contextlib.contextmanager
def reached() -> Iterator[None]:
    """What Prefect's client raises in the block is told as what it means. Errors of ours go on as they are."""
    os.environ.update({name: value for name, value in CLIENT_SETTINGS.items() if name not in os.environ})
    from httpx import HTTPError, HTTPStatusError
    from prefect.exceptions import PrefectException

    try:
        yield
    except KubeferryError:
        raise
    except HTTPStatusError as error:
        if error.response.is_server_error:
            raise away(f"it answered {error.response.status_code}") from error
        raise PermanentError(
            "the Prefect server refused what was asked",
            why=f"it answered {error.response.status_code} to {error.request.method} {error.request.url.path}: "
            f"{error.response.text[:300]}",
            fix=FIX,
        ) from error
    except (HTTPError, PrefectException, OSError) as error:
        raise away(f"{type(error).__name__}: {error}") from error
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        raise away(str(error).splitlines()[0]) from error
