"""What only the double in a folder has: words that a test puts into its files. The contract suite asks for the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubeferry.documents import SourceConfig, StopPolicy
from kubeferry.errors import InputInvalid, SourceRefused, SourceUnavailable
from kubeferry.inside.said import Said
from kubeferry.ledger import External
from kubeferry.model import Cpu, Disk, DiskRef, Machine, Marker, Memory, Power
from kubeferry.sources import open_source
from kubeferry.sources.memory.source import MemorySource, connect

Words = list[tuple[dict[str, str], str]]


@pytest.fixture
def source(tmp_path: Path) -> MemorySource:
    """One running machine with one disk, in a folder with a space in its name."""
    folder = tmp_path / "a source"
    folder.mkdir()
    (folder / "disk.raw").write_bytes(bytes(4096))
    disk = Disk(id="vda", uri=(folder / "disk.raw").as_uri(), format="raw", capacity_bytes=4096)
    made = MemorySource("lab", folder)
    made.write_machines(
        Machine(id="1", name="web", source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=1), disks=(disk,))
    )
    made.write_power("web", Power.RUNNING)
    return made


@pytest.fixture
def web(source: MemorySource) -> Machine:
    return source.discover().machines[0]


def unwritten(thing: External) -> None:
    raise AssertionError(f"nothing is made of a machine that is off, and {thing} was wanted")


def folder(source: MemorySource) -> Path:
    return source.folder


def test_a_second_process_finds_what_the_first_one_left(source: MemorySource, web: Machine) -> None:
    source.stop(web, StopPolicy(), lambda _words, _at, _said=None: None)
    uri = f"memory://{folder(source)}".replace(" ", "%20")
    other = open_source("lab", SourceConfig(kind="memory", uri=uri))
    assert other.power(web) is Power.OFF
    assert other.discover().machines[0].power is Power.OFF


def test_the_files_that_the_policy_names_are_heard_before_the_machine_is_off(
    source: MemorySource, web: Machine
) -> None:
    source.write_words("web", {"/etc/hostname": "web\n", "/root/private": "x"})
    source.write_said("web", Said(hostname="web"))
    heard: Words = []

    def hear(words: dict[str, str], at: str, said: Said | None = None) -> None:
        assert source.power(web) is Power.RUNNING
        assert said == Said(hostname="web")
        heard.append((words, at))

    stopped = source.stop(web, StopPolicy(last_words=("/etc/hostname", "/not/there")), hear)
    assert [words for words, _ in heard] == [{"/etc/hostname": "web\n"}]
    assert (stopped.how, stopped.last_answer_at) == ("agent", heard[0][1])


def test_who_cannot_write_the_words_down_leaves_the_machine_running(source: MemorySource, web: Machine) -> None:
    source.write_words("web", {})

    def full(_words: dict[str, str], _at: str, _said: object = None) -> None:
        raise SourceUnavailable("the journal is full")

    with pytest.raises(SourceUnavailable):
        source.stop(web, StopPolicy(), full)
    assert source.power(web) is Power.RUNNING


def test_a_machine_without_an_agent_is_stopped_by_acpi_and_never_heard(source: MemorySource, web: Machine) -> None:
    stopped = source.stop(web, StopPolicy(), lambda _words, _at, _said=None: pytest.fail("nobody is there"))
    assert (stopped.how, stopped.last_answer_at) == ("acpi", None)


def test_a_paused_machine_is_refused(source: MemorySource, web: Machine) -> None:
    source.write_power("web", Power.PAUSED)
    assert ["paused" in concern.what for concern in source.concerns(web)] == [True]
    with pytest.raises(SourceRefused, match="cannot be stopped"):
        source.stop(web, StopPolicy(force=True), lambda _words, _at, _said=None: None)


def test_faults_are_raised_one_a_call_and_then_it_works(source: MemorySource, web: Machine) -> None:
    source.write_faults("power", SourceUnavailable, SourceRefused)
    with pytest.raises(SourceUnavailable):
        source.power(web)
    with pytest.raises(SourceRefused):
        source.power(web)
    assert source.power(web) is Power.RUNNING


@pytest.mark.parametrize("uri", ["qemu:///system", "memory://host/path", "memory:relative"])
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(InputInvalid, match="is no folder"):
        connect("lab", SourceConfig(kind="memory", uri=uri))


def test_a_folder_without_machines_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"machines\.json"):
        MemorySource("lab", tmp_path).discover()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("machines", "{"),
        ("machines", json.dumps([{"name": "web"}])),
        ("power", json.dumps({"web": "asleep"})),
    ],
)
def test_words_that_nobody_understands_are_refused(source: MemorySource, file: str, content: str) -> None:
    (folder(source) / f"{file}.json").write_text(content)
    with pytest.raises(InputInvalid) as refused:
        source.discover()
    assert f"{file}.json" in refused.value.why


def test_only_the_views_that_are_asked_for_are_kept(source: MemorySource, web: Machine) -> None:
    told: list[External] = []

    def view(since: Marker | None) -> Marker | None:
        opened = source.open_round(web, since=since, final=False, remote=True, ledger=told.append)
        source.close_round(opened)
        return opened.marker

    third = view(view(view(None)))
    source.open_round(web, since=third, final=False, remote=False, ledger=told.append)
    (place,) = {thing.where for thing in told}
    kept = [path.name for path in Path(place).iterdir() if path.is_dir()]
    assert len(kept) == 2
    assert third is not None
    assert third.token in kept
    assert source.forget(web) == [place]
    assert not source.exists(told[0])


def test_a_disk_that_was_resized_and_one_that_is_no_raw_image_name_nothing(source: MemorySource, web: Machine) -> None:
    first = source.open_round(web, since=None, final=False, remote=False, ledger=lambda _thing: None)
    source.write_power("web", Power.OFF)
    assert source.open_round(web, since=first.marker, final=True, remote=False, ledger=unwritten).refs == {
        "vda": DiskRef(uri=web.disks[0].uri or "", size_bytes=4096, changed="bytes=")
    }
    (folder(source) / "disk.raw").write_bytes(bytes(8192))
    bigger = web.model_copy(update={"disks": (web.disks[0].model_copy(update={"capacity_bytes": 8192}),)})
    qcow2 = web.model_copy(update={"disks": (web.disks[0].model_copy(update={"format": "qcow2"}),)})
    for machine in (bigger, qcow2):
        source.write_machines(machine)
        opened = source.open_round(machine, since=first.marker, final=True, remote=False, ledger=unwritten)
        assert [ref.changed for ref in opened.refs.values()] == [None]


def test_a_machine_whose_agent_answers_is_frozen(source: MemorySource, web: Machine) -> None:
    source.write_words("web", {})
    opened = source.open_round(web, since=None, final=False, remote=False, ledger=lambda _thing: None)
    assert opened.consistency == "frozen"
