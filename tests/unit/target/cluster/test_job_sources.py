"""How a mover gets at its source: a key for SSH, a login for a web server, and the way there, where it is needed."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import MoverJob, MoverSettings
from kubeferry.model import DiskRef
from kubeferry.target.cluster import job_spec, names
from kubeferry.uris import NbdSsh, pinned

SSH = NbdSsh("ferry", "hv", 22, "/run/a.sock", "ssh-ed25519 AAAA").uri()
FOLDER = pinned("https://vc:8443/folder/a-flat.vmdk?dcPath=DC", "ab" * 32, login="GOVC")
STREAM = f"vmdk-stream+{pinned('https://esx/nfc/5/a.vmdk', 'ab' * 32, view='v')}"


def container(uri: str) -> tuple[dict[str, Any], dict[str, Any]]:
    root = names.ROOT
    job = MoverJob(
        name="a-web-2000-copy-0-0",
        action="copy",
        machine="web",
        disk="2000",
        source=DiskRef(uri=uri, credential="a-secret"),
        target=DiskRef(uri=f"block:{root}/apps/web/disks/web-2000"),
        state_dir=f"{root}/apps/web/state/2000",
    )
    pod = job_spec.job_manifest(job, MoverSettings(), {}, ("10.0.0.7",))["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


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
