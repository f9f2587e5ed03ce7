"""Auto Scaling groups: one ends what is stopped, its volumes with it, and starts another one in its place.

A machine is taken out of its group before its stop, and the group wants one less then, so that it starts nothing; on
the way back it is put in again once it runs. The API has no dry runs: whether our role may do so is asked with an
instance that does not exist, which AWS refuses by another name where it may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kubeferry.errors import Problem, SourceUnavailable
from kubeferry.model import Autostart, Concern, Severity
from kubeferry.outside import aws, stopping
from kubeferry.sources import DETACH, SCALING_GROUP

TAG = "aws:autoscaling:groupName"
NOBODY = "i-00000000000000000"
IN_SERVICE = "InService"
CHANGE_SECONDS = 900.0  # a load balancer may hold on to it for as long as its connections drain
FIRST_POLL, LONGEST_POLL = 0.2, 5.0
GROUP, PROTECTED = "group", "protected"
_ACTIONS = "DescribeAutoScalingGroups, DescribeAutoScalingInstances, DetachInstances, AttachInstances and "
_RIGHTS = f"Allow autoscaling:{_ACTIONS}SetInstanceProtection on it."


def group_of(instance: dict[str, Any]) -> str:
    """The group that an instance is in; empty for none."""
    return next((str(one.get("Value", "")) for one in instance.get("Tags", []) if one.get("Key") == TAG), "")


def problems(instance: dict[str, Any]) -> Iterator[Problem]:
    """The group that bars the stop of a running instance. Asks nobody."""
    if group := group_of(instance):
        by_hand = f"`aws autoscaling detach-instances --auto-scaling-group-name {group} --instance-ids …`"
        fix = f"Set stop.scalingGroup: detach in the policy, and plan again; or detach it: {by_hand}."
        yield Problem("power", f"the Auto Scaling group {group} ends what is stopped, its volumes with it", fix)


def concerns(scaling: Callable[[], Any], instance: dict[str, Any], name: str) -> Iterator[Concern]:
    """The group that bars the stop, and what keeps the machine from being taken out of it and put back."""
    for one in problems(instance):
        yield _critical(SCALING_GROUP, name, one)
        for other in _kept_in(scaling(), instance["InstanceId"], group_of(instance)):
            yield _critical(DETACH, name, other)


def told(scaling: Callable[[], Any], instance: dict[str, Any]) -> Autostart | None:
    """The group, and how the instance stands in it; None for none."""
    group = group_of(instance)
    if not group:
        return None
    own = _own(scaling(), instance["InstanceId"])
    if own is None:  # its tag is about to go
        return None
    protected = "yes" if own.get("ProtectedFromScaleIn") else "no"
    return Autostart(words=f"by the Auto Scaling group {group}", settings={GROUP: group, PROTECTED: protected})


def put(
    scaling: Callable[[], Any], described: Callable[[], dict[str, Any]], wanted: Autostart | None, name: str
) -> None:
    """Take the instance that is `described` out of its group, which wants one less then; or put a running one back,
    protected as it was. What was begun before and takes its time is waited for."""
    instance = described()
    own, group = instance["InstanceId"], group_of(instance)
    if group and (wanted is None or group != wanted.settings[GROUP] or _is_leaving(scaling(), own)):
        if not _is_leaving(scaling(), own):
            decrement = {"ShouldDecrementDesiredCapacity": True}
            scaling().detach_instances(InstanceIds=[own], AutoScalingGroupName=group, **decrement)
        _until(lambda: not group_of(described()), f"the Auto Scaling group {group} holds on to it", name)
        group = ""
    if wanted is not None and told(scaling, described()) != wanted:
        _put_back(scaling(), own, wanted.settings, name, attached=bool(group))


def _is_leaving(scaling: Any, own: str) -> bool:
    """Whether it is on its way out of a group, or out already while its tag still says otherwise."""
    found = _own(scaling, own)
    return found is None or str(found.get("LifecycleState", "")).startswith("Detach")


def _put_back(scaling: Any, own: str, settings: dict[str, str], name: str, *, attached: bool) -> None:
    group, protected = settings[GROUP], settings.get(PROTECTED) == "yes"
    if not attached:
        scaling.attach_instances(InstanceIds=[own], AutoScalingGroupName=group)

    def in_service() -> bool:
        return (_own(scaling, own) or {}).get("LifecycleState") == IN_SERVICE

    _until(in_service, f"the Auto Scaling group {group} does not take it into service", name)
    if bool((_own(scaling, own) or {}).get("ProtectedFromScaleIn")) != protected:
        scaling.set_instance_protection(InstanceIds=[own], AutoScalingGroupName=group, ProtectedFromScaleIn=protected)


def _kept_in(scaling: Any, own: str, group: str) -> Iterator[Problem]:
    """What keeps a machine in its group, asked without taking it out."""
    try:
        state = str((_own(scaling, own) or {}).get("LifecycleState", IN_SERVICE))
        found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    except aws.failures() as error:
        if aws.is_passing(error):
            raise
        yield Problem("group", f"its Auto Scaling group {group} may not be asked: {aws.code_of(error)}", _RIGHTS)
        return
    for one in found:
        if one["DesiredCapacity"] <= one["MinSize"]:
            what = f"its Auto Scaling group {group} wants {one['DesiredCapacity']}, and must not want less"
            yield Problem("group", what, "Lower the group's minimum size for as long as it moves.")
    if state != IN_SERVICE:
        yield Problem("group", f"it is {state} in its Auto Scaling group {group}", "Put it into service, or detach it.")
    asked = {"InstanceIds": [NOBODY], "AutoScalingGroupName": group}
    for deed, call in (
        ("be taken out of", partial(scaling.detach_instances, **asked, ShouldDecrementDesiredCapacity=False)),
        ("be put back into", partial(scaling.attach_instances, **asked)),
        ("be protected in", partial(scaling.set_instance_protection, **asked, ProtectedFromScaleIn=False)),
    ):
        try:
            call()
        except aws.failures() as error:
            if aws.is_passing(error):
                raise
            if aws.is_forbidden(error):
                what = f"it may not {deed} its Auto Scaling group {group}: {aws.code_of(error)}"
                yield Problem("group", what, _RIGHTS)


def _own(scaling: Any, own: str) -> dict[str, Any] | None:
    """How an instance stands in its group; None where it is in none."""
    told_of = scaling.describe_auto_scaling_instances(InstanceIds=[own]).get("AutoScalingInstances", [])
    return next((dict(one) for one in told_of if one.get("InstanceId") == own), None)


def _until(done: Callable[[], bool], otherwise: str, name: str) -> None:
    limit, pause = time.monotonic() + CHANGE_SECONDS, FIRST_POLL
    while not done():
        if time.monotonic() > limit:
            fix = "Look at the group's activities in the console; then run the same command again."
            raise SourceUnavailable(otherwise, why=f"it was waited for {CHANGE_SECONDS:.0f} s", fix=fix, machine=name)
        stopping.pause(pause)
        pause = min(LONGEST_POLL, pause * 1.5)


def _critical(kind: str, name: str, problem: Problem) -> Concern:
    return Concern(id=kind, severity=Severity.CRITICAL, what=f"{name}: {problem.what}", fix=problem.fix)
