"""KubeVirt and CDI on the node, through their own operators."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from kubeferry.targets.directory import accelerator
from lab.cluster import archive, cdi_images, kubectl, kubevirt_images, rootfs
from lab.cluster.archive import Archive
from lab.cluster.bundle import Bundle
from lab.cluster.images import archive_key
from lab.cluster.place import Place
from lab.cluster.progress import say
from lab.packages import cache_folder

DEPLOY_SECONDS = 420
# What decides about the images' content beside the bundle and the root file system: these modules themselves.
RECIPES = tuple(Path(__file__).with_name(f"{name}.py") for name in ("archive", "kubevirt_images", "cdi_images"))


def images(bundle: Bundle) -> Archive:
    """The archive with all images of KubeVirt and CDI, built if it is not in the cache."""
    root = rootfs.ensure()
    recipes = [path.read_bytes() for path in RECIPES]
    key = archive_key(bundle.digest.encode(), root.name.encode(), accelerator.usable().encode(), *recipes)
    dest = cache_folder("images") / f"kubevirt-{key}.tar"
    if not dest.exists():
        say("building the images of KubeVirt and CDI")
        with tempfile.TemporaryDirectory(dir=dest.parent) as folder:
            work, base = Path(folder), archive.read_layer(root)
            built = kubevirt_images.build(bundle, root, base, work) + cdi_images.build(bundle, base, work)
            archive.write(built, work / "archive.tar")
            (work / "archive.tar").rename(dest)
    return Archive("kubevirt", key, dest)


def settings(shipped: dict[str, Any], *, emulation: bool) -> dict[str, Any]:
    """The KubeVirt object: the bundle's, with guests allowed in namespaces that enforce `restricted`.

    `runtimeDefaultProfile` is what Pod Security asks for there; KubeVirt's own default leaves the profile out.
    """
    configuration = dict(shipped["spec"]["configuration"])
    developer = configuration["developerConfiguration"] | {"useEmulation": emulation}
    profile = {"customProfile": {"runtimeDefaultProfile": True}}
    configuration |= {
        "developerConfiguration": developer,
        "seccompConfiguration": {"virtualMachineInstanceProfile": profile},
    }
    return shipped | {"spec": shipped["spec"] | {"configuration": configuration}}


def deploy(place: Place, bundle: Bundle) -> None:
    """Both are asked for. CDI first: parts of KubeVirt begin again when its kinds appear, which costs time."""
    _apply_operator(place, bundle.folder / "cdi" / "manifests" / "cdi-operator.yaml", "cdis.cdi.kubevirt.io")
    kubectl.apply(place, bundle.folder / "cdi" / "manifests" / "cdi-cr.yaml")
    manifests = bundle.folder / "kubevirt" / "manifests"
    _apply_operator(place, manifests / "kubevirt-operator.yaml", "kubevirts.kubevirt.io")
    shipped = yaml.safe_load((manifests / "kubevirt.yaml").read_text())
    kubectl.apply(place, yaml.safe_dump(settings(shipped, emulation=accelerator.usable() != "kvm")))


def await_deployed(place: Place) -> None:
    """Both say Deployed and Available. Raises ProgramFailed when it takes longer than `DEPLOY_SECONDS`."""
    for thing, namespace in (("cdi/cdi", "default"), ("kubevirt/kubevirt", "kubevirt")):
        for condition in ("jsonpath={.status.phase}=Deployed", "condition=Available"):
            kubectl.wait(place, thing, condition, namespace=namespace, seconds=DEPLOY_SECONDS)
    # These two begin again when CDI's kinds appear: until they are back, KubeVirt's webhook refuses every machine.
    for name in ("virt-api", "virt-controller"):
        arguments = ("rollout", "status", "--namespace=kubevirt", f"deployment/{name}", f"--timeout={DEPLOY_SECONDS}s")
        kubectl.kubectl(place, *arguments, timeout=DEPLOY_SECONDS + 10)


def _apply_operator(place: Place, manifest: Path, definition: str) -> None:
    kubectl.apply(place, manifest)
    kubectl.wait(place, f"crd/{definition}", "condition=Established", seconds=30)
