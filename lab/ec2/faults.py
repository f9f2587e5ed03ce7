"""What goes wrong in the lab's cloud when a test asks for it, in AWS's words: faults of calls, keys, a wrong clock."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

from lab.ec2.relay import Answer, Asked

KEY, SECRET = "AKIALABLABLABLABLABL", "not-a-secret-at-all"
BELIEVED = timedelta(minutes=5)
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(slots=True)
class Faults:
    """What goes wrong. `next` are answers to the next calls of an operation, one a call: throttle, error, unavailable,
    html, cut (the line ends), forbidden, full (a quota), capacity. `keys` are accepted, `expired` were; `roles` ask for
    an external id.

    `deaf` instances do not stop unless forced; `falls_back`, by instance, are those that are taken for a start and stop
    again, with what EC2 says of it (code and message). `off` are regions that are not switched on for the
    account. `clock_ahead` is how many seconds AWS's clock is ahead of ours.
    `pending`: so often a new snapshot is described until it is completed,
    None: it never is; `failing`: it ends as an error.
    """

    next: dict[str, deque[str]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=lambda: {KEY})
    expired: set[str] = field(default_factory=set)
    roles: dict[str, str] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    falls_back: dict[str, tuple[str, str]] = field(default_factory=dict)
    clock_ahead: float = 0
    off: set[str] = field(default_factory=set)
    pending: int | None = 1
    failing: bool = False

    def coming(self, operation: str, *kinds: str) -> None:
        """Let the next calls of an operation fail so."""
        self.next.setdefault(operation, deque()).extend(kinds)

    def of(self, asked: Asked) -> str | None:
        if asked.key in self.expired:
            return "expired"
        if asked.key not in self.keys or asked.region in self.off:
            return "stranger"
        if (waiting := self.next.get(asked.operation)) and len(waiting):
            return waiting.popleft()
        return None


FAILURES = {  # kind: status and code for EC2 and STS, status and code for the direct APIs
    "throttle": ((503, "RequestLimitExceeded"), (400, "RequestThrottledException")),
    "error": ((500, "InternalError"), (500, "InternalServerException")),
    "unavailable": ((503, "Unavailable"), (503, "ServiceUnavailable")),
    "stranger": ((401, "AuthFailure"), (403, "UnrecognizedClientException")),
    "expired": ((400, "RequestExpired"), (403, "ExpiredTokenException")),
    "full": ((400, "SnapshotLimitExceeded"), (400, "ServiceQuotaExceededException")),
    "capacity": ((500, "InsufficientInstanceCapacity"), (500, "InternalServerException")),
    "forbidden": ((403, "UnauthorizedOperation"), (403, "AccessDeniedException")),
}


def out_of_time(asked: Asked, at: float) -> Answer | None:
    """The answer to a request that was signed too long before `at`, in seconds of the epoch, or is yet to be."""
    signed = asked.headers.get("X-Amz-Date", "")
    now = datetime.fromtimestamp(at, UTC)
    apart = datetime.strptime(signed, _TIME).replace(tzinfo=UTC) - now if signed else timedelta(0)
    if abs(apart) <= BELIEVED:
        return None
    if asked.service == "ec2":
        return xml(400, "RequestExpired", "Request has expired.")
    border = (now + (BELIEVED if apart > BELIEVED else -BELIEVED)).strftime(_TIME)
    late = f"Signature expired: {signed} is now earlier than {border} ({now:{_TIME}} - 5 min.)"
    early = f"Signature not yet current: {signed} is still later than {border} ({now:{_TIME}} + 5 min.)"
    said = early if apart > BELIEVED else late
    if asked.service == "ebs":
        return 403, {"x-amzn-ErrorType": "InvalidSignatureException"}, json.dumps({"Message": said}).encode()
    return xml(403, "SignatureDoesNotMatch", said)


def failure(kind: str, asked: Asked) -> Answer:
    if kind == "cut":
        raise ConnectionAbortedError
    if kind == "html":
        return 502, {"Content-Type": "text/html"}, b"<html><body>Bad Gateway</body></html>"
    query, direct = FAILURES[kind]
    if asked.service == "ebs":
        return direct[0], {"x-amzn-ErrorType": direct[1]}, b'{"Message": "as a test asked for"}'
    return xml(*query, "as a test asked for")


def xml(status: int, code: str, message: str) -> Answer:
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    body = f"<Response><Errors>{error}</Errors><RequestID>lab</RequestID></Response>"
    return status, {"Content-Type": "text/xml"}, body.encode()
