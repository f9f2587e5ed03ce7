"""`python -m flows.serving.program start …`: `prefect server …`, as we run it: its pages ask nobody but this machine.

Prefect's second interface (`/v2`) fetches settings from an analytics company, whatever the server's own settings say,
and the page of its API loads its scripts from a public host. So the first of them is not served, and every page tells
the browser, in words that it obeys (a Content-Security-Policy), to ask none but loopback.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_LOOPBACK = "http://127.0.0.1:* ws://127.0.0.1:* http://localhost:* ws://localhost:*"
POLICY = f"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob: {_LOOPBACK}"


class Confined:
    """An ASGI application whose answers carry the policy. What else it offers is the application's own."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        async def confined(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self._app(scope, receive, confined)


def main() -> None:
    """Run Prefect's own command line, on a server that is confined."""
    import prefect
    from prefect.cli import app
    from prefect.server.api import server

    prefect.__ui_v2_static_path__ = Path(__file__).parent / "nowhere"  # an interface without files is not mounted
    made = server.create_app
    server.create_app = lambda *given, **options: Confined(made(*given, **options))  # type: ignore[assignment]
    sys.argv[1:1] = ["server"]
    app()


if __name__ == "__main__":
    main()
