"""Hooks: what is run at fixed points of a machine's cutover, and what the cutover rests on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kubeferry.documents.base import EnvName, ShortName
from kubeferry.documents.notify import address_problem
from kubeferry.passwords import carried
from kubeferry.shapes import Value

LONGEST_SECONDS = 3600.0
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")]
Word = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
_OURS = frozenset({"authorization", "content-length", "content-type", "host", "idempotency-key", "user-agent"})


class HookPhase(StrEnum):
    """When a hook is run.

    `before-stop`: the cutover has begun, and nobody has asked the source to stop. `after-stop`: the source is confirmed
    off, and nothing is copied yet. `after-start`: the copy is started, and its probes are asked next. `after-commit`:
    the machine has moved. `after-rollback`: a cutover was taken back, and the source is as it was.
    """

    BEFORE_STOP = "before-stop"
    AFTER_STOP = "after-stop"
    AFTER_START = "after-start"
    AFTER_COMMIT = "after-commit"
    AFTER_ROLLBACK = "after-rollback"

    @property
    def at_end(self) -> bool:
        """Whether the move has come to its end by then: nothing is led back by what fails."""
        return self in {HookPhase.AFTER_COMMIT, HookPhase.AFTER_ROLLBACK}

    @property
    def at_source(self) -> bool:
        """Whether it is the source that runs then, and not its copy."""
        return self in {HookPhase.BEFORE_STOP, HookPhase.AFTER_ROLLBACK}


class Hook(Value):
    """One thing to run `on` a phase, within `timeout_seconds`; one that fails, or takes longer, fails its step.

    command: `argv`, a program of the host that drives the move and its words, without a shell. http: a POST to `url`,
    or to the address in the variable `url_env` where that is itself a secret; any answer but one of 200 to 299 is a
    failure, and no redirect is followed. `token_env` names the variable with a bearer token, and `headers_env` those
    with the values of further headers. guest: `argv`, a program of the machine's system, run by its guest agent: of the
    source where that runs, else of the copy.
    """

    name: ShortName
    on: HookPhase
    kind: Literal["command", "http", "guest"]
    argv: Annotated[tuple[Word, ...], Field(min_length=1, max_length=256)] | None = None
    url: str | None = None
    url_env: EnvName | None = None
    token_env: EnvName | None = None
    headers_env: dict[HeaderName, EnvName] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)] = 60.0

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None and (problem := address_problem(url) or carried(url)):
            raise ValueError(problem)
        return url

    @field_validator("headers_env")
    @classmethod
    def _are_free(cls, named: dict[str, str] | None) -> dict[str, str] | None:
        for name in named or {}:
            if name.lower() in _OURS:
                raise ValueError(f"{name} is set by kubeferry; a bearer token goes into tokenEnv")
        return named

    @model_validator(mode="after")
    def _complete(self) -> Hook:
        if self.kind == "http" and (self.url is None) == (self.url_env is None):
            raise ValueError("a hook of kind http needs either url, or urlEnv for an address that is a secret")
        if self.kind != "http" and not (self.argv and self.argv[0]):
            raise ValueError(f"a hook of kind {self.kind} needs argv: a program and its words")
        if self.kind == "guest" and self.on is HookPhase.AFTER_STOP:
            raise ValueError("after the stop no system runs that could run it: use before-stop or after-start")
        return self

    @model_validator(mode="after")
    def _fitting(self) -> Hook:
        only = ("argv",) if self.kind == "http" else ("url", "url_env", "token_env", "headers_env")
        if foreign := [name for name in only if getattr(self, name) is not None]:
            raise ValueError(f"a hook of kind {self.kind} has no {', '.join(foreign)}")
        return self

    @property
    def variables(self) -> tuple[str, ...]:
        """Those of the environment that it needs."""
        return tuple(filter(None, (self.url_env, self.token_env, *(self.headers_env or {}).values())))


class PlannedHook(Hook):
    """A hook as a machine's entry has it. `of_app`: it is one of the machine's app, and run by this machine for it."""

    of_app: bool | None = None


def check_names(hooks: tuple[Hook, ...] | None) -> None:
    """No two hooks of one phase have one name: what was run is known by it. Raises ValueError."""
    seen = set[tuple[str, str]]()
    for hook in hooks or ():
        if (hook.on, hook.name) in seen:
            raise ValueError(f"two hooks {hook.on} are called {hook.name}")
        seen.add((hook.on, hook.name))
