"""UEFI variables in a cluster: where KubeVirt keeps them, the claim that is made for them, and the mover's pod."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import KeptVariables, MoverJob, MoverSettings, StateOffer
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import job_spec, names
from kubeferry.targets.kubevirt.checks import demand
from kubeferry.targets.kubevirt.offer import keeps_state, offer_of, platform_of, state_of
from kubeferry.uris import inline_uri

KEPT = KeptVariables(claim="persistent-state-for-web", file="nvram/web_VARS.fd")
ON = {"developerConfiguration": {"featureGates": ["VMPersistentState"]}}


def classes(*found: tuple[str, dict[str, str], list[tuple[str, str]]]) -> Any:
    made = [{"metadata": {"name": name, "annotations": marks}} for name, marks, _ in found]
    profiles = [
        {
            "metadata": {"name": name},
            "status": {"claimPropertySets": [{"volumeMode": mode, "accessModes": [access]} for mode, access in sets]},
        }
        for name, _, sets in found
    ]
    return offer_of(made, profiles, []).classes


DEFAULT = ("plain", {"storageclass.kubernetes.io/is-default-class": "true"}, [("Filesystem", "ReadWriteOnce")])
VIRT = (
    "virt",
    {"storageclass.kubevirt.io/is-default-virt-class": "true"},
    [("Block", "ReadWriteMany"), ("Filesystem", "ReadWriteOnce"), ("Filesystem", "ReadWriteMany")],
)
NAMED = ("named", {}, [])


def kubevirt(version: str = "v1.9.0", **settings: Any) -> list[dict[str, Any]]:
    return [{"spec": {"configuration": settings}, "status": {"observedKubeVirtVersion": version}}]


@pytest.mark.parametrize(
    ("found", "kubevirts", "expected"),
    [
        ((DEFAULT,), kubevirt(), ("plain", "ReadWriteOnce")),
        ((DEFAULT, VIRT), kubevirt(), ("virt", "ReadWriteMany")),
        ((DEFAULT, NAMED), kubevirt(vmStateStorageClass="named"), ("named", "ReadWriteMany")),
        ((DEFAULT,), kubevirt(vmStateStorageClass="plain"), ("plain", "ReadWriteOnce")),
        ((DEFAULT,), kubevirt(vmStateStorageClass="gone"), None),
        ((NAMED,), kubevirt(), None),
        ((DEFAULT,), [], None),
        ((DEFAULT,), kubevirt("v1.5.2"), None),
        ((DEFAULT,), kubevirt("v1.5.2", **ON), ("plain", "ReadWriteOnce")),
        ((DEFAULT,), kubevirt("v1.6.0"), ("plain", "ReadWriteOnce")),
    ],
)
def test_the_class_is_the_one_that_kubevirt_would_take(found: Any, kubevirts: Any, expected: Any) -> None:
    state = state_of(classes(*found), kubevirts)
    assert (state and (state.storage_class, state.access_mode)) == expected
    assert state is None or isinstance(state, StateOffer)


def test_the_gate_is_asked_for_before_the_version_that_needs_none() -> None:
    made = [platform_of(kubevirt(version)) for version in ("v1.5.2", "v1.6.0", "by-hand")]
    assert [keeps_state(one) for one in made] == [False, True, True]
    assert keeps_state(platform_of(kubevirt("v1.5.2", **ON)))
    assert not keeps_state(platform_of([]))


def test_the_movers_pod_mounts_the_claim_and_needs_no_way_out(make: Any) -> None:
    entry = make.entry()
    job = MoverJob(
        name="a-web-variables-copy-1",
        action="copy",
        source=DiskRef(uri=inline_uri(b"\xff" * 540672), size_bytes=540672),
        target=names.kept_ref(entry, KEPT, 540672),
        state_dir=names.state_dir(entry, f"{KEPT.claim}/1"),
        plan="abc",
    )
    assert job_spec.far_end(job) is None
    pod = job_spec.job_manifest(job, MoverSettings(), {})["spec"]["template"]["spec"]
    claims = [one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one]
    assert claims == ["persistent-state-for-web", names.state_claim("web")]
    mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert job.target.uri == f"file://{mounted['disk']}/nvram/web_VARS.fd"
    assert "secret" not in str(pod["volumes"])


def test_a_reference_to_a_whole_claim_is_none_to_a_file_on_it() -> None:
    root = names.ROOT
    for uri in (f"file://{root}/apps/web/disks/a", f"block://{root}/apps/web/disks/a/disk.img"):
        job = MoverJob(name="a", action="verify", target=DiskRef(uri=uri), state_dir=f"{root}/apps/web/state/a")
        with pytest.raises(ValueError, match="no disk"):
            names.site_of(job)


def test_the_claim_counts_once(make: Any) -> None:
    efi = {"domain": {"firmware": {"bootloader": {"efi": {"persistent": True}}}}}
    kept = make.entry(template=efi)
    claim = kept.manifests[0] | {"metadata": kept.manifests[0]["metadata"] | {"name": KEPT.claim}}
    planned = kept.model_copy(update={"variables": KEPT, "manifests": (kept.manifests[0], claim, kept.manifests[1])})
    facts = make.facts()
    for entry in (kept, planned):
        listed = [room.name for room in demand.rooms(facts, facts.places["apps"], make.request(), [entry])]
        assert listed.count(KEPT.claim) == 1
