"""The parts of the lab cluster that can be said without a node: names, volumes, images, definitions, settings."""

from __future__ import annotations

import base64
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from lab import injector, usual
from lab.cluster import archive, binaries, bundle, crds, dns, host, kubevirt, node, place, provisioner, status
from mappings.admission.schema import Field

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


def question(name: str, kind: int = dns.TYPE_A) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return dns.HEADER.pack(7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, dns.CLASS_INTERNET)


@given(LABELS, LABELS)
def test_question_for_a_service_is_read_back(service: str, namespace: str) -> None:
    query = dns.parse(question(f"{service}.{namespace}.svc.cluster.local"))
    assert dns.service(query.name) == (namespace, service)


@given(st.binary(max_size=60))
def test_any_datagram_is_a_question_or_a_value_error(message: bytes) -> None:
    try:
        dns.parse(message)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("address", "kind", "code", "answers"),
    [("10.96.0.1", dns.TYPE_A, 0, 1), ("10.96.0.1", 28, 0, 0), (None, dns.TYPE_A, 3, 0)],
    ids=["address", "no IPv6 of a name that exists", "no such name"],
)
def test_answer(address: str | None, kind: int, code: int, answers: int) -> None:
    asked = question("a.b.svc.cluster.local", kind)
    reply = dns.answer(dns.parse(asked), address)
    ident, flags, questions, counted, *_ = dns.HEADER.unpack_from(reply)
    assert (ident, flags & 0xF, flags >> 15, questions, counted) == (7, code, 1, 1, answers)
    assert reply[dns.HEADER.size : len(asked)] == asked[dns.HEADER.size :]
    assert not answers or reply.endswith(bytes([10, 96, 0, 1]))


def claim(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "c", "namespace": "n", "uid": "u", "annotations": {provisioner.ASKED: provisioner.NAME}},
        "spec": {
            "storageClassName": "lab",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1G"}},
        }
        | spec,
        "status": {"phase": "Pending"},
    }


def test_claim_that_another_program_fills_is_left_to_it() -> None:
    assert provisioner.wanted(claim())
    assert not provisioner.wanted(claim(dataSourceRef={"apiGroup": "cdi.kubevirt.io", "kind": "VolumeUploadSource"}))
    assert not provisioner.wanted(claim(volumeName="pv"))


def test_claim_that_nobody_scheduled_yet_is_not_served() -> None:
    waiting = claim()
    del waiting["metadata"]["annotations"]
    assert not provisioner.wanted(waiting)


@given(st.integers(1, 1 << 44))
def test_volume_holds_what_was_asked_in_whole_sectors(asked: int) -> None:
    size = provisioner.size(claim(resources={"requests": {"storage": str(asked)}}))
    assert 0 <= size - asked < provisioner.SECTOR_BYTES
    assert size % provisioner.SECTOR_BYTES == 0


def test_volume_is_bound_to_its_claim_and_kept_while_it_changes_hands() -> None:
    made = provisioner.volume(claim(volumeMode="Block"), "/dev/loop9", Path("/v/pvc-u"))
    assert made["spec"]["claimRef"]["uid"] == "u"
    assert "fsType" not in made["spec"]["local"]
    released = made | {"status": {"phase": "Released"}}
    assert provisioner.spent(released)
    released["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
    assert not provisioner.spent(released)


def test_images_that_share_a_layer_share_its_bytes(tmp_path: Path) -> None:
    layers = []
    for name in ("base", "top"):
        with archive.LayerWriter(tmp_path / name) as files:
            files.text(f"etc/{name}", name, mode=0o600, owner=107)
        layers.append(archive.read_layer(tmp_path / name))
    images = [archive.Image("localhost/a:1", (layers[0],)), archive.Image("localhost/b:1", tuple(layers), user="107")]
    archive.write(images, tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as tar:
        names = tar.getnames()
        manifest = json.loads(_content(tar, "manifest.json"))
        config = json.loads(_content(tar, manifest[1]["Config"]))
    assert len(names) == len(set(names)) == 2 + 2 + 1
    assert [entry["RepoTags"] for entry in manifest] == [["localhost/a:1"], ["localhost/b:1"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{layer.digest}" for layer in layers]
    assert config["config"]["User"] == "107"


def test_layer_keeps_owner_mode_and_capability(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    with archive.LayerWriter(tmp_path / "layer") as files:
        files.program("usr/bin/program", program, owner=107, capability=value)
    with tarfile.open(tmp_path / "layer") as tar:
        assert tar.getnames() == ["usr", "usr/bin", "usr/bin/program"]
        member = tar.getmember("usr/bin/program")
    assert (member.uid, member.gid, member.mode, member.mtime) == (107, 107, 0o755, 0)
    assert member.pax_headers["SCHILY.xattr.security.capability"].encode("latin-1") == value


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    assert member is not None
    return member.read()


def test_definitions_are_structural_and_name_their_resource() -> None:
    for one in crds.definitions():
        names = one["spec"]["names"]
        assert one["metadata"]["name"] == f"{names['plural']}.{one['spec']['group']}"
        schema = one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert schema["required"] == ["spec"]
        assert all("type" in inner or "x-kubernetes" in str(inner) for inner in _schemas(schema))


def _schemas(schema: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [*schema.get("properties", {}).values()]
    inner += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    return [schema, *(found for one in inner for found in _schemas(one))]


def test_limits_of_a_field_stand_where_they_belong() -> None:
    assert crds.field_schema(Field("str", limit=63)) == {"type": "string", "maxLength": 63}
    of_objects = crds.field_schema(Field("obj", many="[]", limit=4))
    assert of_objects == {"type": "array", "items": {"type": "object"}, "maxItems": 4}


def test_build_says_its_version_and_its_key_follows_the_version() -> None:
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.2" in binaries.linker_flags("1.34.2")
    assert binaries.key().startswith(f"{binaries.VERSION}-")
    assert f"require k8s.io/kubernetes v{binaries.VERSION}" in (binaries.MODULE / "go.mod").read_text()


def test_folder_without_the_archive_is_refused_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=place.SETTING):
        bundle.unpacked(tmp_path)


def test_lab_below_a_folder_that_the_node_has_of_its_own_is_refused() -> None:
    with pytest.raises(InputInvalid, match="/var"):
        place.Place(Path("/var/tmp/lab"), Path("/root/store")).check()


def test_down_of_a_lab_that_never_was_ends_nothing(tmp_path: Path) -> None:
    nowhere = place.Place(tmp_path / "state", tmp_path / "store")
    assert node.find(nowhere) is None
    assert host.restore_settings(nowhere) == []
    assert status.kubeconfig(nowhere) is None


def test_guests_may_run_in_restricted_namespaces_and_the_bundles_settings_stay() -> None:
    shipped = {
        "spec": {"infra": 1, "configuration": {"developerConfiguration": {"disabledFeatureGates": ["Template"]}}}
    }
    made = kubevirt.settings(shipped, emulation=True)["spec"]
    profile = made["configuration"]["seccompConfiguration"]["virtualMachineInstanceProfile"]["customProfile"]
    assert profile == {"runtimeDefaultProfile": True}
    assert made["infra"] == 1
    assert made["configuration"]["developerConfiguration"] == {
        "disabledFeatureGates": ["Template"],
        "useEmulation": True,
    }


def asked(mode: str, volume: str, by: str = provisioner.BLOCK_NAME) -> dict[str, Any]:
    made = claim(accessModes=[mode], volumeMode=volume)
    made["metadata"]["annotations"] = {provisioner.ASKED: by}
    return made


@pytest.mark.parametrize(
    ("mode", "volume", "refused"),
    [
        ("ReadWriteMany", "Filesystem", True),
        ("ReadWriteOnce", "Filesystem", False),
        ("ReadWriteMany", "Block", False),
    ],
)
def test_block_storage_makes_no_file_system_for_several_nodes(mode: str, volume: str, refused: bool) -> None:
    assert provisioner.wanted(asked(mode, volume))
    assert provisioner.refused(asked(mode, volume)) is refused
    assert not provisioner.refused(asked(mode, volume, provisioner.NAME)), "the lab's other classes make anything"
    told = provisioner.refusal(asked(mode, volume))
    assert (told["reason"], told["involvedObject"]["name"]) == ("ProvisioningFailed", "c")
    assert "only supported on raw block volumes" in told["message"]


@pytest.mark.parametrize(("size", "files"), [(10 << 20, 256), (512 << 20, 512)])
def test_a_small_volume_has_room_for_the_folders_of_a_tpm(size: int, files: int) -> None:
    """KubeVirt keeps a machine's state on 10 MiB; at one inode a MiB, five of that are for use, and the machine's pod
    does not start."""
    assert provisioner.inodes(size) == files


POD = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a"}]}}


@pytest.mark.parametrize(
    ("mode", "marks", "injected"),
    [
        ("polite", {}, True),
        ("polite", {"labels": {"sidecar.istio.io/inject": "false"}}, False),
        ("polite", {"labels": {"istio.io/dataplane-mode": "none"}}, False),
        ("polite", {"annotations": {"linkerd.io/inject": "disabled"}}, False),
        ("rude", {"labels": {"sidecar.istio.io/inject": "false"}}, True),
        ("watching", {}, False),
    ],
)
def test_an_injector_heeds_what_pods_say_unless_it_is_rude(mode: Any, marks: dict[str, Any], injected: bool) -> None:
    pod = POD | {"metadata": marks}
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "1", "namespace": "apps", "object": pod},
    }
    told, admitted = injector.answer(review, mode)
    assert admitted == injector.Admitted("apps", pod, injected)
    assert (told["response"]["uid"], told["response"]["allowed"]) == ("1", True)
    assert ("patch" in told["response"]) is injected
    if injected:
        (operation,) = json.loads(base64.b64decode(told["response"]["patch"]))
        assert (operation["path"], operation["value"]["name"]) == ("/spec/containers/-", injector.SIDECAR)


@pytest.mark.parametrize(
    ("who", "pod", "user"),
    [
        ("system:serviceaccount:kube-system:job-controller", {}, usual.FIRST_USER),
        ("system:serviceaccount:kube-system:job-controller", {"runAsUser": 107}, None),
        ("system:serviceaccount:kubevirt:kubevirt-controller", {}, None),
    ],
    ids=["no user", "one of its own", "KubeVirt's"],
)
def test_a_pod_without_a_user_is_given_one_and_a_group_as_openshift_does(
    who: str, pod: dict[str, Any], user: int | None
) -> None:
    own = {"readOnlyRootFilesystem": True}
    asked_for = {
        "metadata": {},
        "spec": {"securityContext": pod, "containers": [{"name": "a", "securityContext": own}]},
    }
    request = {"uid": "1", "namespace": "apps", "object": asked_for, "userInfo": {"username": who}}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    told, _ = injector.answer(review, "giving")
    patch = json.loads(base64.b64decode(told["response"].get("patch", "W10=")))
    values = {one["path"]: one["value"] for one in patch}
    group = {"/spec/securityContext": {"fsGroup": user}}
    assert values == ({} if user is None else group | {"/spec/containers/0/securityContext": own | {"runAsUser": user}})
