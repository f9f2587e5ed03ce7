"""What an administrator is handed: the account with its Roles, rules for alerts, folders that images are built from,
and the folder that kubeferry is installed from in a cluster.

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
_ACCOUNT = "kind: ServiceAccount\nmetadata: {name: kubeferry}\n"
_BINDING = """\
# What it may see of the cluster, for the account of namespace {home}.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: kubeferry-{namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kubeferry}}
subjects:
  - {{kind: ServiceAccount, name: {account}, namespace: {home}}}
"""
_RULES = """\
# A source that is off for too long, a copy that is too old. The kind is of Prometheus' operator; without it, take
# the list below `spec` as a rule file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: kubeferry}
"""


def roles(
    namespaces: tuple[str, ...],
    *,
    account: str = ACCOUNT,
    account_namespace: str = "",
    file_probes: bool = False,
    openshift: bool = False,
) -> str:
    """The account and its rights in each namespace, the movers' account, and what may be seen of the cluster: one YAML
    stream, with the comments that say what each right is for. `account_namespace`: there is one account for all of
    them, in that namespace, where it is made by somebody else. `openshift`: with the constraint that movers may use, of
    a kind that no other cluster has. Raises InputInvalid for what is no name in a cluster."""
    given = [*(("--namespace", name) for name in namespaces), ("--account", account)]
    given += [("--account-namespace", account_namespace)] if account_namespace else []
    fix = "Write at most 63 small letters, digits and hyphens."
    bad = [Problem(option, f"{name!r} is no name", fix) for option, name in given if not _NAME.fullmatch(name)]
    if bad:
        raise InputInvalid("the manifests cannot be written", bad)
    parts = [_read("cluster-role.yaml"), *([_read("constraint.yaml")] if openshift else [])]
    each = ["namespace-role.yaml", *(["file-probes-role.yaml"] if file_probes else [])]
    each += ["constraint-role.yaml"] if openshift else []
    for namespace in namespaces:
        home = account_namespace or namespace
        texts = [_read(name) if home == namespace else _without_account(_read(name)) for name in each]
        parts += [_placed(text, namespace, account, home) for text in texts]
        parts.append(_BINDING.format(namespace=namespace, account=account, home=home))
    return "---\n".join(parts)


def alerts() -> str:
    """The rules for Prometheus as an object of its operator's kind: one YAML document."""
    rules = "".join(f"  {line}" for line in _read("alerts.yaml").splitlines(keepends=True) if not line.startswith("#"))
    return f"{_RULES}spec:\n{rules}"


def _without_account(text: str) -> str:
    """A Role's file without the account itself."""
    parts = text.split("---\n")
    return "---\n".join(part for part in parts if _ACCOUNT not in part)


def _placed(text: str, namespace: str, account: str, home: str) -> str:
    """A Role's file with the namespace, the account, and the account's namespace put in."""
    for given, wanted in (
        (_ACCOUNT, f"kind: ServiceAccount\nmetadata: {{name: {account}}}\n"),
        (
            "{kind: ServiceAccount, name: kubeferry}",
            f"{{kind: ServiceAccount, name: {account}, namespace: {home}}}",
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
    _refuse_full(folder)
    given = Path(str(files(flows.setup).joinpath("deploy")))
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("Containerfile", "requirements.txt"):
        shutil.copyfile(given / image / file, folder / file)
    shutil.copy(given / "build-image", folder)
    (folder / "build-image").chmod(0o755)  # a wheel keeps no modes
    for package in CONTENT[image]:
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))


def write_install(folder: Path) -> None:
    """What kubeferry is installed from in a cluster, for kustomize. Raises InputInvalid as `write_context` does."""
    _refuse_full(folder)
    shutil.copytree(Path(str(files(flows.setup).joinpath("deploy", "install"))), folder, dirs_exist_ok=True)


def _refuse_full(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        what = "it is not empty, and nothing is overwritten"
        raise InputInvalid(f"{folder} cannot be written", [Problem(str(folder), what, "Name a new or empty folder.")])
