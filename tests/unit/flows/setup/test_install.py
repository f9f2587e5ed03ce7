"""`deploy/install`, read as it lies there: what runs is restricted and fixed, what is named is there, nobody says more.

kustomize puts it together, and a real API server takes it, in tests/cluster/test_installed.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.cli import run
from flows.deploying.compared import job_variables
from flows.deploying.pool import template
from flows.serving.server import SETTINGS
from flows.setup.manifests import roles
from kubeferry.config import ENVIRONMENT_NAME
from kubeferry.documents import Config, load
from kubeferry.outside.process import run as program

ROOT = Path(__file__).resolve().parents[4]
INSTALL = ROOT / "deploy" / "install"
HOME = "kubeferry"
VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
MADE_BY_THE_USER = {"kubeferry-database", "kubeferry-login", "kubeferry-proxy"}
OPTIONAL = {"kubeferry-sources", "kubeferry-ssh"}
OURS = ("server", "worker", "caretake", "metrics")

Object = dict[str, Any]


def kustomizations() -> dict[str, Object]:
    """Each folder's, by the folder."""
    return {
        str(path.parent.relative_to(INSTALL)): yaml.safe_load(path.read_text())
        for path in sorted(INSTALL.rglob("kustomization.yaml"))
    }


def objects() -> list[Object]:
    """All that is put in place, as it lies there."""
    found = []
    for folder, content in kustomizations().items():
        for name in content["resources"]:
            if name.endswith(".yaml"):
                found += list(yaml.safe_load_all((INSTALL / folder / name).read_text()))
    return found


def pods() -> dict[str, Object]:
    """The templates of pods, by the component that they are labelled as."""
    found = {}
    for one in objects():
        spec = one.get("spec", {})
        pod = (spec.get("jobTemplate", {}).get("spec") or spec).get("template")
        if pod:
            found[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod
    return found


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


PODS = pods()


def test_every_file_is_used() -> None:
    used = {INSTALL / folder / "kustomization.yaml" for folder in kustomizations()}
    for folder, content in kustomizations().items():
        named = [*content["resources"], *content.get("components", ())]
        for made in content.get("configMapGenerator", ()):
            named += [*made.get("files", ()), *made.get("envs", ())]
        places = [(INSTALL / folder / name).resolve() for name in named]
        assert all(place.exists() for place in places), folder
        used.update(places)
    assert {path for path in INSTALL.rglob("*") if path.is_file()} <= used


def test_all_of_it_is_in_one_namespace_that_enforces_restricted() -> None:
    (namespace,) = [one for one in objects() if one["kind"] == "Namespace"]
    for mode in ("enforce", "audit", "warn"):
        assert namespace["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert {one["metadata"]["namespace"] for one in objects() if one != namespace} == {HOME}
    made = [one for content in kustomizations().values() for one in content.get("configMapGenerator", ())]
    assert {one["namespace"] for one in made} == {HOME}


@pytest.mark.parametrize("component", PODS)
def test_a_pod_is_restricted_and_has_limits(component: str) -> None:
    spec = PODS[component]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["enableServiceLinks"] is False
    for volume in spec.get("volumes", ()):
        assert set(volume) - {"name"} <= VOLUMES
        assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]
    for one in containers(PODS[component]):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for kind in ("requests", "limits"):
            assert set(one["resources"][kind]) == {"cpu", "memory"}
        assert "imagePullPolicy" not in one
        assert all("hostPort" not in port for port in one.get("ports", ()))


@pytest.mark.parametrize("component", PODS)
def test_only_who_moves_machines_has_an_account(component: str) -> None:
    spec = PODS[component]["spec"]
    moves = component in {"worker", "caretake"}
    assert spec["automountServiceAccountToken"] is moves
    assert spec.get("serviceAccountName") == (HOME if moves else None)


def test_images_are_placeholders_that_are_set_in_one_place() -> None:
    used = {one["image"] for pod in PODS.values() for one in containers(pod)}
    assert used == {"kubeferry:unset", "postgres:unset", "oauth2-proxy:unset"}
    for folder, names in {
        "whole": {"kubeferry", "postgres"},
        "restore": {"postgres"},
        "examples/sign-in": {"oauth2-proxy"},
    }.items():
        listed = kustomizations()[folder]["images"]
        assert {one["name"] for one in listed} == names
        assert all(one == {"name": one["name"], "newName": one["name"], "newTag": "unset"} for one in listed)


def test_nobody_who_starts_a_run_says_what_a_worker_executes() -> None:
    pool = json.loads((INSTALL / "base" / "pool.json").read_text())
    assert pool == template(), "as `kubeferry deploy` makes one"
    schema = pool["variables"]
    validate(job_variables("process"), schema, raise_on_error=True)
    validate({}, schema, raise_on_error=True)
    for more in (
        {"command": "sh"},
        {"working_dir": "/tmp"},
        {"image": "other"},
        {"env": {"PYTHONPATH": "/tmp"}},
        {"stream_output": True},
    ):
        with pytest.raises(ValidationError):
            validate(job_variables("process") | more, schema, raise_on_error=True)
    assert {name for name, value in pool["job_configuration"].items() if "{{" in str(value)} == {"env", "stream_output"}
    (worker,) = PODS["worker"]["spec"]["containers"]
    assert worker["command"][:3] == ["python3", "-m", "kubeferry.outside.first_process"]
    assert "--base-job-template=/etc/kubeferry/pool/pool.json" in worker["args"]


def test_secrets_are_named_and_never_written() -> None:
    assert not [one for one in objects() if one["kind"] == "Secret"]
    assert not [one for content in kustomizations().values() for one in content.get("secretGenerator", ())]
    operations = (ROOT / "docs" / "operations.md").read_text()
    for component, pod in PODS.items():
        for name, optional in secrets(pod):
            assert name in (OPTIONAL if optional else MADE_BY_THE_USER), f"{component}: {name}"
            assert name in operations
        for one in containers(pod):
            for variable in one.get("env", ()):
                hidden = "PASSWORD" in variable["name"] or "SECRET" in variable["name"] or "AUTH" in variable["name"]
                assert ("valueFrom" in variable) >= hidden, variable
    for path in INSTALL.rglob("*.env"):
        assert not {"PASSWORD", "SECRET", "AUTH_STRING"} & set(path.read_text().replace("=", "_").split("_"))


def secrets(pod: Object) -> Iterator[tuple[str, bool]]:
    """The Secrets that a pod is given, and whether it does without."""
    for volume in pod["spec"].get("volumes", ()):
        if "secret" in volume:
            yield volume["secret"]["secretName"], volume["secret"].get("optional", False)
    for one in containers(pod):
        for source in one.get("envFrom", ()):
            if "secretRef" in source:
                yield source["secretRef"]["name"], source["secretRef"].get("optional", False)
        for variable in one.get("env", ()):
            if "valueFrom" in variable:
                yield variable["valueFrom"]["secretKeyRef"]["name"], False


def test_what_a_pod_names_is_there() -> None:
    made = {one["name"] for content in kustomizations().values() for one in content.get("configMapGenerator", ())}
    claims = {one["metadata"]["name"] for one in objects() if one["kind"] == "PersistentVolumeClaim"}
    accounts = {one["metadata"]["name"] for one in objects() if one["kind"] == "ServiceAccount"}
    for component, pod in PODS.items():
        spec = pod["spec"]
        assert {spec["serviceAccountName"]} <= accounts if "serviceAccountName" in spec else True
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        named = {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume}
        for one in containers(pod):
            named |= {source["configMapRef"]["name"] for source in one.get("envFrom", ()) if "configMapRef" in source}
            mounted = {mount["name"] for mount in one["volumeMounts"]} if component != "proxy" else set()
            assert mounted <= {*volumes, "data"}
        assert named <= made, component
        assert {
            v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v
        } <= claims


def test_the_configuration_is_one_and_its_password_is_given() -> None:
    config = load(INSTALL / "whole" / "kubeferry.yaml", Config)
    assert config.target.kubeconfig is None
    assert "localhost" not in config.journal.url
    environment = dict(line.split("=", 1) for line in (INSTALL / "base" / "environment.env").read_text().split())
    for component in ("worker", "caretake", "metrics"):
        (one,) = PODS[component]["spec"]["containers"]
        assert config.journal.password_env in {variable["name"] for variable in one["env"]}
        places = {mount["mountPath"] for mount in one["volumeMounts"]}
        assert environment[ENVIRONMENT_NAME] in places
        assert str(Path(environment[ENVIRONMENT_NAME]).parent) in places, "a folder that can be written lies below"
        assert one["workingDir"] in places
    server = dict(line.split("=", 1) for line in (INSTALL / "base" / "server.env").read_text().split())
    for name in ("ANALYTICS_ENABLED", "UI_V2_ENABLED", "CONCURRENCY_LEASE_STORAGE"):
        assert server[f"PREFECT_SERVER_{name}"] == SETTINGS[f"PREFECT_SERVER_{name}"]


# --- the network ------------------------------------------------------------------------------------------------------


def policies() -> dict[str, Object]:
    return {one["metadata"]["name"]: one["spec"] for one in objects() if one["kind"] == "NetworkPolicy"}


def chosen(selector: Object) -> set[str]:
    """The components that a selector of pods chooses."""
    key = "app.kubernetes.io/component"
    if not selector:
        return set(PODS)
    if "matchLabels" in selector:
        return {selector["matchLabels"][key]}
    (one,) = selector["matchExpressions"]
    assert (one["key"], one["operator"]) == (key, "In")
    return set(one["values"])


def reaches(component: str, ports: set[int]) -> set[str]:
    """The components that may talk to this one on these ports, by what both sides are allowed."""
    let_in, let_out = set(), set()
    for policy in policies().values():
        for rule in policy.get("ingress", ()) if component in chosen(policy["podSelector"]) else ():
            if ports <= {port["port"] for port in rule["ports"]}:
                let_in |= {who for end in rule["from"] if "podSelector" in end for who in chosen(end["podSelector"])}
        for rule in policy.get("egress", ()):
            ends = {who for end in rule.get("to", ()) if "podSelector" in end for who in chosen(end["podSelector"])}
            if ports <= {port["port"] for port in rule["ports"]} and (not rule.get("to") or component in ends):
                let_out |= chosen(policy["podSelector"])
    return let_in & let_out


def test_nobody_talks_but_as_it_is_said() -> None:
    nothing = policies()["kubeferry-nothing"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies().values():
        assert chosen(policy["podSelector"]) <= set(PODS), "each names somebody who is there"
    assert reaches("server", {4200}) == {"worker", "caretake", "proxy"}
    assert reaches("postgres", {5432}) == {"server", "worker", "caretake", "metrics", "backup", "restore"}
    assert reaches("metrics", {9469}) == set()


def test_services_and_policies_have_the_ports_that_are_listened_on() -> None:
    ports = {
        name: {p["name"]: p["containerPort"] for c in containers(pod) for p in c.get("ports", ())}
        for name, pod in PODS.items()
    }
    for one in objects():
        if one["kind"] == "Service":
            component = one["spec"]["selector"]["app.kubernetes.io/component"]
            for port in one["spec"]["ports"]:
                target = ports[component][port["targetPort"]]
                (policy,) = [
                    rule["ports"]
                    for policy in policies().values()
                    if policy["podSelector"] and component in chosen(policy["podSelector"])
                    for rule in policy.get("ingress", ())
                ]
                assert target in {one["port"] for one in policy}


def test_prometheus_finds_the_exporter() -> None:
    (monitor,) = [one["spec"] for one in objects() if one["kind"] == "ServiceMonitor"]
    found = [
        one
        for one in objects()
        if one["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= one["metadata"].get("labels", {}).items()
    ]
    assert [one["metadata"]["name"] for one in found] == ["kubeferry-metrics"]
    assert [end["port"] for end in monitor["endpoints"]] == [port["name"] for port in found[0]["spec"]["ports"]]


# --- rights, scripts, the folder --------------------------------------------------------------------------------------


def test_the_account_has_in_each_namespace_what_an_account_there_would_have() -> None:
    own = list(yaml.safe_load_all(roles(("apps", "shop"))))
    given = list(yaml.safe_load_all(roles(("apps", "shop"), account_namespace=HOME)))
    accounts = [one for one in own if one["kind"] == "ServiceAccount" and one["metadata"]["name"] == "kubeferry"]
    assert len(given) == len(own) - 2 == len(own) - len(accounts)
    for one in own:
        if "rules" in one:
            assert one in given
    subjects = [one["subjects"] for one in given if "subjects" in one]
    assert subjects == [[{"kind": "ServiceAccount", "name": "kubeferry", "namespace": HOME}]] * 4
    (account,) = [one for one in objects() if one["kind"] == "ServiceAccount"]
    assert account["metadata"] == {"name": "kubeferry", "namespace": HOME}


@pytest.mark.parametrize("script", sorted(INSTALL.rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_ones(script: Path) -> None:
    program(["sh", "-n", str(script)])


def test_the_folder_is_written_whole_and_never_over_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["manifests", "--install", str(tmp_path / "there")]) == 0
    assert "whole/kustomization.yaml" in capsys.readouterr().out
    given = {path.relative_to(INSTALL) for path in INSTALL.rglob("*")}
    assert {path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*")} == given
    assert run(["manifests", "--install", str(tmp_path / "there")]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
