"""What a plan adds to a namespace: sums over all of it, without what is there, at the fullest moment."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubeferry.targets.kubevirt import claims, names
from kubeferry.targets.kubevirt.checks.demand import demand, mover_footprint, peak, pod_amounts
from kubeferry.targets.kubevirt.checks.launcher import footprint
from kubeferry.targets.kubevirt.checks.quotas import counts_us, over
from kubeferry.targets.kubevirt.quantities import amount

Make = Any
MIB = 1 << 20
SIZES = st.lists(st.integers(1, 4096), min_size=1, max_size=12)
AMOUNTS = st.dictionaries(st.sampled_from(["pods", "requests.cpu", "requests.memory"]), st.fractions(0, 100))


def entries(make: Make, sizes: list[int]) -> list[Any]:
    return [
        make.entry(
            f"vm{at}",
            claim={"resources": {"requests": {"storage": f"{size}Mi"}}},
            template={"domain": {"memory": {"guest": f"{size + 256}Mi"}}},
        )
        for at, size in enumerate(sizes)
    ]


@given(sizes=SIZES)
def test_storage_is_the_sum_of_all_claims(sizes: list[int], make: Make) -> None:
    made = entries(make, sizes)
    found = demand(make.facts(), make.request(*made), "apps")
    states = [claims.state_claim(one, one.manifests[0])["spec"]["resources"]["requests"]["storage"] for one in made]
    wanted = sum(sizes) * MIB + sum(int(amount(one)) for one in states)
    assert found["requests.storage"] == found["fast.storageclass.storage.k8s.io/requests.storage"] == wanted
    assert found["persistentvolumeclaims"] == 2 * len(sizes)
    assert found["count/jobs.batch"] == found["pods"] == found["count/virtualmachines.kubevirt.io"] == len(sizes)


@given(sizes=SIZES, there=st.sets(st.integers(0, 11)))
def test_what_is_there_is_not_counted(sizes: list[int], there: set[int], make: Make) -> None:
    made = entries(make, sizes)
    arrived = [one for at, one in enumerate(made) if at in there]
    place = make.place(
        claims=make.seen(
            *(one.manifests[0] for one in arrived), *(claims.state_claim(one, one.manifests[0]) for one in arrived)
        ),
        machines=make.seen(*(one.manifests[1] for one in arrived)),
        instances=make.seen(
            *({"metadata": {"name": one.target_name}, "status": {"phase": "Running"}} for one in arrived)
        ),
        jobs=make.seen(*({"metadata": {"name": "job", "labels": job_labels(one)}} for one in arrived)),
    )
    facts = make.facts(places={"apps": place})
    rest = [one for one in made if one not in arrived]
    with_rest = demand(facts, make.request(*made), "apps")
    alone = demand(make.facts(), make.request(*rest), "apps") if rest else {}
    if rest:
        assert with_rest == alone
    else:
        assert {"requests.storage", "persistentvolumeclaims", "count/jobs.batch"}.isdisjoint(with_rest)


def job_labels(entry: Any) -> dict[str, str]:
    return {names.MACHINE_LABEL: entry.target_name, names.DISK_LABEL: names.label_value("vda")}


def test_a_mover_that_runs_is_not_counted_again(make: Make) -> None:
    small = {"domain": {"resources": {"requests": {"memory": "1Mi"}}}}
    request = make.request(make.entry(template=small), movers={"memoryRequest": "4Gi"})
    labels = {names.PART_LABEL: names.MOVER} | job_labels(request.entries[0])
    running = make.seen({"metadata": {"name": "job", "labels": labels}, "status": {"active": 1}})
    begun = demand(make.facts(place={"jobs": running}), request, "apps")
    assert demand(make.facts(), request, "apps")["requests.memory"] == amount("4Gi")
    assert begun["requests.memory"] < amount("1Gi")


@given(st.lists(AMOUNTS, max_size=6), AMOUNTS)
def test_the_peak_is_the_fullest_moment_of_any_order(machines: list[Any], mover: Any) -> None:
    """Each machine is moved by a mover while those before it run; whichever comes last."""
    found = peak(machines, mover, moves=True)
    for name in {key for one in [mover, *machines] for key in one}:
        values = [one.get(name, Fraction()) for one in machines]
        moments = [sum(values, Fraction())]
        before = [values[:last] + values[last + 1 :] for last in range(len(values))] or [[]]
        moments += [sum(others, Fraction()) + mover.get(name, Fraction()) for others in before]
        assert found[name] == max(moments)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_quota_is_exceeded_exactly_where_need_is_more_than_is_left(hard: int, used: int, need: int) -> None:
    quota = {"spec": {}, "status": {"hard": {"pods": str(hard)}, "used": {"pods": str(used)}}}
    told = list(over(quota, {"pods": Fraction(need)}))
    assert told == ([("pods", Fraction(need), Fraction(hard - used))] if need and used + need > hard else [])


def test_a_quota_of_which_nothing_is_needed_does_not_speak_against_the_plan() -> None:
    """It may be overdrawn already: by others, or because it was lowered."""
    quota = {"spec": {}, "status": {"hard": {"secrets": "1"}, "used": {"secrets": "3"}}}
    assert list(over(quota, {"pods": Fraction(1)})) == []


def test_a_scoped_quota_counts_pods_only(make: Make) -> None:
    quota = make.quota({"requests.storage": "1"}, scopes=["NotTerminating"])
    assert counts_us(quota)
    assert list(over(quota, {"requests.storage": Fraction(2)})) == []
    assert not counts_us(make.quota({}, scopes=["Terminating"]))


def test_kubevirts_settings_change_what_a_machine_asks_for(make: Make) -> None:
    entry = make.entry()
    usual = footprint(entry, {})
    assert usual.of("cpu") == Fraction(2, 10) + Fraction(5, 1000)
    sparing = {"developerConfiguration": {"cpuAllocationRatio": 4, "memoryOvercommit": 200}}
    assert footprint(entry, sparing).of("cpu") == Fraction(2, 4) + Fraction(5, 1000)
    assert usual.of("memory") - footprint(entry, sparing).of("memory") == amount("1Gi")
    generous = footprint(entry, {"additionalGuestMemoryOverheadRatio": "2"})
    assert generous.of("memory") - usual.of("memory") == (240 + 16 + 8 + 32) * MIB


def test_hugepages_are_asked_for_as_such(make: Make) -> None:
    entry = make.entry(template={"domain": {"memory": {"guest": "2Gi", "hugepages": {"pageSize": "1Gi"}}}})
    found = footprint(entry, {})
    assert found.of("hugepages-1Gi") == amount("2Gi")
    assert found.of("memory") < amount("1Gi")
    assert pod_amounts(found)["requests.hugepages-1Gi"] == amount("2Gi")


def test_a_mover_asks_for_what_the_configuration_says(make: Make) -> None:
    settings = make.request(movers={"cpuRequest": "250m", "memoryLimit": "1Gi"}).config.movers
    assert mover_footprint(settings).of("cpu") == Fraction(1, 4)
    assert mover_footprint(settings).limits["memory"] == amount("1Gi")


def test_state_of_uefi_and_tpm_is_a_claim_too(make: Make) -> None:
    entry = make.entry(template={"domain": {"firmware": {"bootloader": {"efi": {"persistent": True}}}}})
    kubevirt = make.seen(make.kubevirt(vmStateStorageClass="fast"))
    with_state = demand(make.facts(kubevirts=kubevirt), make.request(entry), "apps")
    without = demand(make.facts(kubevirts=kubevirt), make.request(make.entry()), "apps")
    assert with_state["requests.storage"] - without["requests.storage"] == amount("10Mi")
    kept = {"metadata": {"name": "persistent-state-for-web-x7k2p"}}
    facts = make.facts(kubevirts=kubevirt, place={"claims": make.seen(kept)})
    assert demand(facts, make.request(entry), "apps")["requests.storage"] == without["requests.storage"]


def test_namespaces_are_summed_apart(make: Make) -> None:
    one, other = make.entry(), make.entry("db", namespace="data")
    facts = dataclasses.replace(make.facts(), places={"apps": make.place(), "data": make.place()})
    both = make.request(one, other)
    assert demand(facts, both, "apps") == demand(facts, make.request(one), "apps")
