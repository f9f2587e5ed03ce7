"""The libvirt source on the real libvirtd of this machine, with machines that have no system and names of their own."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from pathlib import Path
from uuid import UUID

import pytest

from kubeferry.documents import SourceConfig, StopPolicy
from kubeferry.errors import Interrupted, SourceRefused, SourceUnavailable
from kubeferry.images.tpm import FILE
from kubeferry.images.variables import Variable, store_of
from kubeferry.ledger import External
from kubeferry.model import ChainLink, Machine, Power, Severity
from kubeferry.outside import stopping
from kubeferry.sources import Source, open_source
from lab import daemons
from lab import tpm as lab_tpm
from lab.bare import Bare
from lab.daemons import virsh
from tests.needs import needs

pytestmark = [
    needs(*daemons.PROGRAMS, "root"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
]

MIB = 1 << 20
GENTLE = StopPolicy(agent_seconds=0.3, acpi_seconds=0.3)
FORCE = GENTLE.model_copy(update={"force": True})
AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def unwritten(thing: External) -> None:
    raise AssertionError(f"a cold round on this machine makes nothing, and wanted to make {thing}")


def found(source: Source, name: str) -> Machine:
    return next(machine for machine in source.discover().machines if machine.name == name)


def no_words(_words: dict[str, str], _at: str, _said: object = None) -> None:
    raise AssertionError("nobody is there to be heard")


def snapshot(bare: Bare, name: str, *untouched: str) -> Path:
    """Put a layer on top of a running machine's vda, as a snapshot does."""
    layer = bare.folder / "layer.qcow2"
    disks = [f"vda,snapshot=external,file={layer}", *(f"{disk},snapshot=no" for disk in untouched)]
    specs = [word for disk in disks for word in ("--diskspec", disk)]
    virsh("snapshot-create-as", name, "s1", "--disk-only", "--no-metadata", *specs)
    return layer


def test_a_running_chain_is_known_and_is_still_read_when_the_machine_is_off(bare: Bare, source: Source) -> None:
    base = bare.image("base.raw", size=3 * MIB)
    top = bare.image("top.qcow2", form="qcow2", backing=(base, "raw"))
    name = bare.define("chain", (top, "qcow2"), (bare.image("data.raw", size=2 * MIB), "raw"))
    assert found(source, name).disks[0].chain == (ChainLink(uri=base.as_uri(), format="raw"),)
    virsh("start", name)
    layer = snapshot(bare, name, "vdb")

    running = found(source, name)
    below = (ChainLink(uri=top.as_uri(), format="qcow2"), ChainLink(uri=base.as_uri(), format="raw"))
    assert running.power is Power.RUNNING
    assert [(disk.uri, disk.format, disk.chain) for disk in running.disks] == [
        (layer.as_uri(), "qcow2", below),
        ((bare.folder / "data.raw").as_uri(), "raw", ()),
    ]
    assert [disk.capacity_bytes for disk in running.disks] == [3 * MIB, 2 * MIB]
    assert all(disk.allocated_bytes is not None for disk in running.disks)
    assert source.concerns(running) == []

    source.stop(running, FORCE, no_words)
    off = found(source, name)
    assert [disk.capacity_bytes for disk in off.disks] == [3 * MIB, 2 * MIB]
    refs = source.open_round(running, since=None, final=True, remote=False, ledger=unwritten).refs
    assert refs["vdb"].backing is None
    links = []
    ref = refs["vda"]
    while ref is not None:
        links.append((ref.uri, ref.format))
        ref = ref.backing
    assert links == [(layer.as_uri(), "qcow2"), (top.as_uri(), "qcow2"), (base.as_uri(), "raw")]


def test_a_snapshot_after_the_plan_and_a_base_that_is_gone_are_concerns(bare: Bare, source: Source) -> None:
    base = bare.image("base.raw")
    name = bare.define("drift", (bare.image("top.qcow2", form="qcow2", backing=(base, "raw")), "qcow2"))
    virsh("start", name)
    planned = found(source, name)
    layer = snapshot(bare, name)
    assert [layer.as_uri() in concern.what for concern in source.concerns(planned)] == [True]

    current = found(source, name)
    base.unlink()
    (concern,) = source.concerns(current)
    assert f"{base}: No such file" in concern.what
    source.stop(current, FORCE, no_words)
    with pytest.raises(SourceRefused) as refused:
        source.open_round(current, since=None, final=True, remote=False, ledger=unwritten)
    assert str(base) in refused.value.why


def test_what_runs_only_until_the_next_stop_is_told(bare: Bare, source: Source) -> None:
    name = bare.define("hot", (bare.image("a.raw"), "raw"))
    virsh("start", name)
    virsh("attach-disk", name, str(bare.image("b.raw")), "vdz", "--live", "--subdriver", "raw")
    facts = {fact.path: fact.value for fact in found(source, name).unmodelled}
    assert facts["running/disk/vdz"] == "attached until the next stop only"


def test_a_machine_without_a_system_does_not_stop_in_the_time_that_it_is_given(bare: Bare, source: Source) -> None:
    name = bare.define("deaf", (bare.image("a.raw"), "raw"), devices=AGENT)
    virsh("start", name)
    machine = found(source, name)
    assert (machine.guest.agent_channel, machine.guest.agent_answers) == (True, False)
    began = time.monotonic()
    with pytest.raises(SourceRefused, match="does not stop") as refused:
        source.stop(machine, GENTLE, no_words)
    assert time.monotonic() - began < 60  # not the minutes that libvirt would wait for an agent
    assert refused.value.exit_code == 2
    assert "stop.force" in refused.value.fix
    assert source.power(machine) is Power.RUNNING

    assert source.stop(machine, FORCE, no_words).how == "forced"
    assert virsh("domstate", name).strip() == "shut off"
    assert name in virsh("list", "--all", "--name").split()


def test_somebody_who_asks_to_stop_is_answered_while_a_machine_takes_its_time(bare: Bare, source: Source) -> None:
    name = bare.define("slow", (bare.image("a.raw"), "raw"))
    virsh("start", name)
    machine = found(source, name)
    asking = threading.Timer(0.5, stopping.request)
    asking.start()
    try:
        with pytest.raises(Interrupted):
            source.stop(machine, StopPolicy(agent_seconds=60, acpi_seconds=60), no_words)
    finally:
        asking.join()
        stopping.reset()
    assert source.power(machine) is Power.RUNNING


def test_a_transient_machine_is_never_stopped(bare: Bare, source: Source) -> None:
    name = bare.create("transient", (bare.image("a.raw"), "raw"))
    machine = found(source, name)
    assert any("transient" in fact.value for fact in machine.unmodelled)
    assert ["transient" in concern.what for concern in source.concerns(machine)] == [True]
    with pytest.raises(SourceRefused, match="cannot be stopped safely") as refused:
        source.stop(machine, FORCE, no_words)
    assert "virsh define" in refused.value.fix
    assert source.power(machine) is Power.RUNNING


def test_a_connection_that_may_only_look_is_a_concern_before_anything_stops(bare: Bare, source: Source) -> None:
    name = bare.define("looked-at", (bare.image("a.raw"), "raw"))
    virsh("start", name)
    machine = found(source, name)
    assert source.concerns(machine) == []
    socket = "/run/libvirt/libvirt-sock-ro"
    looking = open_source("lab", SourceConfig(kind="libvirt", uri=f"qemu+unix:///system?socket={socket}"))
    try:
        said = [one.what for one in looking.concerns(machine)]
        assert ["it cannot be stopped, nor started again" in one for one in said] == [True]
        with pytest.raises(SourceRefused, match="cannot be stopped safely"):
            looking.stop(machine, FORCE, no_words)
    finally:
        looking.close()
    assert source.power(machine) is Power.RUNNING
    virsh("destroy", name)
    assert source.concerns(machine) == []
    assert source.power(machine) is Power.OFF, "asking whether it may be started does not start it"


def test_a_machine_that_a_shutdown_starts_anew_is_a_concern(bare: Bare, source: Source) -> None:
    xml = bare.xml("phoenix", (bare.image("a.raw"), "raw"), more="<on_poweroff>restart</on_poweroff>")
    name = bare._give("define", "phoenix", xml)
    assert source.concerns(found(source, name)) == [], "it is off"
    virsh("start", name)
    (told,) = source.concerns(found(source, name))
    assert "its on_poweroff is restart" in told.what


def test_what_a_trial_may_open_of_a_machine(bare: Bare, source: Source) -> None:
    name = bare.define("tried", (bare.image("a.qcow2", form="qcow2"), "qcow2"))
    machine = found(source, name)
    with source.way(machine, remote=False) as way:
        assert way is not None
        assert (way.uri, way.format) == ((bare.folder / "a.qcow2").as_uri(), "qcow2")
    virsh("start", name)
    with source.way(machine, remote=False) as way:
        assert way is None, "its disks are in use"


def test_a_paused_machine_is_refused_and_stays_paused(bare: Bare, source: Source) -> None:
    name = bare.define("paused", (bare.image("a.raw"), "raw"))
    virsh("start", name, "--paused")
    machine = found(source, name)
    assert machine.power is Power.PAUSED
    assert ["paused" in concern.what for concern in source.concerns(machine)] == [True]
    with pytest.raises(SourceRefused, match="cannot be stopped safely") as refused:
        source.stop(machine, FORCE, no_words)
    assert "Resume" in refused.value.fix
    with pytest.raises(SourceRefused, match="not off"):
        source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten)
    assert source.power(machine) is Power.PAUSED


def test_a_machine_with_saved_memory_is_off_but_its_disks_are_not_whole(bare: Bare, source: Source) -> None:
    name = bare.define("saved", (bare.image("a.qcow2", form="qcow2"), "qcow2"))
    virsh("start", name)
    virsh("managedsave", name)
    machine = found(source, name)
    assert machine.power is Power.OFF
    assert "domain/managedSave" in [fact.path for fact in machine.unmodelled]
    assert ["memory is saved" in concern.what for concern in source.concerns(machine)] == [True]
    for call in (
        lambda: source.stop(machine, FORCE, no_words),
        lambda: source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten),
    ):
        with pytest.raises(SourceRefused) as refused:
            call()
        assert "memory is saved" in refused.value.why
        assert "managedsave-remove" in refused.value.fix
    virsh("managedsave-remove", name)
    assert source.stop(machine, GENTLE, no_words).how == "already-off"
    assert source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten).refs.keys() == {"vda"}


def test_a_machine_that_was_renamed_is_found_and_one_that_is_gone_is_refused(bare: Bare, source: Source) -> None:
    name = bare.define("before", (bare.image("a.raw"), "raw"))
    machine = found(source, name)
    renamed = f"{bare.prefix}after"
    bare.names.append(renamed)
    virsh("domrename", name, renamed)
    bare.define("before", (bare.image("b.raw"), "raw"))  # another machine has the name now
    refs = source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten).refs
    assert refs["vda"].uri == (bare.folder / "a.raw").as_uri()

    virsh("undefine", renamed)
    with pytest.raises(SourceRefused, match="no such machine") as refused:
        source.start(machine)
    assert (refused.value.machine, refused.value.exit_code) == (name, 2)
    assert refused.value.fix


def test_what_libvirt_refuses_is_told_in_its_words(bare: Bare, source: Source) -> None:
    image = bare.image("a.raw")
    name = bare.define("broken", (image, "raw"))
    machine = found(source, name)
    image.unlink()
    with pytest.raises(SourceRefused, match="libvirt refused") as refused:
        source.start(machine)
    assert str(image) in refused.value.why
    assert refused.value.machine == name


def test_a_machine_whose_disk_cannot_be_looked_at_is_told_with_an_unknown_size(bare: Bare, source: Source) -> None:
    image = bare.image("a.raw")
    name = bare.define("blind", (image, "raw"))
    image.unlink()
    machine = found(source, name)
    assert machine.disks[0].capacity_bytes is None
    assert ["No such file" in concern.what for concern in source.concerns(machine)] == [True]


def test_a_libvirtd_that_does_not_answer_is_worth_another_try(bare: Bare, source: Source, tmp_path: Path) -> None:
    machine = found(source, bare.define("far", (bare.image("a.raw"), "raw")))
    place = tmp_path / "libvirt.sock"
    away = open_source("lab", SourceConfig(kind="libvirt", uri=f"qemu+unix:///system?socket={place}"))
    for call in (away.discover, lambda: away.power(machine), lambda: away.stop(machine, FORCE, no_words)):
        with pytest.raises(SourceUnavailable, match="does not answer") as unavailable:
            call()
        assert unavailable.value.exit_code == 1
        assert unavailable.value.transient
        assert "libvirtd" in unavailable.value.fix
    place.symlink_to("/run/libvirt/libvirt-sock")  # it is back
    assert away.power(machine) is Power.OFF
    away.close()


class Relay(socketserver.ThreadingUnixStreamServer):
    """A socket in front of libvirtd's, so that a test can cut what stands between."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.ends: list[socket.socket] = []
        super().__init__(str(path), Relayed)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self) -> None:
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Relayed(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as far:
            far.connect("/run/libvirt/libvirt-sock")
            self.server.ends += [far, self.request]
            back = threading.Thread(target=pump, args=(far, self.request), daemon=True)
            back.start()
            pump(self.request, far)
            back.join()


def pump(giving: socket.socket, taking: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := giving.recv(65536):
            taking.sendall(content)
        taking.shutdown(socket.SHUT_WR)


def test_a_connection_that_broke_is_told_and_made_anew(bare: Bare, source: Source, tmp_path: Path) -> None:
    machine = found(source, bare.define("again", (bare.image("a.raw"), "raw")))
    with Relay(tmp_path / "relay") as relay:
        through = open_source("lab", SourceConfig(kind="libvirt", uri=f"qemu+unix:///system?socket={tmp_path}/relay"))
        assert through.power(machine) is Power.OFF
        relay.cut()
        with pytest.raises(SourceUnavailable, match="does not answer") as unavailable:
            through.power(machine)
        assert unavailable.value.machine == machine.name
        assert through.power(machine) is Power.OFF
        assert through.discover().machines
        through.close()
        relay.shutdown()


def test_disks_on_another_host_are_refused_before_anything_is_asked(bare: Bare, source: Source) -> None:
    machine = found(source, bare.define("remote", (bare.image("a.raw"), "raw")))
    far = open_source("far", SourceConfig(kind="libvirt", uri="qemu+ssh://hypervisor.invalid/system"))
    with pytest.raises(SourceRefused, match="cannot be read") as refused:
        far.open_round(machine, since=None, final=True, remote=False, ledger=unwritten)
    assert "hypervisor.invalid" in refused.value.why
    assert refused.value.machine == machine.name


def test_uefi_variables_are_those_in_the_file_that_the_definition_names(bare: Bare, source: Source) -> None:
    path, definition = bare.folder / "web_VARS.fd", bare.folder / "uefi.xml"
    firmware = (
        "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
        f"<nvram>{path}</nvram></os><features><acpi/></features>"
    )
    definition.write_text(bare.xml("uefi", (bare.image("a.raw"), "raw")).replace("</os>", firmware))
    bare.names.append(f"{bare.prefix}uefi")
    virsh("define", str(definition))
    machine = found(source, f"{bare.prefix}uefi")
    assert machine.firmware.nvram == str(path)
    assert source.variables(machine) is None, "it never ran"
    store = store_of((Variable("Mark", UUID(int=7), 7, b"set here"),), "4m")
    path.write_bytes(store)
    assert source.variables(machine) == store
    path.unlink()
    path.mkdir()
    with pytest.raises(SourceRefused, match="neither a file"):
        source.variables(machine)
    path.rmdir()  # else libvirt would not undefine the machine with it


@needs(*lab_tpm.PROGRAMS, "swtpm_setup")
def test_what_a_tpm_holds_is_what_libvirts_own_swtpm_has_kept(bare: Bare, source: Source, tmp_path: Path) -> None:
    """libvirt starts the machine, and with it a swtpm that it has set up; what is read opens in another one."""
    definition = bare.folder / "tpm.xml"
    device = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices>"
    definition.write_text(bare.xml("tpm", (bare.image("a.raw"), "raw")).replace("</devices>", device))
    name = f"{bare.prefix}tpm"
    bare.names.append(name)
    virsh("define", str(definition))
    machine = found(source, name)
    assert machine.tpm is not None
    assert machine.tpm.state == f"/var/lib/libvirt/swtpm/{machine.uuid}/tpm2/tpm2-00.permall"
    assert source.tpm_state(machine) is None, "it never ran"
    virsh("start", name)
    assert source.tpm_state(machine) is not None, "it can be read while it runs"
    virsh("destroy", name)
    state = source.tpm_state(machine)
    assert state is not None
    assert state == Path(machine.tpm.state).read_bytes()
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / FILE).write_bytes(state)
    with lab_tpm.running(folder) as tpm:
        tpm.write(b"and it works")
        assert tpm.read() == b"and it works"
    assert Path(machine.tpm.state).read_bytes() == state


def test_a_disk_that_another_machine_writes_is_copied_for_the_last_time_once_that_is_off(
    bare: Bare, source: Source
) -> None:
    shared = bare.image("shared.raw")
    for name in ("one", "other"):
        xml = bare.xml(name, (bare.image(f"{name}.raw"), "raw"), (shared, "raw"))
        definition = bare.folder / f"{name}.xml"
        definition.write_text(xml.replace("<target dev='vdb' bus='virtio'/>", "<target dev='vdb'/><shareable/>"))
        bare.names.append(bare.prefix + name)
        virsh("define", str(definition))
    virsh("start", f"{bare.prefix}other")
    machine = found(source, f"{bare.prefix}one")
    (told,) = source.concerns(machine)
    assert (told.id, told.severity) == ("source.shared-writer", Severity.WARNING)
    assert f"vdb: {shared.as_uri()} is {bare.prefix}other's as well, which is running" in told.what
    with pytest.raises(SourceRefused, match="last copy cannot be made yet"):
        source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten)
    assert source.open_round(machine, since=None, final=False, remote=False, ledger=unwritten).consistency == "crash"
    kept = machine.model_copy(update={"disks": machine.disks[:1], "left_out": ("vdb",)})
    assert source.concerns(kept) == []
    virsh("destroy", f"{bare.prefix}other")
    assert source.concerns(machine) == []
    last = source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten)
    assert last.consistency == "off"


def test_what_the_filter_of_a_card_lets_through_is_asked_of_libvirt(bare: Bare, source: Source, tmp_path: Path) -> None:
    filter_name = f"{bare.prefix}guard"
    text = (
        f"<filter name='{filter_name}' chain='root'><filterref filter='clean-traffic'/>"
        "<rule action='accept' direction='in'><tcp dstportstart='443'/></rule>"
        "<rule action='drop' direction='in' priority='900'><all/></rule></filter>"
    )
    (tmp_path / "filter.xml").write_text(text)
    card = (
        f"<interface type='ethernet'><mac address='52:54:00:00:00:09'/><filterref filter='{filter_name}'/></interface>"
    )
    virsh("nwfilter-define", str(tmp_path / "filter.xml"))
    try:
        name = bare.define("guarded", (bare.image("a.raw", size=MIB), "raw"), devices=card)
        (told,) = found(source, name).nics[0].filters or ()
        assert [rule.line for rule in told.rules or ()][-2:] == [
            "tcp 443 from 0.0.0.0/0 accepted",
            "all from 0.0.0.0/0 refused",
        ]
    finally:
        bare.remove()
        virsh("nwfilter-undefine", filter_name)
