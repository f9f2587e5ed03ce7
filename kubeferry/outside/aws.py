"""The way to AWS: clients of boto3, who logs in, and its errors in our words. The one module that knows boto3.

Credentials come from boto3's own chain; a role is entered from there and renewed by botocore before it runs out. Those
that have run out are looked for once more, in the same chain, before anybody is told.
"""

from __future__ import annotations

import functools
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from kubeferry.errors import KubeferryError, LoginLost
from kubeferry.faults import Side, refused, unavailable
from kubeferry.outside import libraries
from kubeferry.outside.logins import LOGIN as WHICH
from kubeferry.outside.logins import Login, renewing
from kubeferry.outside.patience import TimedResponse

CONNECT_SECONDS = 10
READ_SECONDS = 60
SESSION = "kubeferry"  # the name of our sessions in the account's audit trail
WORDS = 400

THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "BandwidthLimitExceeded",
    }
)
PASSING = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerException",
        "ServiceUnavailable",
        "Unavailable",
        "InsufficientInstanceCapacity",
        "IncorrectInstanceState",
        "SnapshotCreationPerVolumeRateExceeded",
        "ConcurrentSnapshotLimitExceeded",
        "RequestTimeout",
    }
)
FORBIDDEN = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "OptInRequired", "Blocked"})
FULL = frozenset({"SnapshotLimitExceeded", "ResourceLimitExceeded", "TagLimitExceeded"})
STRANGER = frozenset(
    {
        "AuthFailure",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
    }
)
RUN_OUT = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
CLOCK = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
CLOCK_OR_LOGIN = CLOCK | STRANGER | RUN_OUT
"""What AWS says of a request whose time is wrong; some of it of wrong credentials, too."""
SKEWED = timedelta(minutes=4)
"""AWS takes a time that is five minutes off, some services one that is fifteen off."""
_SIGNED_AT = re.compile(r"(\d{8}T\d{6}Z) is (?:now earlier|still later) than \d{8}T\d{6}Z \((\d{8}T\d{6}Z)")
AGAIN = "Run the same command again: it goes on where it was."
LOGIN = "Look with `aws sts get-caller-identity`; give credentials as boto3 finds them (environment, profile, role)."

_making = threading.Lock()  # botocore's sessions are not made for several threads


@dataclass(frozen=True, slots=True)
class Access:
    """One region of one account, and how it is entered."""

    region: str
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    endpoint_url: str | None = None


def client(service: str, access: Access, *, connections: int = 10, attempts: int = 6) -> Any:
    """A client of one service. `attempts` is how often botocore tries a call; 1 leaves that to the caller.

    Raises SourceRefused where the profile is not there or there are no credentials, ToolMissing without boto3.
    """
    with libraries.needed():
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=connections,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        tcp_keepalive=True,
        user_agent_appid=SESSION,
    )
    try:
        with _making:
            _be_patient()
            entered, login = _entered(access)
            made = entered.create_client(
                service, region_name=access.region, endpoint_url=access.endpoint_url, config=config
            )
            return renewing(made, login, RUN_OUT.__contains__)
    except BotoCoreError as error:
        raise told(error, "AWS cannot be entered") from error


def _be_patient() -> None:
    """botocore waits for each piece of an answer, and as often as there is one: the whole has a deadline from now on.
    Its connections are the one place where heads and bodies of all calls pass."""
    from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection

    for kind in (AWSHTTPConnection, AWSHTTPSConnection):
        kind.response_class = TimedResponse


def default_region(profile: str | None) -> str | None:
    """The region that the environment or the profile names. Raises SourceRefused where the profile is not there,
    ToolMissing without boto3."""
    with libraries.needed():
        import boto3
        from botocore.exceptions import BotoCoreError

    try:
        region: str | None = boto3.session.Session(profile_name=profile).region_name
    except BotoCoreError as error:
        raise told(error, "AWS cannot be entered") from error
    return region


def session(profile: str | None = None) -> Any:
    """A session of botocore. What it knows of AWS's services, megabytes of JSON, is read once for all of them."""
    import botocore.session

    made = botocore.session.Session(profile=profile)
    made.register_component("data_loader", _descriptions(made.get_config_variable("data_path")))
    return made


@functools.cache
def _descriptions(path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(path)


def _entered(access: Access) -> tuple[Any, Login]:
    """The profile's session, or one that enters the role from there; and its credentials."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError

    of = f"profile {access.profile}" if access.profile else ""
    source = Login(lambda: session(access.profile).get_credentials(), of)
    if not source.known:
        raise NoCredentialsError
    if access.role_arn is None:
        return _session_of(access.profile, source), source
    extra = {"RoleSessionName": SESSION} | ({"ExternalId": access.external_id} if access.external_id else {})

    def sts(name: str, **more: Any) -> Any:
        where = {"region_name": access.region, "endpoint_url": access.endpoint_url}
        made = _session_of(access.profile, source).create_client(name, **where, **more)
        return renewing(made, source, RUN_OUT.__contains__)

    fetcher = AssumeRoleCredentialFetcher(sts, source, access.role_arn, extra_args=extra)
    role = Login(
        lambda: DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role"),
        access.role_arn,
    )
    return _session_of(access.profile, role), role


def _session_of(profile: str | None, login: Login) -> Any:
    """A session that logs in with these credentials and no others."""
    from botocore.credentials import CredentialResolver

    class Given:
        """A provider of credentials as botocore has them."""

        METHOD = CANONICAL_NAME = "given"

        def load(self) -> Any:
            return login

    made = session(profile)
    made.register_component("credential_provider", CredentialResolver([Given()]))
    return made


# --- errors -----------------------------------------------------------------------------------------------------------


def failures() -> tuple[type[Exception], ...]:
    """The exceptions that boto3 raises. Raises ToolMissing without it."""
    with libraries.needed():
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

    return (BotoCoreError, ClientError, ResponseParserError, HTTPError)


def cut_short(got: int, promised: object) -> Exception:
    """The exception for an answer that ended before its length."""
    from botocore.exceptions import IncompleteReadError

    made: Exception = IncompleteReadError(actual_bytes=got, expected_bytes=promised)
    return made


def code_of(error: BaseException | None) -> str:
    """AWS's own name of an error; empty where it did not get that far."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def reason_of(error: BaseException | None) -> str:
    """What the EBS direct APIs add to the name, such as INVALID_BLOCK_TOKEN."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Reason", "") or response.get("Error", {}).get("Reason", ""))


def is_throttled(error: Exception) -> bool:
    return code_of(error) in THROTTLED


def is_forbidden(error: BaseException | None) -> bool:
    """Whether the caller was let in, and may not do this one thing."""
    return code_of(error) in FORBIDDEN


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed a moment later: throttled, a fault of the service, a lost connection."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    response = getattr(error, "response", None)
    if response:
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
        return code_of(error) in THROTTLED | PASSING or status >= 500 or status == 429
    lost = (exceptions.HTTPClientError, exceptions.ResponseStreamingError, exceptions.IncompleteReadError, HTTPError)
    # A page of HTML from something in between is no answer of AWS's.
    return isinstance(error, (*lost, ResponseParserError))


def told(error: Exception, what: str, *, machine: str = "", side: Side = Side.SOURCE) -> KubeferryError:
    """An error of boto3 in our words: transient where `is_passing`, with what to do where that is known. One that shows
    that AWS does not let us in is a LoginLost, and says since when that is seen."""
    code, why, fix = code_of(error), _words(error), "Look at what AWS says; then run the same command again."
    make = refused
    if is_passing(error):
        make, fix = unavailable, AGAIN
    elif times := _two_times(error):
        here, there = (time.strftime("%Y-%m-%d %H:%M:%S UTC") for time in times)
        what, why = f"{what}: our clock is wrong", f"it is {here} here, and {there} at AWS ({why})"
        return LoginLost(what, why=why, fix=f"Set the clock of the machine that asked. {AGAIN}", machine=machine)
    elif code in STRANGER or _is_login(error):
        return LoginLost(f"{what}: AWS does not accept our credentials", why=why, fix=LOGIN, machine=machine)
    elif code in RUN_OUT:
        which = (getattr(error, "response", None) or {}).get("Error", {}).get(WHICH, "those that boto3 finds")
        why = f"AWS does not take {which}, since {_said_at(error):%Y-%m-%d %H:%M:%S} UTC ({why})"
        clock = f"if they are valid, set this host's clock, which says {datetime.now(UTC):%H:%M:%S} UTC"
        fix = f"Renew them; {clock}. {AGAIN}"
        return LoginLost(f"{what}: our credentials have run out", why=why, fix=fix, machine=machine)
    elif code in FORBIDDEN:
        what, fix = f"{what}: our role may not do that", "Give it the permissions that docs/operations.md names."
    elif code in FULL:
        fix = f"Delete what nobody needs, or ask for a higher quota. {AGAIN}"
    found = make(side, what, why=why, fix=fix)
    found.machine = machine
    return found


def _said_at(error: BaseException) -> datetime:
    """When AWS said so, by its own clock; by ours where the answer has no date."""
    headers = (getattr(error, "response", None) or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC)


def _two_times(error: BaseException) -> tuple[datetime, datetime] | None:
    """The time here and at AWS, where they are too far apart for it to believe us."""
    if code_of(error) not in CLOCK_OR_LOGIN:
        return None
    signed = _SIGNED_AT.search(str((getattr(error, "response", None) or {}).get("Error", {}).get("Message", "")))
    if signed:
        here, there = (datetime.strptime(one, "%Y%m%dT%H%M%S%z") for one in signed.groups())
    else:
        here, there = datetime.now(UTC), _said_at(error)
    return (here, there) if abs(here - there) > SKEWED or code_of(error) in CLOCK else None


def _is_login(error: Exception) -> bool:
    from botocore import exceptions

    return isinstance(
        error,
        (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.ProfileNotFound,
            exceptions.TokenRetrievalError,
            exceptions.SSOError,
            exceptions.RefreshWithMFAUnsupportedError,
        ),
    )


def _words(error: Exception) -> str:
    """What was said, on one line; AWS encodes whole policies into some of its messages."""
    if code := code_of(error):
        message = str(getattr(error, "response", {}).get("Error", {}).get("Message", ""))
        reason = reason_of(error)
        text = f"{code}{f' ({reason})' if reason else ''}: {message.partition('Encoded authorization')[0]}"
    else:
        text = str(error)
    return " ".join(text.split())[:WORDS]
