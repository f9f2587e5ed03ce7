"""kubeferry installed in a real cluster from `deploy/install`: a worker in it moves a machine, started from a deployment.

As an administrator would: the folder that `kubeferry manifests --install` writes, with images, a configuration and
Secrets of his own, put in place by kustomize. The source is the lab's cloud, which pods reach over the node; the target
is real KubeVirt. What this does not show: the lab's network enforces no NetworkPolicy, so those are seen to be accepted
and no more; no proxy runs, its example is put to the API server only.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.setup.manifests import roles, write_install
from kubeferry.outside.process import Completed, run
from lab import guests
from lab.cluster import containers, install_images, mover_image, node, place
from lab.cluster.network import OUTSIDE_ADDRESS
from lab.ec2 import Cloud
from lab.ground import RESTRICTED, Ground, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.usefixtures("kubevirt")]

HOME = "kubeferry"
NAMESPACE = "kubeferry-landed"
MIB = 1 << 20
POLICY = {
    "apiVersion": "kubeferry.io/v1alpha1",
    "kind": "Policy",
    "namespace": NAMESPACE,
    "stop": {"agentSeconds": 5, "acpiSeconds": 5},
    "probes": [{"kind": "agent", "timeoutSeconds": 240}],
    "machines": {"web": {"diskBus": "virtio", "accept": ["probe.agent-unsure"]}},  # we know our guest
}


@dataclass(frozen=True)
class Installed:
    """What was installed, and the machine that is to move."""

    ground: Ground
    folder: Path
    cloud: Cloud
    instance: str

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 60) -> Completed:
        """What kubectl says, its warnings included."""
        argv = [self.ground.program, f"--kubeconfig={self.ground.kubeconfig}", *words]
        return run(argv, stdin=stdin, timeout=timeout)

    def inside(self, *words: str, stdin: str | None = None, check: bool = True, timeout: float = 120) -> str:
        """A command in the worker's container, as an operator types it there."""
        argv = [self.ground.program, f"--kubeconfig={self.ground.kubeconfig}", f"--namespace={HOME}"]
        argv += ["exec", "--stdin", "deployment/kubeferry-worker", "--", *words]
        done = run(argv, stdin=stdin, check=False, timeout=timeout)
        assert not check or done.code == 0, f"{words}:\n{done.out[-4000:]}\n{done.err[-4000:]}"
        return done.out

    def page(self, service: str, port: int, path: str) -> str:
        """What a service answers."""
        address = self.ground.read("get", "service", service, f"--namespace={HOME}")["spec"]["clusterIP"]
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=30) as answer:  # noqa: S310 (ours)
            return str(answer.read().decode())

    def status(self) -> Any:
        return json.loads(self.inside("kubeferry", "status", "--plan", "shop", "--json"))


@pytest.fixture(scope="module")
def images(own: Ground) -> None:
    """kubeferry's own image and PostgreSQL's are on the node."""
    running = node.find(place.own())
    assert running is not None
    for archive in (install_images.kubeferry(), install_images.postgres()):
        containers.load(running, archive)


@pytest.fixture(scope="module")
def cloud(own: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    disk = guests.build_guest(guests.Spec("web", size=192 * MIB, payload=8 * MIB), tmp_path_factory.mktemp("g") / "web")
    with Cloud(OUTSIDE_ADDRESS) as made:
        instance = made.launch("web", {"/dev/xvda": 1})
        made.load(made.volumes(instance)["/dev/xvda"], disk)
        yield made


@pytest.fixture(scope="module")
def installed(
    own: Ground, images: None, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """All of it runs. Afterwards nothing of it is left."""
    folder = tmp_path_factory.mktemp("install") / "install"
    write_install(folder)
    configure(folder, cloud)
    (instance,) = (one["InstanceId"] for one in cloud.client().describe_instances()["Reservations"][0]["Instances"])
    made = Installed(own, folder, cloud, instance)
    try:
        prepare(made)
        said = made.kubectl("apply", "--server-side", f"--kustomize={folder / 'whole'}", timeout=120)
        assert "Warning" not in said.err, said.err
        secrets_of(made)
        for what in ("statefulset/kubeferry-postgres", "deployment/kubeferry-server", "deployment/kubeferry-metrics"):
            made.kubectl("rollout", "status", what, f"--namespace={HOME}", "--timeout=180s", timeout=200)
        made.kubectl(
            "rollout", "status", "deployment/kubeferry-worker", f"--namespace={HOME}", "--timeout=180s", timeout=200
        )
        yield made
    finally:
        for name in (HOME, NAMESPACE):
            own.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
        own.kubectl("delete", "clusterrolebinding", f"kubeferry-{NAMESPACE}", "--ignore-not-found")


def configure(folder: Path, cloud: Cloud) -> None:
    """What an administrator writes into the folder: his configuration, his images."""
    path = folder / "whole" / "kubeferry.yaml"
    config = yaml.safe_load(path.read_text())
    config["sources"] = {"cloud": {"kind": "aws", "aws": {"endpointUrl": cloud.url, "regions": ["eu-west-1"]}}}
    config["target"]["movers"] = {"image": mover_image.MOVER, "pullPolicy": "Never", "startSeconds": 90}
    path.write_text(yaml.safe_dump(config))
    names = {"kubeferry": install_images.KUBEFERRY, "postgres": install_images.POSTGRES}
    for part in ("whole", "restore"):
        path = folder / part / "kustomization.yaml"
        kustomization = yaml.safe_load(path.read_text())
        for image in kustomization["images"]:
            image["newName"], _, image["newTag"] = names[image["name"]].rpartition(":")
        path.write_text(yaml.safe_dump(kustomization))


def prepare(made: Installed) -> None:
    """Where machines land: a namespace, the rights of the account in it, the movers' way into the cloud."""
    made.ground.kubectl("delete", "namespace", HOME, NAMESPACE, "--ignore-not-found", timeout=120)
    made.ground.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    made.ground.kubectl("apply", "--filename=-", stdin=roles((NAMESPACE,), account_namespace=HOME))
    made.ground.apply(secret("kubeferry-aws", made.cloud.environment, NAMESPACE))


def secrets_of(made: Installed) -> None:
    """The Secrets that docs/operations.md names."""
    made.ground.apply(
        secret("kubeferry-database", {"prefect": "p'\"\\ " + secrets.token_hex(8), "kubeferry": secrets.token_hex(8)}),
        secret("kubeferry-login", {"auth-string": f"ferry:{secrets.token_hex(8)}"}),
        secret("kubeferry-sources", made.cloud.environment),
    )


def secret(name: str, values: dict[str, str], namespace: str = HOME) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def test_a_worker_in_the_cluster_moves_a_machine_that_was_started_from_a_deployment(installed: Installed) -> None:
    installed.inside("sh", "-c", "cat >policy.yaml", stdin=yaml.safe_dump(POLICY))
    installed.inside("kubeferry", "discover")
    installed.inside("kubeferry", "plan", "inventory.yaml", "--policy", "policy.yaml", "--name", "shop")
    installed.inside("kubeferry", "deploy", "plan.yaml", "--policy", "policy.yaml", "--caretake-every", "0")
    told = installed.inside("prefect", "deployment", "run", "cutover/shop", "--watch", timeout=400)
    print(told)
    assert [(one["machine"], one["phase"]) for one in installed.status()["machines"]] == [("web", "committed")]
