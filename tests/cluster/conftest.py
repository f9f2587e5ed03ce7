"""What tests on a cluster share: the cluster itself, namespaces with the pipeline's account, one Prefect server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.serving.server import local_server
from lab import ground as grounds
from lab.ground import Ground
from lab.tenant import Tenant

ROOT = Path(__file__).resolve().parents[2]
SEEN = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def ground() -> Ground:
    """The lab's cluster, or the one that KUBECONFIG names."""
    found = grounds.find()
    if found is None:
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop("the lab cluster is not up: make lab-up")
    return found


@pytest.fixture(scope="session")
def own(ground: Ground) -> Ground:
    """The lab's own cluster: with its hypervisor, and daemons that may be killed."""
    if not ground.own:
        pytest.skip("needs the lab's own hypervisor and node; KUBECONFIG names another cluster")
    return ground


@pytest.fixture(scope="session")
def kubevirt(ground: Ground, pytestconfig: pytest.Config) -> Ground:
    """A cluster with real KubeVirt and CDI."""
    if not ground.kubevirt:
        pytestconfig.stash[SEEN] = "skipped, the cluster has none"
        pytest.skip("the cluster has no KubeVirt and CDI: for the lab set KUBEFERRY_LAB_KUBEVIRT before make lab-up")
    pytestconfig.stash[SEEN] = "the real one ran, " + ("on the lab's node" if ground.own else "on KUBECONFIG's cluster")
    return ground


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line that says whether real KubeVirt was there: `.ci/run` ends with it."""
    if seen := config.stash.get(SEEN, None):
        terminalreporter.write_line(f"KubeVirt: {seen}")


@pytest.fixture(scope="session")
def make_tenant(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Tenant]]:
    """Makes namespaces that enforce `restricted`, with the pipeline's account; they go at the end of the session."""
    with ExitStack() as made:

        def make(name: str) -> Tenant:
            return made.enter_context(ground.namespace(name, tmp_path_factory.mktemp(name)))

        yield make


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of one Prefect server for all runs."""
    with local_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url
