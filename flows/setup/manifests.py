"""What an administrator is handed: the account with its Roles, rules for alerts, and folders that images
are built from.

The files lie in `deploy/`, which a wheel has beside this module: there is only one of each.
"""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path

import converters
import flows
import flows.setup
import kubeferry
import mappings
import reports
from kubeferry.errors import InputInvalid, Problem

ACCOUNT = "kubeferry"
MOVERS_ACCOUNT = "kubeferry-mover"
CONTENT = {
    "mover": (kubeferry, converters),
    "control-plane": (kubeferry, converters, mappings, reports, flows),
}
"""Images by the folder of their Containerfile, and the packages of ours that are in them."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_BINDING = """\
# What it may see of the cluster, for the account of namespace {namespace}.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: kubeferry-{namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kubeferry}}
subjects:
  - {{kind: ServiceAccount, name: {account}, namespace: {namespace}}}
"""
_RULES = """\
# A source that is off for too long, a copy that is too old. The kind is of Prometheus' operator; without it, take
# the list below `spec` as a rule file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: kubeferry}
"""


def roles(
    namespaces: tuple[str, ...], *, account: str = ACCOUNT, file_probes: bool = False, openshift: bool = False
) -> str:
    """The account and its rights in each namespace, the movers' account, and what may be seen of the cluster: one YAML
    stream, with the comments that say what each right is for. `openshift`: with the constraint that movers may use, of
    a kind that no other cluster has. Raises InputInvalid for what is no name in a cluster."""
    given = [*(("--namespace", name) for name in namespaces), ("--account", account)]
    fix = "Write at most 63 small letters, digits and hyphens."
    bad = [Problem(option, f"{name!r} is no name", fix) for option, name in given if not _NAME.fullmatch(name)]
    if bad:
        raise InputInvalid("the manifests cannot be written", bad)
    parts = [_read("cluster-role.yaml"), *([_read("constraint.yaml")] if openshift else [])]
    each = ["namespace-role.yaml", *(["file-probes-role.yaml"] if file_probes else [])]
    each += ["constraint-role.yaml"] if openshift else []
    for namespace in namespaces:
        parts += [_placed(_read(name), namespace, account) for name in each]
        parts.append(_BINDING.format(namespace=namespace, account=account))
    return "---\n".join(parts)


def alerts() -> str:
    """The rules for Prometheus as an object of its operator's kind: one YAML document."""
    rules = "".join(f"  {line}" for line in _read("alerts.yaml").splitlines(keepends=True) if not line.startswith("#"))
    return f"{_RULES}spec:\n{rules}"


def _placed(text: str, namespace: str, account: str) -> str:
    """A Role's file with the namespace and the account put in."""
    for given, wanted in (
        ("kind: ServiceAccount\nmetadata: {name: kubeferry}", f"kind: ServiceAccount\nmetadata: {{name: {account}}}"),
        (
            "{kind: ServiceAccount, name: kubeferry}",
            f"{{kind: ServiceAccount, name: {account}, namespace: {namespace}}}",
        ),
        (
            "{kind: ServiceAccount, name: kubeferry-mover}",
            f"{{kind: ServiceAccount, name: {MOVERS_ACCOUNT}, namespace: {namespace}}}",
        ),
    ):
        text = text.replace(given, wanted)
    lines = [
        line.replace("}", f", namespace: {namespace}}}") if line.startswith("metadata: {") else line
        for line in text.splitlines(keepends=True)
    ]
    return "".join(lines)


def _read(name: str) -> str:
    return files(flows.setup).joinpath("deploy", name).read_text(encoding="utf-8")


# --- edge -------------------------------------------------------------------------------------------------------------


def write_context(image: str, folder: Path) -> None:
    """All that an image is built from, but for the libraries that its `build-image` fetches.

    Raises InputInvalid where the folder has something in it already.
    """
    if folder.exists() and any(folder.iterdir()):
        what = "it is not empty, and nothing is overwritten"
        raise InputInvalid(f"{folder} cannot be written", [Problem(str(folder), what, "Name a new or empty folder.")])
    given = Path(str(files(flows.setup).joinpath("deploy")))
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("Containerfile", "requirements.txt"):
        shutil.copyfile(given / image / file, folder / file)
    shutil.copy(given / "build-image", folder)
    (folder / "build-image").chmod(0o755)  # a wheel keeps no modes
    for package in CONTENT[image]:
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
