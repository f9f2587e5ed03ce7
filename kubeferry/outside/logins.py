"""Credentials that are read anew where they have run out: a file that somebody renews, a program that gives others.

What boto3 renews by itself (roles, SSO, instances) it renews before it runs out. What it read once from a file or a
program it keeps: a session of an hour would end every longer copy, though the new credentials lie beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

RENEWALS = 3
"""How often one call is tried again with credentials that were read anew."""
LOGIN = "Login"
"""Where an answer that refuses credentials says which, among what AWS says of its error."""
_USED = "kubeferry_access_key"
_PLACES = {
    "env": "the environment",
    "shared-credentials-file": "the credentials file",
    "config-file": "the configuration file",
    "custom-process": "a program of the profile's",
    "iam-role": "the role of this instance",
    "container-role": "the role of this container",
    "sso": "SSO",
    "assume-role": "a role that is entered",
    "assume-role-with-web-identity": "a role that is entered by a token",
}


class Login:
    """Credentials as botocore has them, and as they were found last. Threads may share it."""

    def __init__(self, find: Callable[[], Any], of: str = "") -> None:
        self._find = find
        self._of = of
        self._held = find()
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Which these are, in words; nothing of it is secret."""
        method = str(self._held.method)
        of = f" of {self._of}" if self._of else ""
        return f"the key that ends in {self._held.access_key[-4:]}, from {_PLACES.get(method, method)}{of}"

    @property
    def known(self) -> bool:
        """Whether there are any."""
        return self._held is not None

    def __getattr__(self, name: str) -> Any:
        """All that botocore asks of credentials."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._held, name)

    def renewed(self, used: str) -> bool:
        """Whether there are others now than those with the key `used`, which ran out: another thread may have found
        them already."""
        with self._lock:
            if self._held.access_key != used:
                return True
            found = self._find()
            if found is None or found.access_key == used:
                return False
            self._held = found
            return True


def renewing(client: Any, login: Login, has_run_out: Callable[[str], bool]) -> Any:
    """The client of botocore, which from now on tries a call again whose credentials have run out, where there are
    others by now."""

    def remember(**told: Any) -> None:
        told["request"].context[_USED] = login.access_key

    def again(**told: Any) -> float | None:
        answer, used = told.get("response"), told["request_dict"]["context"].get(_USED)
        code = str(answer[1].get("Error", {}).get("Code", "")) if answer else ""
        if not answer or not used or not has_run_out(code):
            return None
        answer[1]["Error"][LOGIN] = str(login)
        return 0.0 if int(told.get("attempts", 1)) <= RENEWALS and login.renewed(used) else None

    client.meta.events.register_first("before-sign", remember)
    client.meta.events.register_first("needs-retry", again)
    return client
