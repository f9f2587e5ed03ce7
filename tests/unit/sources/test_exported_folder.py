"""An estate from a folder of exported files: all that can be read of it, and a word about each file that is not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kubeferry.documents import Inventory, save
from kubeferry.errors import InputInvalid
from kubeferry.model import Concern, Power, Severity
from kubeferry.sources.exported import read_and_count, read_exported

GOLDEN = Path(__file__).parents[2] / "golden" / "libvirt"


def domain(name: str, mac: str = "") -> str:
    nic = f"<interface type='user'><mac address='{mac}'/></interface>" if mac else ""
    return (
        f"<domain type='kvm'><name>{name}</name><memory>1024</memory><vcpu>1</vcpu>"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{nic}</devices></domain>"
    )


def refusal(folder: Path) -> InputInvalid:
    with pytest.raises(InputInvalid) as refused:
        read_exported(folder, "lab")
    return refused.value


def test_a_folder_of_domains_is_an_inventory() -> None:
    inventory = read_exported(GOLDEN, "old-cluster")
    assert inventory.source_kind == "libvirt-export"
    assert len(inventory.machines) == len(list(GOLDEN.glob("*.xml")))
    assert {one.source for one in inventory.machines} == {"old-cluster"}
    runs = {path.stem for path in GOLDEN.glob("*.xml") if re.search(r"<domain[^>]* id=", path.read_text())}
    running = [one for one in inventory.machines if one.power is Power.RUNNING]
    assert len(running) == len(runs) > 0, "an XML with the number of a run is that of a machine that runs"
    assert {one.power for one in inventory.machines if one not in running} == {Power.UNKNOWN}
    assert all(disk.capacity_bytes is None for one in inventory.machines for disk in one.disks)
    assert all((one.autostart, one.snapshots) == (None, None) for one in inventory.machines)


def told(inventory: Inventory, name: str) -> Concern:
    return next(one for one in inventory.unreadable if name in one.what)


def test_the_folders_below_are_read_and_no_file_is_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    (tmp_path / "README.txt").write_text("not a domain")
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "deeper" / "still").mkdir(parents=True)
    (tmp_path / "deeper" / "still" / "DB.XML").write_text(domain("db"))
    (tmp_path / "deeper" / "disk.vmdk").write_bytes(b"KDMV")
    (tmp_path / "deeper" / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.xml")
    found = read_exported(tmp_path, "lab")
    assert {one.name for one in found.machines} == {"web", "db"}
    assert {one.severity for one in found.unreadable} == {Severity.INFO}
    assert "2 files of no kind that holds machines: .hidden, README.txt" in told(found, "README.txt").what
    assert "read through their descriptors: disk.vmdk" in told(found, "disk.vmdk").what
    assert "a pipe" in told(found, "pipe.xml").what
    assert "a link to a folder" in told(found, "deeper/up").what


def test_strangers_of_several_folders_are_named_with_theirs(tmp_path: Path) -> None:
    for name in ("b/web.xml", "a/README.txt", "b/c/README.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(domain("web") if name.endswith(".xml") else "")
    (one,) = read_exported(tmp_path, "lab").unreadable
    assert one.what == f"{tmp_path}: 2 files of no kind that holds machines: a/README.txt, b/c/README.txt"


def test_what_kubeferry_wrote_beside_the_exports_is_called_its_own(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    first = read_exported(tmp_path, "lab")
    save(first, tmp_path / "inventory.yaml")
    for name in (".kubeferry/logs/discover.log", "pages/.kubeferry-pages.json", "pages/web/assessment.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    found = read_exported(tmp_path, "lab")
    assert found.machines == first.machines
    assert [(one.what.removeprefix(f"{tmp_path}/"), one.fix) for one in found.unreadable] == [
        (".kubeferry: it is kubeferry's own", ""),
        ("pages: it is kubeferry's own", ""),
        ("inventory.yaml: it is kubeferry's own: Inventory", ""),
    ]


def test_many_strangers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    for number in range(30):
        (tmp_path / f"{number:02}.log").write_text("")
    (one,) = read_exported(tmp_path, "lab").unreadable
    assert "30 files" in one.what
    assert one.what.endswith("11.log and 18 more")


@pytest.mark.parametrize(
    ("name", "content", "said", "fix"),
    [
        ("web.xml.gz", b"\x1f\x8b", "it is packed with gzip", "`gzip -dc FILE > UNPACKED`"),
        ("app.ova.xz", b"", "it is packed with xz", "`xz -dc FILE > UNPACKED`"),
        ("app.tar.gz", b"", "it is packed with gzip", "`tar -xf`"),
        ("app.TGZ", b"", "it is packed with gzip", "`tar -xf`"),
        ("app.zip", b"", "it is packed with zip", "`unzip`"),
        ("app.rar", b"", "it is packed with rar", "`unrar x`"),
        ("db.txt", b"<domain type='kvm'>", "it holds a domain", "*.xml"),
    ],
)
def test_what_may_be_an_export_and_is_not_read_is_named(
    tmp_path: Path, name: str, content: bytes, said: str, fix: str
) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    (tmp_path / name).write_bytes(content)
    (one,) = read_exported(tmp_path, "lab").unreadable
    assert (one.id, one.severity) == ("machine.unreadable", Severity.WARNING)
    assert said in one.what
    assert fix in one.fix


ANSWER = '{"Reservations": [{"Instances": [{"InstanceId": "i-0123456789abcdef0"}]}]}'
TABLE = "----\n|   DescribeInstances   |\n+----+\n||   Reservations   ||\n"
ENVELOPE = '<?xml version="1.0"?>\n<!-- made -->\n<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"/>'
VMX = '.encoding = "UTF-8"\nconfig.version = "8"\nvirtualHW.version = "19"\ndisplayName = "h"\n'


@pytest.mark.parametrize(
    ("name", "text", "said", "fix"),
    [
        ("instances.txt", ANSWER, "aws ec2 describe", "*.json"),
        ("instances", f"\n {ANSWER}", "aws ec2 describe", "*.json"),
        ("two.jsonl", f"{ANSWER}\n{ANSWER}\n", "aws ec2 describe", "*.json"),
        ("volumes.out", '{"Volumes": [{"VolumeId": "vol-1"}]}', "aws ec2 describe", "*.json"),
        ("query.txt", '[[{"InstanceId": "i-1"}]]', "aws ec2 describe", "*.json"),
        ("in-yaml.txt", "Reservations:\n- Instances:\n  - InstanceId: i-0123\n", "aws ec2 describe", "*.yaml"),
        ("out.txt", "RESERVATIONS\t1\tr-1\nINSTANCES\t0\tx86_64\n", "as text or table", "--output json"),
        ("few.txt", "i-0123456789abcdef0\tm5.large\n", "as text or table", "--output json"),
        ("table.log", TABLE, "as text or table", "--output json"),
        ("vm.txt", ENVELOPE, "an OVF", "*.ovf"),
        ("h.vmx.txt", VMX, "a VMX", "*.vmx"),
        ("h.vmx.bak", VMX.replace("\n", "\r\n"), "a VMX", "*.vmx"),
        ("machine.json", '{"name": "a", "memory": "512", "scsi0": "l:1", "net0": "x"}', "Proxmox", "qm config"),
        ("machines.json", '[{"name": "a", "cores": 1, "virtio0": "l:1"}]', "Proxmox", "qm config"),
        ("machine.txt", '{"name": "a", "memory": "512", "ostype": "l26"}', "Proxmox", "qm config"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_export_by_another_name_is_left_out_with_what_to_call_it(
    tmp_path: Path, name: str, text: str, said: str, fix: str, encoding: str
) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    (tmp_path / name).write_text(text, encoding=encoding)
    inventory, left_out = read_and_count(tmp_path, "lab")
    (one,) = inventory.unreadable
    assert (one.id, left_out) == ("machine.unreadable", 1)
    assert said in one.what
    assert fix in one.fix


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "Write `aws ec2 describe-instances`: it prints Reservations, each with an InstanceId.\n"),
        ("notes.txt", "i-think this is it\ndisplayName is what it is called\n"),
        ("package.lock", '{"dependencies": [{"name": "Volumes"}]}'),
        ("page.html", "<html><body>Envelope</body></html>"),
        ("list.json", '[{"name": "net0", "memory": 1}]'),
        ("nginx.conf", "worker_processes: 1\nname: x\n"),
        ("app.conf", "name: x\nmemory: 512\n[section]\nkey = value\n"),
    ],
)
def test_what_only_speaks_of_exports_is_none(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    (tmp_path / name).write_text(text)
    inventory, left_out = read_and_count(tmp_path, "lab")
    assert ([one.id for one in inventory.unreadable], left_out) == (["file.passed-over"], 0)


def test_a_configuration_that_says_no_more_than_memory_and_a_name_is_a_machine(tmp_path: Path) -> None:
    (tmp_path / "106.conf").write_text("#a note\nmemory: 512\nname: small\n\n[before]\nmemory: 256\nsnaptime: 1\n")
    assert [one.name for one in read_exported(tmp_path, "lab").machines] == ["small"]


def test_a_folder_that_is_missing_is_a_file_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("missing", "empty", "file"):
        problem = refusal(tmp_path / name).problems[0]
        assert problem.where == str(tmp_path / name)
        assert "virsh dumpxml" in problem.fix


BAD = {
    "broken.xml": b"<domain>\n<name>x</nome>\n</domain>",
    "latin.xml": b"<domain><name>B\xfcro</name></domain>",
    "huge.xml": b" " * (4 * 1024 * 1024 + 1),
    "entity.xml": b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><domain>&e;</domain>',
    "empty.xml": b"",
    "half.ovf": b"<Envelope",
    "odd.json": b"{",
    "app.vmx": b"",
}


def test_bad_files_cost_no_other_one(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "gone.xml").symlink_to("nowhere")
    found = read_exported(tmp_path, "lab")
    assert [one.name for one in found.machines] == ["web"]
    assert len(found.unreadable) == len(BAD) + 1
    assert "a link to no file" in told(found, "gone.xml").what
    for name in BAD:
        one = told(found, f"/{name}")
        assert (one.id, bool(one.fix)) == ("machine.unreadable", True), name
    assert f"{tmp_path}/broken.xml:2" in told(found, "broken.xml").what


def test_where_no_machine_is_read_all_files_are_told_at_once(tmp_path: Path) -> None:
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "network.xml").write_text("<network><name>default</name></network>")
    error = refusal(tmp_path)
    assert all(name in str(error) for name in (*BAD, "network.xml"))
    assert "root:" not in str(error)
    assert error.exit_code == 2


def test_one_name_of_two_hosts_is_told_apart(tmp_path: Path) -> None:
    for host in ("a", "b"):
        (tmp_path / host).mkdir()
        uuid = f"<uuid>{host * 8}-{host * 4}-{host * 4}-{host * 4}-{host * 12}</uuid>"
        text = domain("web", "52:54:00:00:00:01").replace("<memory>", f"{uuid}<memory>")
        (tmp_path / host / "web.xml").write_text(text)
    names = [one.name for one in read_exported(tmp_path, "lab").machines]
    assert names == [f"web-{host * 8}-{host * 4}-{host * 4}-{host * 4}-{host * 12}" for host in ("a", "b")]


def test_ids_that_are_no_help_give_way_to_the_files_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.xml").write_text(domain("web"))
    assert {one.name for one in read_exported(tmp_path, "lab").machines} == {"web-a", "web-b"}


def test_no_name_is_given_twice_whatever_the_files_are_called(tmp_path: Path) -> None:
    """Rows of tabs without UUIDs, in two folders and twice in one tab, and one that is called like what is made."""
    rows = "VM,CPUs,Memory\nweb,2,1024\nweb,2,2048\n"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vInfo.csv").write_text(rows)
    (tmp_path / "web-1.xml").write_text(domain("web-1"))
    names = [one.name for one in read_exported(tmp_path, "lab").machines]
    assert len(names) == len(set(names)) == 5


@pytest.mark.parametrize(
    ("memory", "said"), [("1024", "where it is the same"), ("2048", "what was written later is taken")]
)
def test_a_machine_that_was_exported_twice_is_there_once_as_it_was_written_last(
    tmp_path: Path, memory: str, said: str
) -> None:
    uuid = "<uuid>503a1b2c-0001-4002-8003-00000000abcd</uuid>"
    for name, size in (("new", memory), ("old", "1024")):
        text = domain("web").replace("<memory>1024", f"{uuid}<memory>{size}")
        (tmp_path / f"{name}.xml").write_text(text)
    os.utime(tmp_path / "old.xml", (1, 1))
    found = read_exported(tmp_path, "lab")
    assert [(one.name, one.memory.size_bytes) for one in found.machines] == [("web", int(memory) << 10)]
    assert said in told(found, "old.xml").what


def test_letters_are_read_as_their_file_declares_them(tmp_path: Path) -> None:
    declared = '<?xml version="1.0" encoding="ISO-8859-1"?>' + domain("Büro")
    (tmp_path / "latin.xml").write_bytes(declared.encode("iso-8859-1"))
    assert [one.name for one in read_exported(tmp_path, "lab").machines] == ["Büro"]


def test_a_name_that_no_document_can_hold_is_told(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    for name in (b"Gr\xf6\xdfe.xml", b"Gr\xf6\xdfe.ovf", b"Gr\xf6\xdfe.json", b"Gr\xf6\xdfe.csv", b"Gr\xf6\xdfe.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(domain("a"))
    found = read_exported(tmp_path, "lab")
    assert sum("its name is not UTF-8" in one.what for one in found.unreadable) == 4
    assert all(r"Gr\xf6\xdfe" in one.what for one in found.unreadable)
    "".join(one.what for one in found.unreadable).encode()
