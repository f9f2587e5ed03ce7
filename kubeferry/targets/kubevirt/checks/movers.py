"""What movers need beside a place: their image, Secrets; and uploads where there are none. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.model import Concern
from kubeferry.targets.kubevirt.checks.facts import Facts, Request
from kubeferry.targets.kubevirt.checks.told import concern
from kubeferry.targets.kubevirt.quantities import amount, shown

LAUNCHER = 107
"""The user that KubeVirt's machines run as."""


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """What speaks against the way in which bytes are to get into the cluster. Uploads are read back by a mover."""
    if not request.entries:
        return
    yield from _image(facts, request)
    yield from _owner_of_tpms(request)
    secret = request.config.movers.pull_secret
    for namespace in request.namespaces if secret else ():
        what = f"whether Secret {namespace}/{secret}, which pulls the movers' image, is there is not looked at"
        fix = "Our account may not read Secrets; without it the first mover says ErrImagePull after a minute."
        yield concern("mover.secret-not-checked", what, fix)
    if request.uploads:
        yield from _uploads(facts, request)


def _image(facts: Facts, request: Request) -> Iterator[Concern]:
    settings = request.config.movers
    if facts.nodes.known and settings.image in _images(facts):
        return
    if settings.pull_policy == "Never":
        what = f"the movers' image {settings.image} is never pulled, and no node says that it has it"
        fix = "Import it on the nodes. (A node tells of some of its images only.)"
        yield concern("mover.image-nowhere", what, fix)
    elif "/" not in settings.image:
        what = f"the movers' image {settings.image} names no registry, so nodes look at their default one"
        yield concern("mover.image-unqualified", what, "Name it with its registry as target.movers.image.")


def _owner_of_tpms(request: Request) -> Iterator[Concern]:
    """libvirt in the machine's pod gives the folder of a TPM's state its own rights, which only the owner may."""
    user = request.config.movers.user
    for entry in request.entries if user != LAUNCHER else ():
        if entry.tpm is not None:
            who = f"user {user}" if user else "a user of the cluster's choice"
            what = f"{entry.name}: movers run as {who}, and KubeVirt as {LAUNCHER}: it could not use its TPM's state"
            fix = f"Leave target.movers.user at {LAUNCHER}; or plan with keepTpm: false, and recovery keys at hand."
            yield concern("mover.tpm-owner", what, fix)


def _images(facts: Facts) -> set[str]:
    """The images that nodes say they have, by each name that a person may give them."""
    told = {
        name
        for node in facts.nodes.objects
        for image in (node.get("status") or {}).get("images") or []
        for name in image.get("names") or []
    }
    untagged = {name.removesuffix(":latest") for name in told}
    return told | untagged | {name.removeprefix("docker.io/library/") for name in told | untagged}


def _uploads(facts: Facts, request: Request) -> Iterator[Concern]:
    limit = request.config.upload_limit_bytes
    for entry in request.entries:
        if entry.mode == "warm":
            what = f"{entry.name} is to move warm, and uploads take no deltas"
            yield concern("upload.not-warm", what, "Plan it cold, or let movers read the source.")
        for planned in entry.disks:
            if planned.size_bytes > limit:
                size, most = shown(amount(planned.size_bytes)), shown(amount(limit))
                what = f"{entry.name}: disk {planned.disk} has {size}, and {most} is the most for an upload"
                yield concern("upload.too-large", what, "Let movers read the source, or raise target.uploadLimitBytes.")
    told = [(one.get("status") or {}).get("uploadProxyURL") for one in facts.cdi_configs.objects]
    if not request.config.upload_url and not any(told):
        what = "CDI does not tell the address of its upload proxy"
        yield concern("upload.no-proxy", what, "Expose it, and name it as target.uploadUrl.")
    what = (
        "disks are uploaded from here in one go: one that is interrupted begins anew, none is copied warm, and CDI may "
        "need the room of a machine's disks twice while it fills them"
    )
    yield concern("upload.limits", what, "Let movers read the source where the cluster can reach it.")
