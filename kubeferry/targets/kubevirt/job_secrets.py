"""What lets a mover in at its source: the Secret that a reference names, as files or as environment. Pure.

A Secret is named, never read: the pod has it from the cluster. What only a mover may read comes to it in one that is
made for it, has its Job's name, and goes with that.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from kubeferry.jobs import MoverJob
from kubeferry.targets.kubevirt import names
from kubeferry.targets.kubevirt.kinds import JOB, SECRET
from kubeferry.uris import HELD, HELD_FILE, ebs_snapshot, nbd_ssh, nbd_tls, web_end

KEY_FOLDER = "/etc/kubeferry/ssh"
KEY_FILE = "ssh-privatekey"
CERTIFICATES_FOLDER = "/etc/kubeferry/nbd"
HELD_FOLDER = "/etc/kubeferry/held"
HELD_KEY = "held"
# Of root, readable by the group: what OpenSSH takes from a user who is not its owner.
KEY_MODE = 0o440

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """Parts of the pod (`volumes`) and of its container."""

    volumes: list[Object] = field(default_factory=list)
    mounts: list[Object] = field(default_factory=list)
    environment: list[Object] = field(default_factory=list)
    environment_from: list[Object] = field(default_factory=list)


def given(job: MoverJob) -> Given:
    """What the job's source asks for: a key for SSH, certificates for NBD with TLS, a login of a web server or the keys
    of an AWS account (their names in the environment are the keys of the Secret). Nothing where it names no Secret."""
    if job.source is not None and job.source.uri == HELD:
        content = {"secretName": names.job_name(job), "defaultMode": KEY_MODE}
        return _files("held", HELD_FOLDER, content, HELD_FILE, f"{HELD_FOLDER}/{HELD_KEY}")
    secret = job.source.credential if job.source else None
    if job.source is None or secret is None:
        return Given()
    if nbd_ssh(job.source.uri) is not None:
        items = [{"key": KEY_FILE, "path": KEY_FILE}]
        content = {"secretName": secret, "defaultMode": KEY_MODE, "items": items}
        return _files("ssh", KEY_FOLDER, content, "KUBEFERRY_SSH_KEY", f"{KEY_FOLDER}/{KEY_FILE}")
    if nbd_tls(job.source.uri) is not None:
        content = {"secretName": secret, "defaultMode": KEY_MODE}
        return _files("nbd", CERTIFICATES_FOLDER, content, "KUBEFERRY_NBD_CERTIFICATES", CERTIFICATES_FOLDER)
    if web_end(job.source.uri) is not None or ebs_snapshot(job.source.uri) is not None:
        return Given(environment_from=[{"secretRef": {"name": secret}}])
    return Given()


def held_secret(owner: Object, held: bytes) -> Object:
    """The Secret that hands this to the mover of a Job that is there: the Job owns it."""
    metadata = owner["metadata"]
    owned = {"apiVersion": JOB.api_version, "kind": JOB.name, "name": metadata["name"], "uid": metadata["uid"]}
    labels = {key: metadata["labels"][key] for key in (names.MANAGED_BY, names.MACHINE_LABEL)}
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owned],
        },
        "immutable": True,
        "type": "Opaque",
        "data": {HELD_KEY: base64.b64encode(held).decode("ascii")},
    }


def _files(name: str, folder: str, secret: Object, variable: str, value: str) -> Given:
    return Given(
        volumes=[{"name": name, "secret": secret}],
        mounts=[{"name": name, "mountPath": folder, "readOnly": True}],
        environment=[{"name": variable, "value": value}],
    )
