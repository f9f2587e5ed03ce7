"""Who approves, as a real API server says: by a login, and by a token that is good for one approval alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from flows.setup.manifests import ACCOUNT
from kubeferry.errors import TargetRefused
from kubeferry.targets.kubevirt.api import Cluster, connect
from kubeferry.targets.kubevirt.identity import audience_of, myself, of_token, token_for
from lab.ground import Ground
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

NAMESPACE = "kubeferry-identity"
DOCUMENT = "d" * 64
MAY_REVIEW = "kubeferry-identity-may-review"


@pytest.fixture(scope="module")
def tenant(make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant(NAMESPACE)


@pytest.fixture
def cluster(tenant: Tenant) -> Iterator[Cluster]:
    with contextlib.closing(connect(str(tenant.kubeconfig), None)) as opened:
        yield opened


@pytest.fixture
def may_review(ground: Ground) -> Iterator[None]:
    """The account may have tokens reviewed, as its administrator lets it."""
    account = f"--serviceaccount={NAMESPACE}:{ACCOUNT}"
    ground.kubectl("create", "clusterrolebinding", MAY_REVIEW, "--clusterrole=system:auth-delegator", account)
    yield
    ground.kubectl("delete", "clusterrolebinding", MAY_REVIEW)


def test_the_api_server_names_who_asks(cluster: Cluster) -> None:
    user = myself(cluster, DOCUMENT)
    assert (user.name, user.review) == (f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}", "self")
    assert f"system:serviceaccounts:{NAMESPACE}" in user.groups
    assert user.uid


def test_a_token_for_an_approval_is_good_for_that_one_and_for_nothing_else(
    ground: Ground, cluster: Cluster, may_review: None
) -> None:
    words = ("create", "token", ACCOUNT, f"--namespace={NAMESPACE}", "--duration=10m")
    token = ground.kubectl(*words, f"--audience={audience_of(DOCUMENT)}")
    assert of_token(cluster, token, DOCUMENT).name == f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    for wrong, document in ((token, "e" * 64), (ground.kubectl(*words), DOCUMENT), ("nonsense", DOCUMENT)):
        with pytest.raises(TargetRefused, match="not good for this approval"):
            of_token(cluster, wrong, document)


def test_who_may_not_make_or_review_tokens_is_told_so(cluster: Cluster) -> None:
    with pytest.raises(TargetRefused, match="refused"):
        token_for(cluster, myself(cluster, DOCUMENT), DOCUMENT)
    with pytest.raises(TargetRefused, match="refused"):
        of_token(cluster, "nonsense", DOCUMENT)
