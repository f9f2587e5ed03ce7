"""An instance as EC2 describes it now, its stop, and its start, which EC2 may take and not do."""

from __future__ import annotations

import re
import time
from typing import Any

from kubeferry.documents import StopPolicy
from kubeferry.errors import SourceGone, SourceRefused, SourceUnavailable
from kubeferry.model import Machine, Power
from kubeferry.outside import aws, clock, stopping
from kubeferry.sources import Stopped, WentOff
from kubeferry.sources.ec2.instance import GONE, power_of

FORCED_STOP_SECONDS = 600.0
START_SECONDS = 600.0
SETTLE_SECONDS = 15.0  # a start may not be seen at once
FIRST_POLL, LONGEST_POLL = 0.2, 5.0
NO_MACHINE = frozenset({"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"})
CAPACITY = "Server.InsufficientInstanceCapacity"
FROM_INSIDE = "Client.InstanceInitiatedShutdown"
# `User initiated (2026-11-29 10:44:39 GMT)`: when a stop was asked for, by whatever user of the account.
_ASKED = re.compile(r"\((\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) (?:GMT|UTC)\)")
_FIXES = {
    CAPACITY: "AWS has no room for its type in this zone: run the same command again later, or give it another type.",
    "Client.InternalError": "Its volumes' key most often: let our role use kms:CreateGrant on it, and see that it is "
    "enabled. Then run the same command again.",
    "Client.VolumeLimitExceeded": "Raise the account's quota of volumes, then run the same command again.",
    FROM_INSIDE: "It started, and its system shut it down: look at its console.",
}


def gone(machine: str) -> SourceGone:
    """The error for an instance that is not there any more."""
    fix = "Discover and plan again."
    return SourceGone("the source has no such machine any more", fix=fix, machine=machine)


def instance_of(ec2: Any, machine: Machine) -> dict[str, Any]:
    """The instance as EC2 describes it now. One that was ended is listed for a while; it is gone all the same."""
    found = described(ec2, machine.id)
    if found is None:
        raise gone(machine.name)
    return found


def described(ec2: Any, name: str) -> dict[str, Any] | None:
    """None for an instance that is gone."""
    try:
        answer = ec2.describe_instances(InstanceIds=[name])
    except aws.failures() as error:
        if aws.code_of(error) in NO_MACHINE:
            return None
        raise
    listed: list[dict[str, Any]] = [one for held in answer.get("Reservations", []) for one in held.get("Instances", [])]
    return next((one for one in listed if _state(one) not in GONE), None)


def stop(ec2: Any, machine: Machine, policy: StopPolicy) -> Stopped:
    """Stop it as its system does, then hard where the policy says so. Raises SourceRefused where it runs on."""
    if power_of(instance_of(ec2, machine)) is Power.OFF:
        return Stopped("already-off", clock.now())
    ec2.stop_instances(InstanceIds=[machine.id])
    seconds = policy.agent_seconds + policy.acpi_seconds
    if _becomes_off(ec2, machine, seconds):
        return Stopped("acpi", clock.now())
    if policy.force:
        ec2.stop_instances(InstanceIds=[machine.id], Force=True)
        if _becomes_off(ec2, machine, FORCED_STOP_SECONDS):
            return Stopped("forced", clock.now())
    raise SourceRefused(
        "the machine does not stop",
        why=f"EC2 was asked to stop it, and it was not off after {seconds:.0f} s",
        fix="EC2 may still stop it: look at it, then run this again; or raise stop.acpiSeconds, or set "
        "stop.force in the policy, and plan again.",
        machine=machine.name,
    )


def went_off(instance: dict[str, Any]) -> WentOff:
    """By EC2's own words: whether its system has shut itself down, or somebody asked EC2 for that, and when."""
    code, _ = _reason(instance)
    if code == FROM_INSIDE:
        return WentOff(by="its own system, which EC2 was not asked to stop")
    found = _ASKED.search(str(instance.get("StateTransitionReason", "")))
    return WentOff(at=f"{found[1]}T{found[2]}+00:00", asked=True) if found else WentOff()


def start(ec2: Any, machine: Machine) -> None:
    """Start it, and see it run. Raises SourceRefused, or SourceUnavailable where that may pass, with EC2's own reason
    as soon as it falls back to stopped."""
    found = instance_of(ec2, machine)
    if _state(found) == "stopping":
        if not _becomes_off(ec2, machine, START_SECONDS):
            fix = "Run the same command again."
            raise SourceUnavailable("the machine is still stopping", fix=fix, machine=machine.name)
        found = instance_of(ec2, machine)
    before = _reason(found)
    begun, pause, was_up = time.monotonic(), FIRST_POLL, _state(found) in {"running", "pending"}
    if not was_up:
        ec2.start_instances(InstanceIds=[machine.id])
    while _state(found := instance_of(ec2, machine)) != "running":
        waited = time.monotonic() - begun
        was_up = was_up or _state(found) == "pending"
        if _state(found) == "stopped" and (was_up or _reason(found) != before or waited > SETTLE_SECONDS):
            raise _fell_back(found, machine)
        if waited > START_SECONDS:
            fix = "Look at it in the console; then run the same command again."
            raise SourceUnavailable("the machine does not start", fix=fix, machine=machine.name)
        stopping.pause(pause)
        pause = min(LONGEST_POLL, pause * 1.5)


def _fell_back(instance: dict[str, Any], machine: Machine) -> SourceRefused | SourceUnavailable:
    code, message = _reason(instance)
    kind = SourceUnavailable if code == CAPACITY else SourceRefused
    return kind(
        "the machine was started, and fell back to stopped",
        why=f"EC2 says {code}: {message.removeprefix(f'{code}: ')}" if code else "EC2 gives no reason",
        fix=_FIXES.get(code, "Look at it in the console; then run the same command again."),
        machine=machine.name,
    )


def _reason(instance: dict[str, Any]) -> tuple[str, str]:
    """Why it is in its state, in EC2's words."""
    told = instance.get("StateReason") or {}
    return str(told.get("Code", "")), str(told.get("Message", ""))


def _state(instance: dict[str, Any]) -> str:
    return str(instance.get("State", {}).get("Name", "unknown"))


def _becomes_off(ec2: Any, machine: Machine, seconds: float) -> bool:
    limit, pause = time.monotonic() + seconds, FIRST_POLL
    while _state(instance_of(ec2, machine)) != "stopped":
        if time.monotonic() > limit:
            return False
        stopping.pause(pause)
        pause = min(LONGEST_POLL, pause * 1.5)
    return True
