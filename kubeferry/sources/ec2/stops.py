"""What a stop of an instance meets, and whether there is a way back from it: asked while it runs, and nothing is done.

Of a volume's key only its state can be asked for sure: AWS uses it in our name when the instance starts, by a grant,
and a policy may allow that and not allow us to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kubeferry.errors import Problem
from kubeferry.model import Concern, Machine, Power, Severity
from kubeferry.outside import aws
from kubeferry.sources.ec2.instance import power_of
from kubeferry.sources.ec2.marks import TAG

ALLOWED = "DryRunOperation"
KEY_STATES = {"Enabled", "Creating", "Updating"}


@dataclass(frozen=True, slots=True)
class Doubt:
    """What stands in the way back, and what to do about it. `sure`: it does, whatever else is so."""

    what: str
    fix: str
    sure: bool = False


def unstoppable(instance: dict[str, Any]) -> Iterator[Problem]:
    """What keeps a machine from being stopped so that its disks are whole and it can come back. Asks nobody."""
    if instance.get("RootDeviceType") == "instance-store":
        fix = "Make an image of it that starts from EBS, and move what is started from that."
        yield Problem("power", "its root is in the instance store: it cannot be stopped, and its disk not read", fix)
    yield from hibernated(instance)
    if power_of(instance) is not Power.RUNNING:
        return
    if (operator := instance.get("Operator") or {}).get("Managed"):
        who = operator.get("Principal") or "a service of AWS's"
        yield Problem("power", f"{who} manages it, and lets no user stop it", "Leave it out, and move its workload.")


def hibernated(instance: dict[str, Any]) -> Iterator[Problem]:
    """A machine that sleeps is off, but goes on from its memory: what it had not written yet is there."""
    asleep = "Hibernate" in str(instance.get("StateReason", {}).get("Code", ""))
    if asleep and power_of(instance) is Power.OFF:
        yield Problem("power", "it hibernates: its disks alone are not whole", "Start it, and stop it the usual way.")


def forbidden(ec2: Any, instance: dict[str, Any]) -> Iterator[Problem]:
    """What keeps us from stopping a running instance and from starting it again, asked without doing it."""
    name = instance["InstanceId"]
    yield from _refused("it may not be stopped", lambda: ec2.stop_instances(InstanceIds=[name], DryRun=True))
    yield from _refused("it may not be started again", lambda: ec2.start_instances(InstanceIds=[name], DryRun=True))
    if _attribute(ec2, instance, "disableApiStop", "DisableApiStop"):
        fix = "Switch stop protection off: `aws ec2 modify-instance-attribute --no-disable-api-stop`."
        yield Problem("power", "it is protected against being stopped", fix)
    yield from _one_time(ec2, instance)


def unseen(ec2: Any, instance: dict[str, Any]) -> Iterator[Problem]:
    """What keeps us from making snapshots of an instance, asked without doing it. Whether there is room for more, and
    whether their bytes may be read, only real ones show."""
    asked = {"InstanceSpecification": {"InstanceId": instance["InstanceId"]}, "TagSpecifications": [_TAGGED]}
    yield from _refused("no snapshots may be made of it", lambda: ec2.create_snapshots(**asked, DryRun=True))


_TAGGED = {"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": "kubeferry"}]}


def _refused(what: str, dry_run: Callable[[], Any]) -> Iterator[Problem]:
    """Why AWS would refuse a call, in words behind `what`."""
    try:
        dry_run()
    except aws.failures() as error:
        if aws.is_passing(error) and aws.code_of(error) != "IncorrectInstanceState":
            raise
        if aws.code_of(error) not in {ALLOWED, "IncorrectInstanceState"}:
            told = aws.told(error, what)
            yield Problem("power", f"{what}: {told.why}", told.fix)


def _one_time(ec2: Any, instance: dict[str, Any]) -> Iterator[Problem]:
    """A spot instance of a request that is used once can only be ended."""
    if instance.get("InstanceLifecycle") != "spot":
        return
    request = instance.get("SpotInstanceRequestId")
    told = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[request]) if request else {}
    kinds = {one.get("Type") for one in told.get("SpotInstanceRequests", [])}
    if kinds != {"persistent"}:
        fix = "Start it anew on demand from an image of it, and move that."
        yield Problem("power", "it is a spot instance of a one-time request, which cannot be stopped", fix)


def doubts(ec2: Any, instance: dict[str, Any]) -> Iterator[Doubt]:
    """What may go wrong on the way back, where nobody can say so for sure."""
    yield from _unmarkable(ec2, instance)
    if instance.get("InstanceLifecycle") == "spot":
        what = "it is a spot instance: AWS starts it again only where it has capacity at your price"
        yield Doubt(what, "Move it warm.")
    if (
        _attribute(ec2, instance, "instanceInitiatedShutdownBehavior", "InstanceInitiatedShutdownBehavior")
        == "terminate"
    ):
        yield Doubt(
            "a shutdown from inside the guest ends it for good (we ask EC2 to stop it, which does not)",
            "Set its shutdown behaviour to stop, so that nobody ends it by hand meanwhile.",
        )


def _unmarkable(ec2: Any, instance: dict[str, Any]) -> Iterator[Doubt]:
    """An instance that may not carry the mark of whom it was stopped by: a cold move needs none, another journal would.
    Who may not tag may hardly tag snapshots that are there, which a warm move does after each round."""
    try:
        tags = [{"Key": TAG, "Value": ""}]
        ec2.create_tags(Resources=[instance["InstanceId"]], Tags=tags, DryRun=True)
    except aws.failures() as error:
        if aws.is_passing(error):
            raise
        if aws.code_of(error) != ALLOWED:
            fix = (
                "Allow ec2:CreateTags and ec2:DeleteTags on instances and snapshots; else only this journal knows its "
                "power before, and it cannot be moved warm."
            )
            yield Doubt(f"our role may not mark it as stopped by us: {aws.code_of(error)}", fix)


def keys(kms: Any, volumes: dict[str, dict[str, Any]]) -> Iterator[Doubt]:
    """Volumes whose key cannot be used any more, for sure or perhaps: an instance that has one does not start again."""
    used = {str(one["KmsKeyId"]): name for name, one in sorted(volumes.items()) if one.get("KmsKeyId")}
    for key, volume in used.items():
        try:
            told = kms.describe_key(KeyId=key)["KeyMetadata"]
        except aws.failures() as error:
            what = f"whether the key of {volume} can be used is not known: {aws.code_of(error) or error}"
            yield Doubt(what, "Allow kms:DescribeKey on it; starting the machine needs kms:CreateGrant there, too.")
            continue
        if told.get("KeyState") not in KEY_STATES:
            what = f"it cannot be started again: the key of {volume} is {told.get('KeyState')}"
            yield Doubt(what, "Enable the key, or cancel its deletion.", sure=True)


def as_concerns(machine: Machine, found: list[Doubt]) -> list[Concern]:
    """Doubts are warnings; what is known to bar the way back is critical."""
    return [
        Concern(
            id="source.way-back",
            severity=Severity.CRITICAL if one.sure else Severity.WARNING,
            what=f"{machine.name}: {one.what}",
            fix=one.fix,
        )
        for one in found
    ]


def _attribute(ec2: Any, instance: dict[str, Any], name: str, key: str) -> Any:
    """An attribute of the instance; None where it may not be asked."""
    try:
        told = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute=name)
    except aws.failures() as error:
        if aws.is_passing(error):
            raise
        return None
    return told.get(key, {}).get("Value")
