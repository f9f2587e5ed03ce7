"""kubeferry installed in a real cluster: a worker in it moves a machine, started from a deployment of Prefect's.

As an administrator would: the folder that `kubeferry manifests --install` writes, with images, a configuration and
Secrets of his own, put in place by kustomize. The source is the lab's cloud, which pods reach over the node; the target
is real KubeVirt. What this does not show: the lab's network enforces no NetworkPolicy, so those are seen to be accepted
and no more; no proxy runs, its example is put to the API server only.
"""

from __future__ import annotations

import json
import secrets
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
DEPLOYED = ("server", "metrics", "worker")
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

    def refused(self, *words: str) -> str:
        """What such a command says that fails."""
        argv = [self.ground.program, f"--kubeconfig={self.ground.kubeconfig}", f"--namespace={HOME}"]
        done = run([*argv, "exec", "deployment/kubeferry-worker", "--", *words], check=False, timeout=60)
        assert done.code != 0, done.out
        return " ".join((done.out + done.err).split())

    def page(self, service: str, port: int, path: str) -> str:
        """What a service answers."""
        address = self.ground.read("get", "service", service, f"--namespace={HOME}")["spec"]["clusterIP"]
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def phases(self) -> dict[str, str]:
        """Where each machine stands, by the journal."""
        status = json.loads(self.inside("kubeferry", "status", "--plan", "shop", "--json"))
        return {one["machine"]: one["phase"] for one in status["machines"]}

    def caretaking(self) -> dict[str, Any]:
        """How the CronJob stands."""
        found = self.ground.read("get", "cronjob", "kubeferry-caretake", f"--namespace={HOME}")
        return dict(found["status"])

    def power(self) -> str:
        """Of the source."""
        found = self.cloud.client().describe_instances(InstanceIds=[self.instance])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


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
def installed(own: Ground, images: None, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
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
        for what in ("statefulset/kubeferry-postgres", *(f"deployment/kubeferry-{one}" for one in DEPLOYED)):
            made.kubectl("rollout", "status", what, f"--namespace={HOME}", "--timeout=180s", timeout=200)
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
    """What docs/operations.md asks for: both namespaces, the Secrets, the rights of the account where machines land."""
    made.ground.kubectl("delete", "namespace", HOME, NAMESPACE, "--ignore-not-found", timeout=120)
    made.ground.kubectl("create", "namespace", HOME)
    made.ground.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    made.ground.kubectl("apply", "--filename=-", stdin=roles((NAMESPACE,), account_namespace=HOME))
    made.ground.apply(
        secret("kubeferry-aws", made.cloud.environment, NAMESPACE),
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
    assert "changes made" in installed.inside("kubeferry", "deploy", "plan.yaml", "--caretake-every", "0")
    assert "nothing to change" in installed.inside("kubeferry", "deploy", "plan.yaml", "--caretake-every", "0")
    told = installed.inside("prefect", "deployment", "run", "cutover/shop", "--watch", timeout=400)
    assert "finished successfully in 'Completed'" in told
    assert installed.phases() == {"web": "committed"}
    assert installed.power() == "stopped"
    machine = installed.ground.read("get", "vmi", "web", f"--namespace={NAMESPACE}")
    assert {"type": "AgentConnected", "status": "True"}.items() <= next(
        one for one in machine["status"]["conditions"] if one["type"] == "AgentConnected"
    ).items()


def test_nobody_gives_a_run_another_command(installed: Installed) -> None:
    """By the real server: whoever may start a run may still not say what the worker executes."""
    for variable in ("command=id", "working_dir=/etc", 'env={"PYTHONPATH": "/tmp"}'):
        words = ("prefect", "deployment", "run", "cutover/shop", "--job-variable", variable)
        assert "Error creating flow run: Validation failed" in installed.refused(*words)


def test_caretake_looks_each_minute(installed: Installed) -> None:
    assert until(lambda: installed.caretaking().get("lastSuccessfulTime"), seconds=120, what="a look of caretake's")


def test_the_exporter_tells_of_the_move(installed: Installed) -> None:
    found = until(
        lambda: [
            line for line in installed.page("kubeferry-metrics", 9469, "/metrics").splitlines() if "committed" in line
        ],
        seconds=30,
        what="the machine in the figures",
    )
    assert found == ['kubeferry_machines{plan="shop",wave="wave-1",state="committed"} 1']


def test_the_journal_comes_back_from_its_backup(installed: Installed) -> None:
    """As docs/operations.md says, after all of it was lost."""
    before = installed.phases()
    namespace = f"--namespace={HOME}"
    installed.kubectl("create", "job", "saved", "--from=cronjob/kubeferry-backup", namespace)
    installed.kubectl("wait", "job/saved", "--for=condition=Complete", "--timeout=60s", namespace, timeout=70)
    writers = ("deployment/kubeferry-worker", "deployment/kubeferry-metrics")
    installed.kubectl("scale", *writers, "--replicas=0", namespace)
    installed.kubectl("patch", "cronjob/kubeferry-caretake", '--patch={"spec": {"suspend": true}}', namespace)
    installed.kubectl(
        "wait",
        "pods",
        "--selector=app.kubernetes.io/component in (worker, metrics)",
        "--for=delete",
        "--timeout=120s",
        namespace,
        timeout=130,
    )
    until(lambda: not installed.caretaking().get("active"), seconds=60, what="the end of a look of caretake's")
    lost = "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner"
    psql = ("psql", "--host=/tmp", "--username=postgres", "--dbname=kubeferry", f"--command={lost}")
    installed.kubectl("exec", "kubeferry-postgres-0", "--container=postgres", namespace, "--", *psql)
    said = installed.kubectl("apply", "--server-side", f"--kustomize={installed.folder / 'restore'}")
    assert "Warning" not in said.err, said.err
    installed.kubectl(
        "wait", "job/kubeferry-restore", "--for=condition=Complete", "--timeout=60s", namespace, timeout=70
    )
    installed.kubectl("scale", *writers, "--replicas=1", namespace)
    installed.kubectl("rollout", "status", writers[0], namespace, "--timeout=120s", timeout=130)
    assert installed.phases() == before == {"web": "committed"}


@pytest.mark.parametrize("part", ["whole", "restore", "examples/sign-in"])
def test_the_api_server_takes_it_without_a_warning(installed: Installed, part: str) -> None:
    words = (
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        f"--kustomize={installed.folder / part}",
    )
    said = installed.kubectl(*words)
    assert said.err == ""
    assert "(server dry run)" in said.out


def test_nothing_was_refused_for_what_it_may_not_be(installed: Installed) -> None:
    for namespace in (HOME, NAMESPACE):
        told = installed.ground.read("get", "events", f"--namespace={namespace}")["items"]
        assert [one["message"] for one in told if one["reason"] == "FailedCreate" or "violat" in one["message"]] == []
