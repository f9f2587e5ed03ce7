"""A message by SMTP: certificates are checked, a login goes over TLS alone, and the whole takes a minute at most."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from typing import Any

from kubeferry.documents import Mail
from kubeferry.errors import Problem
from kubeferry.notices.answers import Answer, Fate
from kubeferry.notices.letters import letter
from kubeferry.notices.notice import bounded
from kubeferry.outside.struck import without_secrets

SILENCE_SECONDS = 10.0
WHOLE_SECONDS = 60.0

_SAID = 200
_NO_TLS = "it offers no STARTTLS, and nothing is sent without; write tls: tls or tls: none where that is meant"


class MailReceiver:
    """The mail server of the configuration."""

    def __init__(self, settings: Mail, environ: Mapping[str, str]) -> None:
        self._settings, self._environ = settings, environ

    def problems(self) -> list[Problem]:
        """What of its settings keeps every message from being sent: a variable that is not set."""
        fields = (("userEnv", self._settings.user_env), ("passwordEnv", self._settings.password_env))
        return [
            Problem(f"notify.mail.{field}", f"the environment has no {variable}", f"Set {variable}.")
            for field, variable in fields
            if variable and not self._environ.get(variable)
        ]

    def send(self, ident: str, body: dict[str, Any]) -> Answer:
        """Send one message to all its recipients. Raises nothing that a server, or the way there, can cause."""
        made = letter(self._settings, ident, body)
        try:
            with self._connected() as client:
                return self._handed_over(client, made)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            passing = any(400 <= code < 500 for code in codes)
            return Answer(
                Fate.AWAY if passing else Fate.REFUSED, f"no recipient is taken: {_refused(error.recipients)}"
            )
        except smtplib.SMTPResponseException as error:
            passing = not 500 <= error.smtp_code < 600
            told = f"{error.smtp_code} {_text(error.smtp_error)}"
            return Answer(Fate.AWAY if passing else Fate.REFUSED, _fit(told))
        except (OSError, ValueError) as error:  # smtplib's own are OSErrors, too
            return Answer(Fate.AWAY, _fit(f"{self._settings.host}: {_told(error)}"))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        """A connection as the settings ask for it, which breaks when its time is over, however a server drips."""
        name, context = _own_name(), ssl.create_default_context()
        client = (
            smtplib.SMTP_SSL(local_hostname=name, timeout=SILENCE_SECONDS, context=context)
            if self._settings.tls == "tls"
            else smtplib.SMTP(local_hostname=name, timeout=SILENCE_SECONDS)
        )
        # What a certificate has to be for: `connect`, which is called when the clock runs, does not set it.
        client._host = self._settings.host  # type: ignore[attr-defined]
        over = threading.Timer(WHOLE_SECONDS, _break, (client,))
        over.daemon = True
        over.start()
        try:
            code, said = client.connect(self._settings.host, self._settings.at_port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, said)
            if self._settings.tls == "starttls":
                client.ehlo()
                if not client.has_extn("starttls"):
                    raise smtplib.SMTPNotSupportedError(_NO_TLS)
                client.starttls(context=context)
            yield client
        finally:
            over.cancel()
            over.join()
            client.close()

    def _handed_over(self, client: smtplib.SMTP, made: EmailMessage) -> Answer:
        if self._settings.user_env and self._settings.password_env:
            client.login(self._environ[self._settings.user_env], self._environ[self._settings.password_env])
        refused = client.send_message(made, self._settings.sender, self._settings.to)
        with contextlib.suppress(OSError, smtplib.SMTPException):  # it is delivered
            client.quit()
        if refused:  # to send it again would reach the others twice
            return Answer(Fate.TAKEN, _fit(f"not taken for {_refused(refused)}"))
        return Answer(Fate.TAKEN, "taken")


def _break(client: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError):
        if client.sock:
            client.sock.shutdown(socket.SHUT_RDWR)


def _own_name() -> str:
    """By which we greet: without a whole name an address does, as the standard has it. No name is looked up for it."""
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"


def _refused(recipients: Mapping[str, tuple[int, bytes]]) -> str:
    told = (f"{name} ({code} {_text(said)})" for name, (code, said) in recipients.items())
    return _fit(", ".join(told))


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {SILENCE_SECONDS:.0f} seconds"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _fit(text: str) -> str:
    return bounded(without_secrets(text), _SAID)
