"""What a report may claim: proven only with all of the evidence, and never more than was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.documents import KeptTpm, KeptVariables, ProbeResult
from kubeferry.life import events as ev
from kubeferry.model import Disk, Power
from reports.facts import build_report
from reports.markdown import render_markdown
from reports.pages import render_html
from reports.shapes import MachineReport, Report, Verdict

NEEDED = (
    ev.EventKind.PLANNED,
    ev.EventKind.CUTOVER_BEGUN,
    ev.EventKind.SOURCE_STOPPED,
    ev.EventKind.COPY_BEGUN,
    ev.EventKind.DISK_COPIED,
    ev.EventKind.DISK_VERIFIED,
    ev.EventKind.APPLIED,
    ev.EventKind.STARTED,
    ev.EventKind.OBSERVED,
    ev.EventKind.VALIDATED,
    ev.EventKind.COMMITTED,
)


def report_of(life, **changes) -> Report:
    facts = {"events": {life.entry.name: life.records}, "generated_at": life.at()} | changes
    return build_report(life.plan, **facts)


def machine_of(life) -> MachineReport:
    return report_of(life).machines[0]


def test_a_machine_that_went_back_ends_as_nothing_at_the_target(estate):
    vm = {"kind": "VirtualMachine", "spec": {"runStrategy": "Always"}}
    life = estate.life(manifests=(vm,)).begun().then(0.1, ev.RollbackBegun(reason="a probe failed"))
    report = report_of(life.then(0.2, ev.SourceRestarted()).then(0.3, ev.RolledBack()))
    assert report.machines[0].verdict is Verdict.ROLLED_BACK
    assert report.machines[0].ends_as == ""
    assert "Run strategy" not in render_html(report)


def whole(estate, **changes):
    return estate.life(**changes).begun().stopped().moved_bytes().observed().committed()


@pytest.mark.parametrize(
    ("life", "words"),
    [
        (
            lambda life: life.begun(),
            "Always from its commit on: it is kept running; until then only this move starts it",
        ),
        (lambda life: life.begun().stopped().moved_bytes().observed().committed(strategy="Always"), "Always since its"),
        (
            lambda life: life.begun().stopped().moved_bytes().observed().committed(),
            "Always, as its manifest says: in a cluster it is kept running",
        ),
    ],
)
def test_what_a_machine_ends_as_is_told_and_since_when(estate, life, words):
    vm = {"kind": "VirtualMachine", "spec": {"runStrategy": "Always"}}
    report = report_of(life(estate.life(manifests=(vm,))))
    assert report.machines[0].ends_as.startswith(words)
    assert words in render_markdown(report)
    assert words in render_html(report)


def test_a_machine_with_all_evidence_is_proven(estate):
    report = report_of(whole(estate, disks=("vda", "vdb")))
    assert report.verdict == "proven"
    assert report.sentence.startswith("The machine moved and is proven.")
    machine = report.machines[0]
    assert machine.verdict is Verdict.PROVEN
    assert machine.why == (
        "vda and vdb: every block was read back at the target and equals what was copied",
        "the copy passed all 3 probes",
    )
    assert [disk.root for disk in machine.disks] == [estate.ROOTS["vda"], estate.ROOTS["vdb"]]
    assert machine.disks[0].copied.bytes_per_second == pytest.approx(310 * 2**20 / 3.8)
    assert machine.target_running is False
    assert report.totals.proven_bytes == report.totals.size_bytes == 2 << 30


@pytest.mark.parametrize("kind", NEEDED)
def test_without_any_one_piece_of_evidence_nothing_is_proven(estate, kind):
    life = whole(estate, disks=("vda", "vdb"))
    lost = next(number for number, record in enumerate(life.records) if record.event.kind is kind)
    del life.records[lost]
    report = report_of(life)
    assert report.verdict == "not proven"
    assert report.machines[0].verdict is not Verdict.PROVEN


@given(cut=st.integers(0, 15), swap=st.booleans(), data=st.data())
@settings(max_examples=60)
def test_a_shortened_or_shuffled_journal_is_never_proven_and_never_an_error(estate, cut, swap, data):
    life = whole(estate, disks=("vda", "vdb"))
    if swap:
        first, second = data.draw(st.sampled_from([(1, 3), (3, 4), (4, 5), (6, 8), (9, 10), (10, 11), (11, 12)]))
        life.records[first], life.records[second] = life.records[second], life.records[first]
    else:
        life.records = life.records[: min(cut, len(life.records) - 1)]
    assert machine_of(life).verdict is not Verdict.PROVEN


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"root": "99" * 32}, "read back with another root than was copied"),
        ({"differing": 1}, "read back: 1 block differs"),
        ({"differing": 7}, "read back: 7 blocks differ"),
    ],
)
def test_a_read_back_that_does_not_match_proves_nothing(estate, changes, result):
    life = estate.life().begun().stopped()
    life.then(0.1, ev.CopyBegun(round=1, final=True)).copied("vda").verified("vda", **changes).observed().committed()
    machine = machine_of(life)
    assert machine.verdict is not Verdict.PROVEN
    assert not machine.disks[0].verified
    assert machine.disks[0].result == result


def test_a_disk_that_was_not_read_back_is_not_verified(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True)).copied("vda")
    disk = machine_of(life).disks[0]
    assert (disk.verified, disk.result, disk.verified_root, disk.read_back) == (
        False,
        "copied, and not read back",
        None,
        None,
    )


def test_another_size_than_planned_proves_nothing(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True))
    life.copied("vda", size_bytes=(1 << 30) - 512).verified("vda").observed().committed()
    machine = machine_of(life)
    assert machine.verdict is Verdict.NOT_PROVEN
    assert "the plan says 1073741824" in machine.why[0]


def test_a_copy_of_a_running_source_proves_nothing(estate):
    life = estate.life().begun()
    life.records.pop()  # the cutover
    life.then(0.1, ev.CopyBegun(round=1, final=False)).copied("vda").verified("vda")
    assert machine_of(life).disks[0].result == "copied while the source could still write to it"


def test_a_later_round_and_a_later_cutover_make_a_read_back_stale(estate):
    life = estate.life().begun().stopped().moved_bytes()
    assert machine_of(life).disks[0].verified
    life.then(5, ev.CutoverBegun(power_before=Power.RUNNING))
    assert not machine_of(life).disks[0].verified
    life.stopped().then(0.1, ev.CopyBegun(round=2, final=True))
    assert machine_of(life).disks[0].result == "its copy is of round 1, and round 2 has begun since"


def test_a_repaired_disk_is_proven_by_its_second_read_back(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True))
    life.copied("vda").verified("vda", differing=3).copied("vda", written_bytes=3 << 20).verified("vda")
    machine = machine_of(life.observed().committed())
    assert machine.verdict is Verdict.PROVEN
    assert machine.disks[0].repairs == 1
    assert [one.what for one in machine.history] == [
        "vda: 3 blocks read back wrong",
        "vda: repaired from the source, 3\u00a0MiB written",
    ]


def test_a_failing_probe_is_never_proven(estate):
    bad = ProbeResult(kind="http", what="GET / on port 80", ok=False, evidence="no answer on port 80", seconds=60)
    life = estate.life().begun().stopped().moved_bytes().observed((estate.SEEN[0], bad, estate.SEEN[2])).committed()
    machine = machine_of(life)
    assert machine.verdict is not Verdict.PROVEN
    assert [probe.ok for probe in machine.probes] == [True, False, True]


def test_probes_that_were_planned_and_not_asked_prove_nothing(estate):
    life = estate.life().begun().stopped().moved_bytes().observed(estate.SEEN[:1]).committed(probes=1)
    machine = machine_of(life)
    assert machine.verdict is Verdict.NOT_PROVEN
    assert machine.why == ("the probes that were asked are not those of the plan",)


def test_a_plan_without_probes_proves_no_boot(estate):
    life = estate.life(probes=()).begun().stopped().moved_bytes().observed().committed()
    assert machine_of(life).why == ("the plan asks no probe, so nothing shows that the copy works",)


def test_what_was_seen_of_another_machine_is_no_evidence(estate):
    life = estate.life().begun().stopped().moved_bytes().observed(machine="db").committed()
    machine = machine_of(life)
    assert (machine.verdict, machine.boot, machine.probes) == (Verdict.NOT_PROVEN, None, ())


def test_what_was_seen_before_the_newest_start_is_no_evidence(estate):
    life = estate.life().begun().stopped().moved_bytes().observed()
    life.then(1, ev.Started(where="web"))
    assert machine_of(life).boot is None


def test_an_observation_that_cannot_be_read_is_no_evidence(estate):
    life = estate.life().begun().stopped().moved_bytes().observed()
    record = life.records[-1]
    life.records[-1] = replace(record, event=ev.Observed(observation={"probes": [{"ok": True, "what": "x"}]}))
    life.committed(probes=1)
    machine = machine_of(life)
    assert machine.verdict is Verdict.NOT_PROVEN
    assert machine.boot is None


def test_events_of_another_plan_prove_nothing(estate):
    life = whole(estate)
    other = life.plan.model_copy(update={"digest": "f" * 64})
    report = build_report(other, {"web": life.records}, generated_at=life.at())
    assert report.machines[0].why == ("its events belong to another plan",)


def test_events_that_leave_out_a_disk_prove_nothing(estate):
    life = whole(estate)
    both = estate.entry("web", disks=("vda", "vdb"))
    plan = life.plan.model_copy(update={"entries": (both,)})
    machine = build_report(plan, {"web": life.records}, generated_at=life.at()).machines[0]
    assert machine.why == ("its events speak of other disks than the plan", "disk vdb: not copied")


def test_disks_that_the_plan_leaves_behind_are_named(estate):
    one = estate.entry("web")
    machine = one.machine.model_copy(update={"disks": (*one.machine.disks, Disk(id="vdz"))})
    life = estate.Life(estate.plan(one.model_copy(update={"machine": machine})), one)
    assert machine_of(life).unmoved == ("vdz",)
    wished = one.model_copy(update={"machine": machine.model_copy(update={"left_out": ("vdz",)})})
    assert machine_of(estate.Life(estate.plan(wished), one)).unmoved == ("vdz",)  # by the policy's word


# --- other ends ------------------------------------------------------------------------------------------------------


def test_a_machine_of_which_nothing_is_recorded_has_not_begun(estate):
    machine = machine_of(estate.life())
    assert (machine.verdict, machine.phase, machine.timeline, machine.boot) == (Verdict.NOT_BEGUN, None, None, None)
    assert machine.downtime.seconds is None


def test_a_cutover_under_way_says_how_far_it_is(estate):
    life = estate.life(disks=("vda", "vdb"))
    told = []

    def look(_life) -> None:
        machine = machine_of(life)
        assert machine.verdict is Verdict.UNDER_WAY
        told.append(machine.why[0])

    look(life.begun())
    look(life.stopped())
    look(life.then(0.1, ev.CopyBegun(round=1, final=True)).copied("vda"))
    look(life.copied("vdb"))
    look(life.verified("vda", differing=2))
    look(life.copied("vda").verified("vda").verified("vdb"))
    look(life.then(1, ev.Applied()))
    look(life.then(1, ev.Started()))
    assert told == [
        "the cutover has begun; the source is not confirmed off",
        "the source is off; not copied yet: vda and vdb",
        "the source is off; not copied yet: vdb",
        "copied; not read back yet: vda and vdb",
        "copied; read back with differences: vda",
        "every disk is read back and equal; the manifests are not in place yet",
        "every disk is read back and equal; the copy is not started yet",
        "the copy is started and not validated",
    ]


def test_a_failure_is_the_verdict_with_why_and_fix(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True))
    life.then(
        3,
        ev.Failed(
            at="copy-disks", what="the disk is full", why="0 bytes left", fix="Make room.", error_type="TargetRefused"
        ),
    )
    machine = machine_of(life)
    assert machine.verdict is Verdict.FAILED
    assert machine.why == ("copy-disks: the disk is full", "why: 0 bytes left", "fix: Make room.")
    assert machine.history[-1].what == "copy-disks: the disk is full (not to be retried as it is)"


def test_a_rollback_tells_its_reason_and_that_the_source_runs(estate):
    bad = ProbeResult(kind="agent", what="the guest agent answers", ok=False, evidence="no answer", seconds=60)
    life = estate.life().begun().stopped().moved_bytes().observed([bad])
    life.then(0.1, ev.RollbackBegun(reason="the target did not pass: the guest agent answers"))
    life.then(1, ev.TargetStopped()).then(2, ev.SourceRestarted()).then(0.1, ev.RolledBack())
    machine = machine_of(life)
    assert machine.verdict is Verdict.ROLLED_BACK
    assert machine.source_restarted
    assert machine.target_running is False
    assert machine.why == ("the target did not pass: the guest agent answers", "the source was started again")


def test_the_whole_is_proven_only_if_every_machine_is(estate):
    web, db, old = estate.entry("web"), estate.entry("db"), estate.entry("legacy")
    plan = estate.plan(web, db, old, excluded={"mail": "the policy excludes it"})
    moved = estate.Life(plan, web).begun().stopped().moved_bytes().observed().committed()
    stuck = estate.Life(plan, db).begun().then(9, ev.Failed(at="stop-source", what="it does not stop"))
    report = build_report(plan, {"web": moved.records, "db": stuck.records}, generated_at=stuck.at())
    assert report.verdict == "not proven"
    assert report.sentence == "1 of 3 machines is proven. db has failed; legacy has not begun."
    assert [(one.name, one.reason) for one in report.excluded] == [("mail", "the policy excludes it")]
    assert (report.totals.machines, report.totals.proven, report.totals.disks_verified) == (3, 1, 1)


def test_the_only_machine_is_not_counted(estate):
    life = estate.life().begun().then(9, ev.Failed(at="stop-source", what="it does not stop"))
    assert report_of(life).sentence == "The machine is not proven. web has failed."


def test_an_empty_plan_proves_nothing(estate):
    report = build_report(estate.plan(), {}, generated_at="2026-07-14T09:00:00Z")
    assert (report.verdict, report.sentence) == ("not proven", "The plan holds no machine.")


KEPT = KeptVariables(claim="persistent-state-for-web", file="nvram/web_VARS.fd")


def test_uefi_variables_that_the_plan_carries_are_needed_and_told(estate):
    def moved(*carried: ev.VariablesCarried) -> MachineReport:
        life = estate.life(variables=KEPT).begun().stopped().moved_bytes()
        for event in carried:
            life.then(0.1, event)
        return machine_of(life.observed().committed())

    assert moved().verdict is Verdict.NOT_PROVEN
    assert moved().why == ("its UEFI variables were not carried",)
    same = ev.VariablesCarried(source_digest="ab", digest="ab", size_bytes=540672, names=("db", "PK"), where="a/nvram")
    assert moved(same).verdict is Verdict.PROVEN
    assert moved(same).why[-1] == "2 UEFI variables of the source were put beside the copy and read back"
    assert moved(same).applied[0] == "2 UEFI variables carried to a/nvram and read back: SHA-256 ab, the same bytes"
    other = same.model_copy(update={"source_digest": "cd"})
    assert moved(other).applied[0].endswith("SHA-256 ab, SHA-256 cd at the source")
    assert moved(ev.VariablesCarried()).verdict is Verdict.PROVEN


def test_uefi_variables_of_an_earlier_attempt_count_for_nothing(estate):
    life = estate.life(variables=KEPT).begun().stopped().moved_bytes().then(0.1, ev.VariablesCarried(digest="ab"))
    life.then(0.1, ev.CutoverBegun(power_before=Power.RUNNING)).stopped().then(0.1, ev.CopyBegun(round=2, final=True))
    life.copied("vda", round=2).verified("vda").observed().committed()
    assert "its UEFI variables were not carried" in machine_of(life).why


def test_what_a_tpm_holds_is_needed_where_the_plan_carries_it_and_told(estate):
    kept = KeptTpm(claim="persistent-state-for-web", file="swtpm/u/tpm2/tpm2-00.permall")

    def moved(*carried: ev.TpmCarried) -> MachineReport:
        life = estate.life(tpm=kept).begun().stopped().moved_bytes()
        for event in carried:
            life.then(0.1, event)
        return machine_of(life.observed().committed())

    assert moved().verdict is Verdict.NOT_PROVEN
    assert moved().why == ("what its TPM holds was not carried",)
    arrived = ev.TpmCarried(digest="ab", size_bytes=1386, where=kept.claim)
    assert moved(arrived).verdict is Verdict.PROVEN
    assert moved(arrived).why[-1] == "what the TPM of the source holds was put beside the copy and read back"
    assert moved(arrived).applied[0] == f"what the TPM holds carried to {kept.claim} and read back: SHA-256 ab"
    assert moved(ev.TpmCarried()).verdict is Verdict.PROVEN
    assert moved(ev.TpmCarried()).applied[0] == "TPM: the source's holds nothing, since it never ran"
