"""One cloud for tests: instances with volumes that have content, the faults to come, and the server in front."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from xml.sax.saxutils import escape

from kubeferry.outside import aws
from lab.ec2.direct import Direct
from lab.ec2.faults import KEY, SECRET, Faults, failure, out_of_time, xml
from lab.ec2.relay import Answer, Asked, serving
from lab.ec2.store import GIB, Store

ACCOUNT = "123456789012"
REGION = "eu-west-1"
PENDING_OF_A_VOLUME = 5
LOADED = 8 << 20
UEFI_ANSWER = "GetInstanceUefiDataResponse"

_NEW_KEY = re.compile(r"<AccessKeyId>([^<]+)</AccessKeyId>")
_INSTANCE = re.compile(r"<instanceId>(i-[0-9a-f]+)</instanceId>")


class Cloud:
    """A region of an account, for as long as the context lasts. Only one at a time: moto's state is the process's.

    It listens on loopback, or on another `address` of this machine, for who is elsewhere.
    """

    url: str

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address
        self.faults = Faults()
        self.store = Store()
        self.direct = Direct(self.store)
        self.calls: Counter[str] = Counter()
        self.extras: dict[str, dict[str, str]] = {}
        """What DescribeInstances says of an instance and moto does not, as XML elements and their content."""
        self.uefi: dict[str, str] = {}
        """What GetInstanceUefiData answers for an instance; without, that it has none."""
        self.shared: dict[str, list[str]] = {}
        """Instances that a volume is attached to beside the one that moto knows of (multi-attach)."""
        self._lock = threading.RLock()
        self._open = contextlib.ExitStack()
        self._clients: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Self:
        from moto.backends import get_backend
        from moto.core.botocore_stubber import BotocoreStubber

        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        for service in ("autoscaling", "ec2", "kms", "sts"):
            get_backend(service).reset()
        self._moto = BotocoreStubber()
        self.url = self._open.enter_context(serving(self._respond, self._address, self._now))
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()
        self._open.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to enter."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": REGION}

    # --- what a test sets up and looks at ----------------------------------------------------------------------------

    def client(self, service: str = "ec2", region: str = REGION) -> Any:
        """A client of botocore that this cloud accepts."""
        if (service, region) not in self._clients:
            session = aws.session()
            session.set_credentials(KEY, SECRET)
            self._clients[service, region] = session.create_client(service, region_name=region, endpoint_url=self.url)
        return self._clients[service, region]

    def launch(
        self,
        name: str,
        volumes: dict[str, int],
        *,
        kind: str = "t3.micro",
        region: str = REGION,
        tags: dict[str, str] | None = None,
        **more: Any,
    ) -> str:
        """A running instance with volumes of so many GiB by device; the first is its root. Its id."""
        ec2 = self.client(region=region)
        root = next(iter(volumes))
        image = ec2.register_image(
            Name=f"image-of-{name}", RootDeviceName=root, Architecture="x86_64", VirtualizationType="hvm"
        )
        mappings = [{"DeviceName": device, "Ebs": {"VolumeSize": size}} for device, size in volumes.items()]
        marks = [{"Key": key, "Value": value} for key, value in ({"Name": name} | (tags or {})).items()]
        found = ec2.run_instances(
            ImageId=image["ImageId"],
            InstanceType=kind,
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=mappings,
            TagSpecifications=[{"ResourceType": "instance", "Tags": marks}],
            **more,
        )["Instances"][0]["InstanceId"]
        self.extras[found] = {
            "rootDeviceName": root,
            "architecture": "x86_64",
            "currentInstanceBootMode": "legacy-bios",
            "platformDetails": "Linux/UNIX",
            "enaSupport": "true",
        }
        return str(found)

    def group(self, name: str, *members: str, least: int = 0, protected: bool = False, region: str = REGION) -> Any:
        """An Auto Scaling group of these running instances; its client."""
        client = self.client("autoscaling", region)
        client.create_launch_configuration(LaunchConfigurationName=name, ImageId="ami-1", InstanceType="t3.micro")
        shape = {"MinSize": 0, "MaxSize": 8, "DesiredCapacity": 0, "AvailabilityZones": [f"{region}a"]}
        client.create_auto_scaling_group(AutoScalingGroupName=name, LaunchConfigurationName=name, **shape)
        client.attach_instances(AutoScalingGroupName=name, InstanceIds=list(members))
        client.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=least)
        if protected:
            asked = {"InstanceIds": list(members), "ProtectedFromScaleIn": True}
            client.set_instance_protection(AutoScalingGroupName=name, **asked)
        return client

    def volumes(self, instance: str, region: str = REGION) -> dict[str, str]:
        """The volumes of an instance by device."""
        machine = self._backend(region).get_instance(instance)
        return {device: mapping.volume_id for device, mapping in machine.block_device_mapping.items()}

    def write(self, volume: str, offset: int, content: bytes | memoryview) -> None:
        """Change a volume, as its guest would."""
        with self._lock:
            self.store.write(volume, offset, content)

    def load(self, volume: str, image: Path) -> None:
        """Put the data of a raw image on a volume; its holes stay holes."""
        with image.open("rb") as file:
            end, position = os.fstat(file.fileno()).st_size, 0
            while position < end:
                try:
                    position = os.lseek(file.fileno(), position, os.SEEK_DATA)
                except OSError:  # no data behind this
                    return
                hole = os.lseek(file.fileno(), position, os.SEEK_HOLE)
                file.seek(position)
                content = file.read(min(hole - position, LOADED))
                self.write(volume, position, content)
                position += len(content)

    def snapshots(self, region: str = REGION) -> list[str]:
        """The snapshots that are there, but for those that images are made of."""
        return sorted(name for name, one in self._backend(region).snapshots.items() if one.from_ami is None)

    def resize(self, volume: str, gib: int, region: str = REGION) -> None:
        """Grow a volume."""
        self._backend(region).volumes[volume].size = gib

    def swap(self, instance: str, device: str, region: str = REGION) -> str:
        """Replace the volume at a device by an empty one of the same size; the new one's id."""
        backend = self._backend(region)
        old = backend.volumes[self.detach(instance, device, region)]
        new = backend.create_volume(size=old.size, zone_name=old.zone.name)
        self.attach(instance, device, new.id, region)
        return str(new.id)

    def exchange(self, instance: str, *devices: str, region: str = REGION) -> None:
        """The volumes at two devices change places."""
        volumes = {device: self.detach(instance, device, region) for device in devices}
        for device, other in zip(devices, reversed(devices), strict=True):
            self.attach(instance, device, volumes[other], region)

    def revert(self, instance: str, device: str, blocks: dict[int, bytes], region: str = REGION) -> str:
        """Go back to what a volume held once, as EC2 does: a volume that is made of a snapshot takes its place. The new
        one's id."""
        new = self.swap(instance, device, region)
        self.store.volumes[new] = dict(blocks)
        return new

    def detach(self, instance: str, device: str, region: str = REGION) -> str:
        """Take the volume at a device away; its id."""
        volume = self.volumes(instance, region)[device]
        self._backend(region).detach_volume(volume, instance, device)
        return volume

    def attach(self, instance: str, device: str, volume: str, region: str = REGION) -> None:
        """Put a volume at a device."""
        self._backend(region).attach_volume(volume, instance, device)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _respond(self, asked: Asked) -> Answer:
        with self._lock:
            self.calls[asked.operation] += 1
            kind = self.faults.of(asked)
        if kind is not None:
            return failure(kind, asked)
        if (refused := out_of_time(asked, self._now())) is not None:
            return refused
        if asked.service == "ebs":
            return self.direct.answer(asked.path, asked.query)
        with self._lock:
            return SPECIAL.get(asked.operation, Cloud._pass)(self, asked)

    def _now(self) -> float:
        return time.time() + self.faults.clock_ahead

    def _pass(self, asked: Asked) -> Answer:
        from botocore.awsrequest import AWSPreparedRequest

        url = f"https://{asked.service}.{asked.region}.amazonaws.com{asked.path}"
        request = AWSPreparedRequest(asked.method, url, asked.headers, asked.body, False)
        found = self._moto.process_request(request)
        if found is None:
            return 404, {}, b""
        status, headers, body = found
        kept = {name: str(value) for name, value in dict(headers).items() if name.lower() != "content-length"}
        return status, kept, body.encode() if isinstance(body, str) else body

    def _assume_role(self, asked: Asked) -> Answer:
        wanted = self.faults.roles.get(asked.form.get("RoleArn", ""))
        if wanted is not None and asked.form.get("ExternalId") != wanted:
            return xml(403, "AccessDenied", "not authorized to perform: sts:AssumeRole")
        status, headers, body = self._pass(asked)
        self.faults.keys |= set(_NEW_KEY.findall(body.decode()))
        return status, headers, body

    def _describe_instances(self, asked: Asked) -> Answer:
        status, headers, body = self._pass(asked)
        text = body.decode()

        def more(found: re.Match[str]) -> str:
            return found[0] + "".join(
                f"<{name}>{value if value.startswith('<') else escape(value)}</{name}>"
                for name, value in self.extras.get(found[1], {}).items()
            )

        for name in {name for extra in self.extras.values() for name in extra}:
            text = re.sub(rf"<{name}>.*?</{name}>", "", text, flags=re.DOTALL)  # moto's own word, where it has one
        return status, headers, _INSTANCE.sub(more, text).encode()

    def _describe_volumes(self, asked: Asked) -> Answer:
        status, headers, body = self._pass(asked)
        text = body.decode()
        for volume, instances in self.shared.items():
            items = "".join(
                f"<item><volumeId>{volume}</volumeId><instanceId>{one}</instanceId><status>attached</status></item>"
                for one in instances
            )
            until = rf"<volumeId>{volume}</volumeId>.*?<attachmentSet>"
            text = re.sub(until, lambda found, items=items: found[0] + items, text, count=1, flags=re.DOTALL)  # type: ignore[misc]
        return status, headers, text.encode()

    def _create_snapshots(self, asked: Asked) -> Answer:
        backend = self._backend(asked.region, asked.key)
        machine = backend.instances_by_id(asked.form.get("InstanceSpecification.InstanceId", ""))
        if machine is None:
            return self._pass(asked)
        left_out = {value for name, value in asked.form.items() if ".ExcludeDataVolumeId" in name}
        kept = dict(machine.block_device_mapping)
        before = set(backend.snapshots)
        busy = [
            mapping.volume_id
            for mapping in kept.values()
            if sum(1 for one in self.store.snapshots.values() if one.volume == mapping.volume_id and one.pending != 0)
            >= PENDING_OF_A_VOLUME
        ]
        if busy:
            return xml(400, "ConcurrentSnapshotLimitExceeded", f"Maximum allowed in-progress snapshots of {busy[0]}")
        for device, mapping in kept.items():
            if mapping.volume_id in left_out:
                del machine.block_device_mapping[device]
        try:
            answer = self._pass(asked)
        finally:
            machine.block_device_mapping.clear()
            machine.block_device_mapping.update(kept)
        for name in set(backend.snapshots) - before:
            made = backend.snapshots[name]
            made.volume = copy.copy(made.volume)  # moto would tell the size that the volume has later
            self.store.freeze(name, made.volume.id, made.volume.size * GIB, self.faults.pending)
            self.store.snapshots[name].failed = self.faults.failing
            made.status = "pending" if self.faults.pending != 0 else "completed"
        status, headers, body = answer
        return status, headers, body.replace(b"<status>completed<", b"<status>pending<")

    def _describe_snapshots(self, asked: Asked) -> Answer:
        backend = self._backend(asked.region, asked.key)
        for name, made in backend.snapshots.items():
            kept = self.store.snapshots.get(name)
            if kept is None:
                continue
            if kept.failed:
                made.status = "error"
            elif kept.pending == 0:
                made.status = "completed"
            elif kept.pending is not None:
                kept.pending -= 1
        return self._pass(asked)

    def _delete_snapshot(self, asked: Asked) -> Answer:
        answer = self._pass(asked)
        if answer[0] == 200:
            self.store.snapshots.pop(asked.form["SnapshotId"], None)
        return answer

    def _stop_instances(self, asked: Asked) -> Answer:
        named = [value for name, value in asked.form.items() if name.startswith("InstanceId")]
        heard = [name for name in named if name not in self.faults.deaf or asked.form.get("Force") == "true"]
        if len(heard) == len(named):
            return self._pass(asked)
        for name in set(named) - set(heard):
            machine = self._backend(asked.region, asked.key).instances_by_id(name)
            if machine is not None:
                machine._state.name, machine._state.code = "stopping", 64
        return self._nothing("StopInstances")

    def _start_instances(self, asked: Asked) -> Answer:
        backend = self._backend(asked.region, asked.key)
        for name in (value for key, value in asked.form.items() if key.startswith("InstanceId")):
            if name in self.faults.falls_back and asked.form.get("DryRun") != "true":
                code, message = self.faults.falls_back[name]
                said = f"<code>{escape(code)}</code><message>{escape(message)}</message>"
                self.extras.setdefault(name, {})["stateReason"] = said
                return self._nothing("StartInstances")  # it was pending, and is stopped again
            machine = backend.instances_by_id(name)
            if machine is not None and machine._state.name == "stopping":
                return xml(400, "IncorrectInstanceState", f"The instance '{name}' is not in a state to be started.")
            if machine is not None and machine._state.name == "stopped":
                from moto.core.utils import utcnow

                # Told in whole seconds, and no real machine stops and starts within one.
                machine.launch_time = max(utcnow(), machine.launch_time + timedelta(seconds=1))
        return self._pass(asked)

    def _uefi_data(self, asked: Asked) -> Answer:
        name = asked.form.get("InstanceId", "")
        if self._backend(asked.region, asked.key).instances_by_id(name) is None:
            return xml(400, "InvalidInstanceID.NotFound", f"The instance ID '{name}' does not exist")
        if name not in self.uefi:
            return xml(400, "UnsupportedOperation", f"The instance '{name}' has no UEFI data")
        told = f"<instanceId>{name}</instanceId><uefiData>{self.uefi[name]}</uefiData>"
        body = f'<{UEFI_ANSWER} xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{told}</{UEFI_ANSWER}>'
        return 200, {"Content-Type": "text/xml"}, body.encode()

    def _in_group(self, asked: Asked) -> Answer:
        """What is asked of a group about instances: it knows its own, and takes in who runs."""
        backend = self._backend(asked.region, asked.key)
        for name in (value for key, value in asked.form.items() if key.startswith("InstanceIds.member")):
            machine = backend.instances_by_id(name)
            if machine is None:
                return xml(400, "ValidationError", f"Invalid Instance ID(s): [{name}] specified")
            if asked.operation == "AttachInstances" and machine._state.name != "running":
                return xml(400, "ValidationError", f"Invalid Instance ID(s): [{name}]: it is not running")
        return self._pass(asked)

    def _nothing(self, operation: str) -> Answer:
        name = f"{operation}Response"
        body = f'<{name} xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><instancesSet/></{name}>'
        return 200, {"Content-Type": "text/xml"}, body.encode()

    def _backend(self, region: str, key: str = KEY) -> _Backend:
        from moto.iam.models import get_account_id_from

        return _Backend(region, get_account_id_from(key))


SPECIAL: dict[str, Callable[[Cloud, Asked], Answer]] = {
    "AssumeRole": Cloud._assume_role,
    "DescribeInstances": Cloud._describe_instances,
    "DescribeVolumes": Cloud._describe_volumes,
    "CreateSnapshots": Cloud._create_snapshots,
    "DescribeSnapshots": Cloud._describe_snapshots,
    "DeleteSnapshot": Cloud._delete_snapshot,
    "StopInstances": Cloud._stop_instances,
    "StartInstances": Cloud._start_instances,
    "GetInstanceUefiData": Cloud._uefi_data,
    "AttachInstances": Cloud._in_group,
    "DetachInstances": Cloud._in_group,
    "SetInstanceProtection": Cloud._in_group,
}
"""Operations at which moto alone would be too kind, or that it does not know."""


class _Backend:
    """moto's backend of a region and account."""

    def __init__(self, region: str, account: str) -> None:
        from moto.backends import get_backend

        self._backend: Any = get_backend("ec2")[account][region]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def instances_by_id(self, name: str) -> Any:
        """The instance, None where there is none of that name."""
        return next((one for one in self._instances() if one.id == name), None)

    def _instances(self) -> Iterator[Any]:
        for reservation in self._backend.reservations.values():
            yield from reservation.instances
