"""Who somebody is, as an API server says: by his own kubeconfig, or by a short-lived token that he hands over.

`myself` asks with the person's own credentials (SelfSubjectReview). The answer is true for whoever asks; in a journal
it is the word of the process that wrote it there. The request names what is approved in its query, so the API server's
audit log, which nobody here writes, shows the same with the user.

`of_token` has a token reviewed (TokenReview) that was made for one approval and nothing else: its audience is that
approval's. So a token that was made for the cluster is not handed around, and one that is found is of no use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from kubeferry.errors import TargetRefused
from kubeferry.targets.kubevirt.api import Cluster

REVIEWS = "/apis/authentication.k8s.io/v1"
TOKEN_SECONDS = 600  # the least that an API server gives

_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class User:
    """A user as an API server named him. `review`: by his own credentials, or by a token that was handed over."""

    name: str
    groups: tuple[str, ...]
    uid: str
    server: str
    review: Literal["self", "token"]
    audience: str

    def facts(self) -> dict[str, Any]:
        """For the journal: nothing that lets anybody in."""
        return {
            "user": self.name,
            "groups": list(self.groups),
            "uid": self.uid,
            "server": self.server,
            "review": self.review,
            "audience": self.audience,
        }


def audience_of(document: str) -> str:
    """For whom a token is made that approves the document with this digest, and nothing else."""
    return f"kubeferry.io/approval/{document}"


def myself(cluster: Cluster, document: str = "") -> User:
    """Whose credentials these are. `document` is the digest of what is approved, empty where nothing is yet. Raises
    KubeferryError."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    query = {"fieldManager": f"kubeferry-approval-{document}"} if document else None  # stands in the audit log
    answer = cluster.ask(f"{REVIEWS}/selfsubjectreviews", body, query=query, what="ask who we are")
    return _user(answer.get("status", {}).get("userInfo"), cluster, "self", audience_of(document))


def of_token(cluster: Cluster, token: str, document: str) -> User:
    """Whose token it is, asked with our own account. Raises TargetRefused for one that is not good, or not made for
    this document, and Forbidden where the account may not ask (`create` on tokenreviews)."""
    audience = audience_of(document)
    spec = {"token": token.strip(), "audiences": [audience]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    status = cluster.ask(f"{REVIEWS}/tokenreviews", body, what="review a token").get("status", {})
    if not status.get("authenticated") or audience not in (status.get("audiences") or ()):
        why = str(status.get("error") or f"it was not made for {audience}")
        fix = f"Make one with `kubectl create token ACCOUNT --audience {audience} --duration 10m`, and use it at once."
        raise TargetRefused("the token is not good for this approval", why=why, fix=fix)
    return _user(status.get("user"), cluster, "token", audience)


def token_for(cluster: Cluster, user: User, document: str) -> str:
    """A token of a service account for this document (TokenRequest); empty for a user who is none. Raises TargetRefused
    where the account may not make one of itself."""
    namespace, _, name = user.name.removeprefix(_ACCOUNT).partition(":")
    if not user.name.startswith(_ACCOUNT) or not name:
        return ""
    spec = {"audiences": [audience_of(document)], "expirationSeconds": TOKEN_SECONDS}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    return str(cluster.ask(path, body, what="ask for a token").get("status", {}).get("token") or "")


def _user(told: Any, cluster: Cluster, review: Literal["self", "token"], audience: str) -> User:
    if not isinstance(told, dict) or not told.get("username"):
        fix = "Use a cluster of Kubernetes 1.28 or newer, and credentials of your own."
        raise TargetRefused("the API server does not say who this is", why=f"it says {str(told)[:200]}", fix=fix)
    groups = tuple(str(one) for one in told.get("groups") or ())
    server = urlsplit(cluster.address()).netloc
    return User(str(told["username"]), groups, str(told.get("uid") or ""), server, review, audience)
