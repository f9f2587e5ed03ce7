"""What KubeVirt's admission webhooks would refuse, told before anything is applied."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Policy
from kubeferry.model import Firmware, Machine
from mappings.admission.check import admit, check_all, check_together
from mappings.machine import to_manifests
from mappings.names import machine_names

Build = Callable[..., Machine]
Manifest = dict[str, Any]


def manifests_of(machine: Machine) -> list[Manifest]:
    mapped = to_manifests(machine, Policy(), machine_names([machine], Policy())[machine.name])
    return copy.deepcopy(list(mapped.manifests))


@pytest.fixture
def vm(machine: Build) -> Manifest:
    return manifests_of(machine())[-1]


def template(vm: Manifest) -> Any:
    return vm["spec"]["template"]["spec"]


def domain(vm: Manifest) -> Any:
    return template(vm)["domain"]


def disk(vm: Manifest) -> Any:
    return domain(vm)["devices"]["disks"][0]


def nic(vm: Manifest) -> Any:
    return domain(vm)["devices"]["interfaces"][0]


def put(where: Callable[[Manifest], Any], **values: Any) -> Callable[[Manifest], None]:
    return lambda vm: where(vm).update(values)


def second_pod(vm: Manifest) -> None:
    domain(vm)["devices"]["interfaces"].append({"name": "net1", "masquerade": {}, "model": "virtio"})
    template(vm)["networks"].append({"name": "net1", "pod": {}})


def metadata(vm: Manifest) -> Any:
    return vm["metadata"]


def dedicated(**resources: Any) -> Callable[[Manifest], None]:
    """The machine's two processors its own, and these resources."""
    own = {"dedicatedCpuPlacement": True}
    return lambda vm: domain(vm).update(resources=resources, cpu=domain(vm)["cpu"] | own)


EDITS: list[tuple[Callable[[Manifest], None], str, str]] = [
    # refused by the webhook
    (put(lambda vm: vm["spec"], running=True), "runStrategy", "not the one word"),
    (lambda vm: vm["spec"].pop("runStrategy"), "runStrategy", "not the one word"),
    (put(lambda vm: domain(vm)["machine"], type="pc-i440fx-7.2"), "machine.type", "refused"),
    (put(lambda vm: domain(vm)["firmware"]["bootloader"], efi={"secureBoot": False}), "bootloader", "exactly one"),
    (put(lambda vm: domain(vm)["firmware"], bootloader={"efi": {}}), "features.smm", "secure boot needs it"),
    (put(lambda vm: vm["spec"], instancetype={"name": "u1.small"}), "instancetype", "conflicts"),
    (lambda vm: template(vm)["volumes"].clear(), "disks[vda]", "no volume"),
    (put(lambda vm: template(vm)["volumes"][0], emptyDisk={"capacity": "1Gi"}), "volumes[vda]", "2 sources"),
    (lambda vm: template(vm)["volumes"][0].pop("persistentVolumeClaim"), "volumes[vda]", "0 sources"),
    (put(disk, cdrom={"bus": "sata"}), "disks[vda]", "at once"),
    (put(disk, disk={"bus": "ide"}), "disk.bus", "'ide'"),
    (lambda vm: disk(vm).update(cdrom={"bus": "virtio"}) or disk(vm).pop("disk"), "cdrom.bus", "virtio"),
    (put(disk, disk={"bus": "sata", "readonly": True}), "readonly", "read-only SATA"),
    (put(disk, disk={"bus": "sata"}, dedicatedIOThread=True), "dedicatedIOThread", "virtio only"),
    (put(disk, serial="a b"), "serial", "characters"),
    (put(disk, cache="unsafe"), "cache", "'unsafe'"),
    (put(disk, io="io_uring"), "io", "'io_uring'"),
    (put(disk, io="native"), "io", "needs cache none"),
    (put(disk, shareable=True, cache="writeback"), "cache", "takes no cache"),
    (put(disk, errorPolicy="hope"), "errorPolicy", "'hope'"),
    (put(disk, bootOrder=0), "bootOrder", "is 0"),
    (put(nic, bootOrder=1), "devices", "boot order 1 is there 2 times"),
    (lambda vm: template(vm)["networks"].clear(), "interfaces[net0]", "no network"),
    (lambda vm: domain(vm)["devices"]["interfaces"].clear(), "interfaces[net0]", "no interface"),
    (put(nic, bridge={}), "interfaces[net0]", "2 bindings"),
    (lambda vm: nic(vm).update(slirp=nic(vm).pop("masquerade")), "slirp", "not supported"),
    (
        put(template, networks=[{"name": "net0", "multus": {"networkName": "a"}}]),
        "masquerade",
        "pod network",
    ),
    (put(template, networks=[{"name": "net0", "multus": {"networkName": ""}}]), "multus", "no name"),
    (second_pod, "networks", "first network"),
    (put(nic, model="vmxnet3"), "model", "'vmxnet3'"),
    (put(nic, macAddress="52:54:00:00:00:01:02"), "macAddress", "six pairs"),
    (put(nic, macAddress="02:00:00:00:00:00"), "macAddress", "masqueraded"),
    (put(nic, state="absent"), "state", "bridge only"),
    (put(nic, ports=[{"port": 0}]), "ports", "not a port"),
    (put(lambda vm: domain(vm)["memory"], guest="512Mi"), "maxGuest", "refused"),
    (put(lambda vm: domain(vm)["memory"], maxGuest="1Gi"), "maxGuest", "refused"),
    (put(lambda vm: domain(vm)["memory"], hugepages={"pageSize": "4Mi"}), "hugepages", "4Mi"),
    (put(lambda vm: domain(vm)["memory"], maxGuest="2560Mi", hugepages={"pageSize": "1Gi"}), "maxGuest", "refused"),
    (lambda vm: domain(vm).pop("memory"), "memory.guest", "missing"),
    (put(lambda vm: domain(vm)["cpu"], cores=0), "cpu.cores", "is 0"),
    (put(lambda vm: domain(vm)["cpu"], maxSockets=1 << 32), "cpu.maxSockets", "is 4294967296"),
    (
        put(lambda vm: domain(vm)["features"], hyperv={"spinlocks": {"spinlocks": 1 << 32}}),
        "spinlocks",
        "is 4294967296",
    ),
    (put(lambda vm: metadata(vm)["annotations"], name="ü" * (128 << 10)), "annotations", "at most 262144"),
    (put(lambda vm: domain(vm)["cpu"], threads=4, dedicatedCpuPlacement=True), "cpu.threads", "more than 2"),
    (put(lambda vm: domain(vm)["cpu"], features=[{"name": "x", "policy": "hope"}]), "features[x]", "unknown"),
    (put(domain, resources={"requests": {"cpu": 2}, "limits": {"cpu": 1}}), "requests[cpu]", "above its limit"),
    (put(lambda vm: domain(vm)["features"], hyperv={"synictimer": {"enabled": True}}), "synictimer", "needs synic"),
    (put(lambda vm: domain(vm)["clock"], timezone="Asia/Tokyo"), "domain.clock", "both"),
    (put(lambda vm: domain(vm)["devices"], video={"type": "qxl"}), "video.type", "'qxl'"),
    (put(lambda vm: domain(vm)["devices"], sound={"name": "a", "model": "sb16"}), "sound.model", "'sb16'"),
    (
        put(lambda vm: vm["spec"]["template"]["metadata"], labels={"kubevirt.io/nodeName": "a"}),
        "nodeName",
        "KubeVirt's own",
    ),
    (put(lambda vm: metadata(vm)["annotations"], **{"bad!": "v"}), "annotations[bad!]", "annotation key"),
    (put(lambda vm: metadata(vm)["annotations"], **{"/x": "v"}), "annotations[/x]", "annotation key"),
    (put(lambda vm: vm["spec"]["template"]["metadata"], annotations={"a b": ""}), "annotations[a b]", "annotation key"),
    (dedicated(requests={"cpu": "1"}, limits={"cpu": "2"}), "requests[cpu]", "is not its limit"),
    (dedicated(requests={"memory": "2Gi"}, limits={"memory": "3Gi"}), "requests[memory]", "is not its limit"),
    (dedicated(limits={"cpu": "3"}), "limits[cpu]", "not the number of processors, 2"),
    (dedicated(requests={"cpu": "1500m"}), "requests[cpu]", "whole ones"),
    # refused of the pod, at the first start
    (put(template, nodeSelector={"a b": "c"}), "nodeSelector[a b]", "label key"),
    (put(template, nodeSelector={"zone": "a b"}), "nodeSelector[zone]", "label value"),
    (put(template, priorityClassName="Very High"), "priorityClassName", "not a legal name"),
    (put(template, tolerations=[{"key": "a", "operator": "In"}]), "tolerations[0].operator", "'In'"),
    (put(template, tolerations=[{"key": "a b", "operator": "Exists"}]), "tolerations[0].key", "label key"),
    (put(template, tolerations=[{"operator": "Equal", "value": "v"}]), "tolerations[0].operator", "no key"),
    (put(template, tolerations=[{"key": "a", "operator": "Exists", "value": "v"}]), "tolerations[0].value", "none"),
    (put(template, tolerations=[{"key": "a", "value": "v w"}]), "tolerations[0].value", "label value"),
    (put(template, tolerations=[{"key": "a", "effect": "Never"}]), "tolerations[0].effect", "'Never'"),
    (put(template, tolerations=[{"key": "a", "tolerationSeconds": 5}]), "tolerationSeconds", "NoExecute only"),
    # accepted although wrong
    (put(lambda vm: domain(vm)["firmware"], uuid="web"), "firmware.uuid", "not a UUID"),
    (put(nic, macAddress="01:00:5e:00:00:01"), "macAddress", "multicast"),
    (put(nic, macAddress="00:00:00:00:00:00"), "macAddress", "all zeros"),
    (put(metadata, name="w" * 100), "metadata.name", "not a DNS label"),
    (put(metadata, namespace="a.b"), "metadata.namespace", "not a DNS label"),
    (put(metadata, labels={"a b": "c"}), "labels[a b]", "label key"),
    (put(metadata, labels={"a": "b c"}), "labels[a]", "label value"),
    (put(lambda vm: domain(vm)["cpu"], model="pentium5"), "cpu.model", "no node offers"),
    (put(lambda vm: domain(vm)["cpu"], maxSockets=1), "cpu.maxSockets", "less than sockets"),
    (lambda vm: domain(vm)["devices"]["disks"].clear(), "volumes[vda]", "no disk"),
    (lambda vm: disk(vm).update(lun=disk(vm).pop("disk"), serial="A"), "serial", "dropped for a lun"),
    (put(domain, resources={"limits": {"memory": "1Gi"}}), "limits[memory]", "below the guest's memory"),
    (put(domain, clock={"timezone": "nowhere"}), "clock.timezone", "no time zone"),
    (put(template, hostname="web.example.com"), "hostname", "not a DNS label"),
]


def test_what_we_make_is_admitted(machine: Build) -> None:
    assert check_all(manifests_of(machine())) == []
    assert check_all(manifests_of(machine(firmware=Firmware(kind="uefi", secure_boot=True)))) == []


@pytest.mark.parametrize(("edit", "where", "what"), EDITS)
def test_each_wrong_manifest_is_told(vm: Manifest, edit: Callable[[Manifest], None], where: str, what: str) -> None:
    edit(vm)
    problems = admit(vm)
    assert any(where in problem.where and what in problem.what for problem in problems), problems
    assert all(problem.fix for problem in problems)


@pytest.mark.parametrize(
    "edit",
    [
        dedicated(requests={"cpu": "2", "memory": "2Gi"}, limits={"cpu": 2, "memory": "2048Mi"}),
        dedicated(limits={"cpu": "2000m"}),
        put(template, tolerations=[{"operator": "Exists"}, {"key": "a.b/c", "effect": "NoExecute"}]),
        put(template, tolerations=[{"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]),
        put(template, priorityClassName="system-node.critical", nodeSelector={"topology.kubernetes.io/zone": "a"}),
        put(lambda vm: metadata(vm)["annotations"], **{"Example.com/Name": "any thing"}),
    ],
)
def test_what_is_right_of_placement_is_admitted(vm: Manifest, edit: Callable[[Manifest], None]) -> None:
    edit(vm)
    assert admit(vm) == []


def test_cloud_init_is_bounded(vm: Manifest) -> None:
    def told(content: dict[str, Any]) -> list[str]:
        template(vm)["volumes"][0] = {"name": "vda", "cloudInitNoCloud": content}
        return [problem.what for problem in admit(vm)]

    assert told({"userData": "x" * 2048}) == []
    assert told({"userData": "x" * 2049}) == ["is longer than 2048 bytes"]
    assert told({"userData": "x", "secretRef": {"name": "s"}}) == ["is given 2 times"]
    assert told({}) == ["holds nothing"]


def claim(**spec: Any) -> Manifest:
    full = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}} | spec
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"}, "spec": full}


def data_volume(**spec: Any) -> Manifest:
    full = {"source": {"blank": {}}, "pvc": claim()["spec"]} | spec
    return {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {"name": "a"}, "spec": full}


@pytest.mark.parametrize(
    ("manifest", "where"),
    [
        (claim(accessModes=[]), "spec.accessModes"),
        (claim(accessModes=["ReadWriteOnce", "ReadWriteMany"]), "spec.accessModes"),
        (claim(resources={"requests": {"storage": "1000k"}}), "spec.resources.requests.storage"),
        (claim(resources={}), "spec.resources.requests.storage"),
        (claim(storageClassName="No Class"), "spec.storageClassName"),
        (data_volume(storage={}), "spec"),
        (data_volume(source={"blank": {}, "upload": {}}), "spec.source"),
        (data_volume(contentType="archive"), "spec.contentType"),
        (data_volume(pvc=claim(accessModes=[])["spec"]), "spec.pvc.accessModes"),
    ],
)
def test_claims_and_data_volumes(manifest: Manifest, where: str) -> None:
    assert [problem.where.partition(": ")[2] for problem in admit(manifest)] == [where]
    assert admit(claim()) == []
    assert admit(data_volume()) == []


def test_machines_are_looked_at_together(machine: Build) -> None:
    one = manifests_of(machine())
    other = manifests_of(machine(name="other"))
    assert ["MAC address" in problem.what for problem in check_together([*one, *other])] == [True]
    assert any("is made twice" in problem.what for problem in check_together([*one, *one]))
    assert ["which nothing here makes" in problem.what for problem in check_together(one[1:])] == [True]
    nic(other[-1])["macAddress"] = "52:54:00:00:00:02"
    assert check_together([*one, *other]) == []
    template(other[-1])["volumes"][0]["persistentVolumeClaim"]["claimName"] = "web-vda"
    assert ["as default/web does" in problem.what for problem in check_together([*one, *other])] == [True]


def test_a_misshapen_manifest_is_told_before_its_rules_are_tried(vm: Manifest) -> None:
    domain(vm)["cpu"]["sockets"] = "two"
    assert len(check_all([vm])) == 1
