"""How a mover gets at its source: a key for SSH, a login for a web server or AWS, and the way there."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from kubeferry.documents import MoverJob, MoverSettings
from kubeferry.errors import SourceRefused
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import job_spec, jobs, names
from kubeferry.uris import EbsSnapshot, NbdSsh, pinned

SSH = NbdSsh("ferry", "hv", 22, "/run/a.sock", "ssh-ed25519 AAAA").uri()
FOLDER = pinned("https://vc:8443/folder/a-flat.vmdk?dcPath=DC", "ab" * 32, login="GOVC")
STREAM = f"vmdk-stream+{pinned('https://esx/nfc/5/a.vmdk', 'ab' * 32, view='v')}"


AWS = EbsSnapshot("eu-west-1", "snap-00000001", role_arn="arn:aws:iam::111122223333:role/ferry").uri()


def job(uri: str, credential: str | None = "a-secret") -> MoverJob:
    root = names.ROOT
    return MoverJob(
        name="a-web-2000-copy-0-0",
        action="copy",
        machine="web",
        disk="2000",
        source=DiskRef(uri=uri, credential=credential),
        target=DiskRef(uri=f"block:{root}/apps/web/disks/web-2000"),
        state_dir=f"{root}/apps/web/state/2000",
    )


def container(
    uri: str, credential: str | None = "a-secret", addresses: tuple[str, ...] = ("10.0.0.7",)
) -> tuple[dict[str, Any], dict[str, Any]]:
    made = job_spec.job_manifest(job(uri, credential), MoverSettings(), {}, addresses)
    pod = made["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def endpoint(url: str) -> str:
    return EbsSnapshot("eu-west-1", "snap-00000001", endpoint_url=url).uri()


def policy(uri: str) -> list[dict[str, Any]]:
    far = job_spec.far_end(job(uri))
    assert far is not None
    made = job_spec.network_policy("apps", "f" * 64, {far})
    assert job_spec.allowed_ends(made) == {far}
    return list(made["spec"]["egress"])


def test_a_hypervisor_behind_ssh_is_given_the_key_as_a_file() -> None:
    pod, mover = container(SSH)
    assert [one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one] == ["a-secret"]
    assert [one["name"] for one in mover["env"]] == ["KUBEFERRY_SSH_KEY"]
    assert "envFrom" not in mover
    assert pod["hostAliases"] == [{"ip": "10.0.0.7", "hostnames": ["hv"]}]


@pytest.mark.parametrize(("uri", "host"), [(FOLDER, "vc"), (STREAM, "esx")])
def test_a_web_server_is_given_the_login_as_its_environment(uri: str, host: str) -> None:
    pod, mover = container(uri)
    assert not [one for one in pod["volumes"] if "secret" in one]
    assert mover["envFrom"] == [{"secretRef": {"name": "a-secret"}}]
    assert "env" not in mover
    assert pod["hostAliases"] == [{"ip": "10.0.0.7", "hostnames": [host]}]


def test_a_snapshot_is_given_the_keys_of_its_account_as_boto3_names_them() -> None:
    pod, mover = container(AWS)
    assert not [one for one in pod["volumes"] if "secret" in one], "a key of AWS is none for SSH"
    assert mover["envFrom"] == [{"secretRef": {"name": "a-secret"}}]
    assert "env" not in mover
    assert "hostAliases" not in pod, "the pod asks for addresses that change"


def test_without_a_secret_a_snapshots_mover_is_given_nothing() -> None:
    pod, mover = container(AWS, None)
    assert not [one for one in pod["volumes"] if "secret" in one]
    assert not {"env", "envFrom"} & mover.keys()


def test_an_nbd_server_with_tls_is_shown_certificates_from_files() -> None:
    pod, mover = container("nbds://disks.example:10809/vda?tls-hostname=disks")
    (volume,) = (one for one in pod["volumes"] if "secret" in one)
    assert volume["secret"] == {"secretName": "a-secret", "defaultMode": 0o440}
    (mount,) = (one for one in mover["volumeMounts"] if one["name"] == volume["name"])
    assert mover["env"] == [{"name": "KUBEFERRY_NBD_CERTIFICATES", "value": mount["mountPath"]}]
    assert mount["readOnly"] is True


@pytest.mark.parametrize("uri", ["ebs://eu-west-1/snap-00000001?what=is-this", "nbd+ssh://hv"])
def test_what_is_not_understood_is_given_no_secret(uri: str) -> None:
    pod, mover = container(uri)
    assert not [one for one in pod["volumes"] if "secret" in one]
    assert not {"env", "envFrom"} & mover.keys()


@pytest.mark.parametrize(
    ("uri", "port"),
    [(AWS, 443), (endpoint("https://vpce-1.ebs.example"), 443), (endpoint("http://aws.lab:4566"), 4566)],
)
def test_a_name_of_aws_is_reached_wherever_it_is_and_asked_for(uri: str, port: int) -> None:
    everywhere, dns = policy(uri)
    assert everywhere == {
        "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}],
        "ports": [{"protocol": "TCP", "port": port}],
    }
    assert dns == {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }


@pytest.mark.parametrize(
    ("url", "cidr", "port"),
    [
        ("http://192.0.2.7:4566", "192.0.2.7/32", 4566),
        ("http://192.0.2.7", "192.0.2.7/32", 80),
        ("https://[2001:db8::7]/aws", "2001:db8::7/128", 443),
    ],
)
def test_an_endpoint_with_an_address_is_all_that_its_mover_reaches(url: str, cidr: str, port: int) -> None:
    assert policy(endpoint(url)) == [
        {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"protocol": "TCP", "port": port}]}
    ]
    address = cidr.partition("/")[0]
    assert "hostAliases" not in container(endpoint(url), addresses=(address,))[0]


@pytest.mark.parametrize("url", ["http://192.0.2.7:99999", "ftp://192.0.2.7"])
def test_an_endpoint_that_is_none_is_no_way_out(url: str) -> None:
    assert job_spec.far_end(job(endpoint(url))) is None


def test_a_policy_that_is_widened_keeps_what_it_allowed() -> None:
    ends = {("192.0.2.7", 22), (job_spec.ANYWHERE, 443), (job_spec.ANYWHERE, 8443)}
    made = job_spec.network_policy("apps", "f" * 64, ends)
    assert job_spec.allowed_ends(made) == ends
    assert len(made["spec"]["egress"]) == 4, "DNS once"


def test_only_who_must_ask_reaches_the_clusters_dns() -> None:
    made = job_spec.network_policy("apps", "f" * 64, {("192.0.2.7", 22), ("192.0.2.8", 443)})
    assert "namespaceSelector" not in str(made)


def test_a_mover_may_reach_a_server_of_nbd_with_tls() -> None:
    assert job_spec.far_end(job("nbds://store:10810/web?tls-hostname=disks")) == ("store", 10810)


def test_a_host_of_both_families_is_named_with_both_addresses() -> None:
    pod, _ = container(SSH, addresses=("10.0.0.7", "2001:db8::7"))
    assert pod["hostAliases"] == [
        {"ip": "10.0.0.7", "hostnames": ["hv"]},
        {"ip": "2001:db8::7", "hostnames": ["hv"]},
    ]


def test_a_host_on_this_link_only_has_no_way_for_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    link = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 22, 0, 2))]
    monkeypatch.setattr("kubeferry.targets.kubevirt.jobs.socket.getaddrinfo", lambda *_args, **_options: link)
    with pytest.raises(SourceRefused, match="own link only"):
        jobs._ends(job(SSH))
    both = [*link, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 22))]
    monkeypatch.setattr("kubeferry.targets.kubevirt.jobs.socket.getaddrinfo", lambda *_args, **_options: both)
    assert jobs._ends(job(SSH)) == [("10.0.0.7", 22)]
