"""Bad input through the command line: a clear message with a fix, the right exit code, and nothing half-done."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Inventory, Plan, load
from kubeferry.errors import SourceUnavailable
from kubeferry.life.events import Planned
from kubeferry.life.machine_state import Phase
from kubeferry.model import ChainLink, Power
from kubeferry.outside.process import run
from tests.needs import here

MIB = 2**20
DOMAIN = """\
<domain type='kvm'><name>{name}</name><uuid>6f1d2b3c-1111-4222-8333-{uuid:012}</uuid>
<memory unit='MiB'>256</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
<devices><interface type='network'><mac address='{mac}'/><source network='default'/></interface></devices></domain>
"""


def tree(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, to see that nothing has changed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(small: Any) -> Callable[..., str]:
    """Run a command line that must be refused: the message has `says` and `fix`, and nothing was changed."""

    def check(*arguments: str, says: str, fix: str, code: int = 2, journal: bool = False) -> str:
        before = (tree(small.folder / "source"), tree(small.target))
        ended, out, err = small.command(*arguments)
        assert ended == code, out + err
        assert says in err
        assert fix in err
        assert "Traceback" not in err
        assert (tree(small.folder / "source"), tree(small.target)) == before
        assert {machine.name: small.power(machine.name) for machine in small.machines} == {
            machine.name: machine.power for machine in small.machines
        }
        return str(err)

    return check


# --- domain XML ------------------------------------------------------------------------------------------------------


def exported(small: Any, **files: str) -> None:
    (small.folder / "exported").mkdir()
    for name, text in files.items():
        (small.folder / "exported" / f"{name}.xml").write_text(text)


def domain(name: str, number: int, mac: str = "") -> str:
    return DOMAIN.format(name=name, uuid=number, mac=mac or f"52:54:00:00:00:{number:02x}")


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("<domain><name>web</name>", "virsh dumpxml"),
        ("not XML at all", "virsh dumpxml"),
        ('<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><domain><name>&a;</name></domain>', "Remove it"),
    ],
)
def test_malformed_domain_xml_is_left_out_and_costs_its_neighbours_nothing(small: Any, text: str, fix: str) -> None:
    exported(small, good=domain("good", 1), bad=text)
    code, out, _err = small.command("discover", "--from", "exported")
    assert code == 2
    (line,) = [line for line in out.splitlines() if line.startswith("warning")]
    assert "bad.xml" in line
    assert fix in line
    assert "root:" not in out
    assert out.splitlines()[-1] == "1 machine written to inventory.yaml, 1 machine or file left out"
    assert [machine.name for machine in load(small.folder / "inventory.yaml", Inventory).machines] == ["good"]


@pytest.mark.parametrize(
    ("text", "told", "code"),
    [
        ("", "bad.xml: it is empty, as after a failed `virsh dumpxml`", 2),
        ("<network><name>default</name></network>", "bad.xml: it is a network, no domain", 0),
    ],
)
def test_a_file_that_holds_no_domain_is_told_and_costs_its_neighbours_nothing(
    small: Any, text: str, told: str, code: int
) -> None:
    exported(small, good=domain("good", 1), bad=text)
    assert small.command("discover", "--from", "exported", "--json")[0] == code
    ended, out, _err = small.command("discover", "--from", "exported")
    assert ended == code
    assert told in out
    assert [machine.name for machine in load(small.folder / "inventory.yaml", Inventory).machines] == ["good"]


def test_every_problem_of_every_file_is_told_at_once(small: Any, refused: Callable[..., str]) -> None:
    exported(small, one="<domain", two="<domain")
    message = refused("discover", "--from", "exported", says="one.xml", fix="virsh dumpxml")
    assert "two.xml" in message
    assert not (small.folder / "inventory.yaml").exists()


def test_two_exported_machines_with_one_name_are_told_apart(small: Any) -> None:
    exported(small, a=domain("web", 1), b=domain("web", 2))
    assert small.command("discover", "--from", "exported")[0] == 0
    names = [machine.name for machine in load(small.folder / "inventory.yaml", Inventory).machines]
    assert len(set(names)) == 2
    assert all(name.startswith("web-") for name in names)


def test_two_exported_machines_with_one_mac(small: Any, refused: Callable[..., str]) -> None:
    mac = "52:54:00:aa:bb:cc"
    exported(small, a=domain("web", 1, mac), b=domain("db", 2, mac))
    assert small.command("discover", "--from", "exported")[0] == 0, "one of them may stay where it is"
    message = refused("plan", "inventory.yaml", says=mac, fix="leave one of the machines out")
    assert "machine web" in message
    assert "machine db" in message
    assert not (small.folder / "plan.yaml").exists()


def test_a_file_that_cannot_be_read(small: Any) -> None:
    exported(small, web=domain("web", 1))
    (small.folder / "exported" / "binary.xml").write_bytes(b"\xff\xfe\x00")
    (small.folder / "exported" / "pipe.xml").symlink_to("/proc/self/mem")  # root reads everything but this
    code, out, _err = small.command("discover", "--from", "exported")
    assert code == 2
    assert "binary.xml" in out
    assert "Check its permissions" in next(line for line in out.splitlines() if "pipe.xml" in line)


# --- machines of a source --------------------------------------------------------------------------------------------


def test_two_machines_with_one_name(small: Any, refused: Callable[..., str]) -> None:
    small.add("web")
    small.add("db")
    assert small.command("discover")[0] == 0
    inventory = small.folder / "inventory.yaml"
    inventory.write_text(inventory.read_text().replace("name: db", "name: web"))
    refused("plan", "inventory.yaml", says="two machines are called 'web'", fix="Correct the value")
    assert not (small.folder / "plan.yaml").exists()


def test_two_machines_with_one_mac(small: Any, refused: Callable[..., str]) -> None:
    nics = small.add("web").nics
    small.add("db", nics=nics)
    assert small.command("discover")[0] == 0
    refused("plan", "inventory.yaml", says=nics[0].mac, fix="address")


def test_a_disk_that_does_not_exist(server: str, small: Any, refused: Callable[..., str]) -> None:
    small.add("web")
    small.plan()
    small.disk("web").unlink()
    refused("migrate", "plan.yaml", says="No such file", fix="Bring the image back")
    assert not small.target.exists()


def test_a_backing_file_that_is_missing(server: str, small: Any, refused: Callable[..., str]) -> None:
    link = ChainLink(uri=(small.folder / "source" / "base.img").as_uri(), format="raw")
    small.add("web", drive={"chain": (link,), "format": "qcow2"})
    small.plan()
    refused("migrate", "plan.yaml", says="base.img", fix="Bring the image back")
    assert not small.target.exists()


def test_a_disk_that_is_none(server: str, small: Any, refused: Callable[..., str]) -> None:
    small.add("web")
    small.plan()
    small.disk("web").unlink()
    small.disk("web").mkdir()
    refused("migrate", "plan.yaml", says="neither a file nor a block device", fix="Correct")


# --- images that name other files ------------------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[tuple[Path, threading.Event]]:
    """A FIFO, and whether anybody has ever opened it for reading."""
    fifo, opened = tmp_path / "secret", threading.Event()
    os.mkfifo(fifo)

    def wait() -> None:
        os.close(os.open(fifo, os.O_WRONLY))  # returns when there is a reader
        opened.set()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    yield fifo, opened
    os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    waiting.join(5)


@pytest.mark.parametrize("kind", ["backing", "data"])
def test_a_qcow2_that_names_a_host_file(server: str, small: Any, trap: tuple[Path, threading.Event], kind: str) -> None:
    fifo, opened = trap
    image = small.disk("web")
    hostile_image(image, fifo, kind)
    small.add("web", disk=image, drive={"format": "qcow2", "capacity_bytes": MIB})
    small.plan()
    before = image.read_bytes()
    code, _, err = small.command("migrate", "plan.yaml")
    assert code == 2
    assert "fix:" in err
    assert kind in err
    assert not opened.is_set()
    assert image.read_bytes() == before
    assert small.power("web") is Power.RUNNING
    assert small.state("web").phase is Phase.ROLLED_BACK
    assert not {"disk-copied", "applied"} & set(small.kinds("web"))


def hostile_image(image: Path, named: Path, kind: str) -> None:
    if kind == "backing":
        run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", str(named), "-F", "raw", str(image), "1M"])
        return
    # qemu-img makes the data file itself: made beside, then the name in the header is exchanged for ours.
    beside = named.with_name("x" * len(named.name))
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={beside},data_file_raw=on", str(image), "1M"])
    beside.unlink()
    image.write_bytes(image.read_bytes().replace(os.fsencode(beside), os.fsencode(named)))


# --- the target ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(small: Any) -> Iterator[Path]:
    """A target on a file system of 24 MiB."""
    here("root")
    small.target.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small.target)])
    yield small.target
    run(["umount", str(small.target)])


def big_disk(small: Any) -> Path:
    path: Path = small.disk("big")
    path.write_bytes(os.urandom(48 * MIB))
    return path


def test_a_target_that_is_known_to_be_too_small(small: Any, tiny: Path, refused: Callable[..., str]) -> None:
    small.add("big", disk=big_disk(small), drive={"allocated_bytes": 48 * MIB})
    small.plan()
    refused("migrate", "plan.yaml", says="free", fix="Free space there")
    assert list(tiny.iterdir()) == []


def test_a_target_that_runs_full_in_mid_copy(server: str, small: Any, tiny: Path) -> None:
    disk = big_disk(small)
    small.add("big", disk=disk)
    small.plan()
    digest = hash(disk.read_bytes())
    code, _, err = small.command("migrate", "plan.yaml")
    assert code == 2
    assert "the target is full" in err or "No space left" in err, err
    assert "fix: Make room" in err or "fix: Give" in err, err
    assert (small.power("big"), small.state("big").phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert "applied" not in small.kinds("big")
    assert hash(disk.read_bytes()) == digest


def test_a_target_that_is_not_ours(small: Any, refused: Callable[..., str]) -> None:
    small.add("web")
    small.plan()
    small.target.mkdir()
    (small.target / "thesis.doc").write_text("do not lose")
    refused("migrate", "plan.yaml", says="not empty and not ours", fix="empty or new folder")


def test_a_target_that_is_a_file(small: Any, refused: Callable[..., str]) -> None:
    small.add("web")
    small.plan()
    small.target.write_text("a file")
    refused("migrate", "plan.yaml", says="is a file", fix="empty or new folder")
    assert small.target.read_text() == "a file"


def test_a_machine_s_folder_that_is_not_ours(small: Any, refused: Callable[..., str]) -> None:
    small.add("web")
    small.plan()
    (small.target / "machines" / "web").mkdir(parents=True)
    (small.target / "machines" / "web" / "mine.txt").write_text("do not lose")
    (small.target / "kubeferry-target.yaml").write_text("apiVersion: kubeferry.io/v1alpha1\nkind: DirectoryTarget\n")
    refused("migrate", "plan.yaml", says="not empty and not ours", fix="another name in the policy")


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.fixture
def planned(small: Any) -> Path:
    small.add("web")
    small.plan()
    path: Path = small.folder / "plan.yaml"
    return path


@pytest.mark.parametrize("verb", ["migrate", "status", "release", "report"])
def test_a_plan_that_was_edited(planned: Path, refused: Callable[..., str], verb: str) -> None:
    planned.write_text(planned.read_text().replace("namespace: default", "namespace: other"))
    refused(verb, "plan.yaml", says="was changed after it was made", fix="kubeferry plan")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a mapping"),
        ("- a\n- b\n", "not a mapping"),
        ("apiVersion: kubeferry.io/v1alpha1\nkind: Plan\n", "is missing"),
        ("apiVersion: kubeferry.io/v9\nkind: Policy\n", "kind is 'Policy'"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: &x [1]\nb: *x\n", "alias"),
        ("\x00\x01\x02", "plan.yaml"),
    ],
)
def test_a_plan_that_is_nonsense(planned: Path, refused: Callable[..., str], text: str, says: str) -> None:
    planned.write_text(text)
    refused("migrate", "plan.yaml", says=says, fix=".")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sizeBytes: 2097152", "sizeBytes: -1"),
        ("targetName: web", "targetName: ../../etc"),
        ("targetName: web", "targetName: web\n  sudo: true"),
    ],
)
def test_a_plan_edited_into_nonsense_names_the_line(
    planned: Path, refused: Callable[..., str], old: str, new: str
) -> None:
    text = planned.read_text()
    assert old in text
    planned.write_text(text.replace(old, new))
    message = refused("migrate", "plan.yaml", says="plan.yaml:", fix=".")
    assert "1 problem" in message


def test_a_plan_of_another_source(planned: Path, small: Any, refused: Callable[..., str]) -> None:
    configuration = small.folder / "kubeferry.yaml"
    configuration.write_text(configuration.read_text().replace("lab:", "other:"))
    refused("migrate", "plan.yaml", says="no source is called 'lab'", fix="Add it")


# --- the journal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["migrate", "status", "release", "report"])
def test_a_journal_that_is_garbage(planned: Path, small: Any, refused: Callable[..., str], verb: str) -> None:
    journal = small.folder / "journal.db"
    journal.write_bytes(b"this was never a database" * 400)
    refused(verb, "plan.yaml", says="journal", fix=".")
    assert journal.read_bytes() == b"this was never a database" * 400


@pytest.fixture
def journal(planned: Path, small: Any) -> Path:
    """A journal in which the machine's first event stands."""
    plan = load(planned, Plan)
    with small.journal() as opened:
        opened.register_plan(plan.digest, plan.name, "")
        with opened.lease(plan.digest, "web") as lease:
            opened.append(lease, Planned(plan_digest=plan.digest, disks=("vda",)))
    path: Path = small.folder / "journal.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_a_journal_that_is_cut_off(journal: Path, refused: Callable[..., str], share: float) -> None:
    whole = journal.stat().st_size
    os.truncate(journal, int(whole * share))
    refused("migrate", "plan.yaml", says="journal", fix="estore")


def test_a_journal_that_was_edited(server: str, journal: Path, refused: Callable[..., str]) -> None:
    with sqlite3.connect(journal) as db:
        table = next(
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if "payload" in [column[1] for column in db.execute(f"PRAGMA table_info({name})")]
        )
        for (name,) in list(db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")):
            db.execute(f"DROP TRIGGER {name}")
        db.execute(f"UPDATE {table} SET payload = replace(payload, 'vda', 'vdb')")  # noqa: S608
    db.close()
    refused("migrate", "plan.yaml", says="damaged", fix="estore")
    refused("status", "plan.yaml", says="damaged", fix="estore")


# --- the source goes away --------------------------------------------------------------------------------------------


def test_a_source_that_does_not_answer(small: Any) -> None:
    shutil.rmtree(small.folder / "source")
    (small.folder / "source").mkdir()
    code, _, err = small.command("discover")
    assert code == 1
    assert "fix:" in err
    assert not (small.folder / "inventory.yaml").exists()


def test_a_source_that_goes_away_in_mid_copy(server: str, small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubeferry.life import tries

    monkeypatch.setattr(tries, "DELAYS_SECONDS", [0.1])
    small.configure(target="memory", path=str(small.folder))
    small.add("web")
    small.plan()
    small.source.write_faults("close_round", *[SourceUnavailable] * 4)
    code, _, err = small.command("migrate", "plan.yaml")
    assert (code, err) == (0, "")  # the source is off, so it is tried for longer than before a stop
    assert small.state("web").resumes is Phase.COMMITTED
    assert small.power("web") is Power.OFF


def plan_target(small: Any) -> Any:
    from kubeferry.config import read_config

    return read_config(small.folder / "kubeferry.yaml").target
