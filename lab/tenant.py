"""A namespace made ready for migrations, as its administrator does it: the account, its rights, the hypervisor's key.

The rights are what `kubeferry manifests` prints; the pipeline is then run as that account and nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows.setup.manifests import ACCOUNT, roles

KEY_SECRET = "kubeferry-ssh"  # noqa: S105 (the name of a Secret)
TOKEN_LIFE = "4h"  # noqa: S105

Kubectl = Callable[..., str]
"""Runs kubectl as the cluster's administrator: words of its command line, `stdin` and `timeout`; gives its output."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A namespace, and the way in as the pipeline's own account."""

    namespace: str
    kubeconfig: Path


def make_ready(kubectl: Kubectl, namespace: str, folder: Path, key: Path | None) -> Tenant:
    """The account with its Role in the namespace, and the Secret with the hypervisor's private key, if there is one."""
    kubectl("apply", "--filename=-", stdin=roles((namespace,), file_probes=True))
    if key is not None:
        kubectl(
            "create", "secret", "generic", KEY_SECRET, f"--namespace={namespace}", f"--from-file=ssh-privatekey={key}"
        )
    return Tenant(namespace, account(kubectl, namespace, folder / "kubeconfig"))


def account(kubectl: Kubectl, namespace: str, path: Path, *, life: str = TOKEN_LIFE, bound_to: str = "") -> Path:
    """A kubeconfig with a token of the account, written where only we can read it. With `bound_to`, the token ends when
    the Secret of that name does."""
    bound = ("--bound-object-kind=Secret", f"--bound-object-name={bound_to}") if bound_to else ()
    token = kubectl("create", "token", ACCOUNT, f"--namespace={namespace}", f"--duration={life}", *bound).strip()
    given = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": given["clusters"],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": ACCOUNT, "context": {"cluster": given["clusters"][0]["name"], "user": ACCOUNT}}],
        "current-context": ACCOUNT,
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    return path
