"""Files with domains, as people keep them: several in one, in any encoding, among what else libvirt prints."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kubeferry.documents import Inventory
from kubeferry.sources.exported import read_and_count, read_exported
from kubeferry.sources.libvirt.several_domains import MAX_TEXTS, apart
from lab import ova


def domain(name: str, memory: str = "1024") -> str:
    return (
        f"<domain type='kvm'>\n  <name>{name}</name>\n  <memory>{memory}</memory>\n  <vcpu>1</vcpu>\n"
        f"  <os><type arch='x86_64'>hvm</type></os>\n  <devices/>\n</domain>\n"
    )


def read(folder: Path, content: str | bytes) -> tuple[Inventory, int]:
    (folder / "good.xml").write_text(domain("good"))
    (folder / "all.xml").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_and_count(folder, "lab")


def names(inventory: Inventory) -> set[str]:
    return {one.name for one in inventory.machines}


# --- several in one file ---------------------------------------------------------------------------------------------

TWO = (domain("a"), domain("b"))
DECLARED = "<?xml version='1.0' encoding='UTF-8'?>\n"
NOTED = "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE: <domain> virsh edit\n-->\n\n"


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(TWO),
        "".join(TWO).replace("\n", ""),
        "".join(DECLARED + one for one in TWO),
        "".join(NOTED + one for one in TWO),
        f"<domains>\n{''.join(TWO)}</domains>\n",
        f"{DECLARED}<list><!-- <a> -->{''.join(TWO)}</list>",
        f"<domains>{''.join(DECLARED + one for one in TWO)}</domains>",
        f"<domains>\n{''.join(TWO)}",
    ],
)
def test_domains_after_each_other_are_all_read(tmp_path: Path, text: str) -> None:
    inventory, left_out = read(tmp_path, text)
    assert names(inventory) == {"good", "a", "b"}
    assert (inventory.unreadable, left_out) == ((), 0)


def test_a_wrapped_one_alone_is_read(tmp_path: Path) -> None:
    assert names(read(tmp_path, f"<domains>{domain('a')}</domains>")[0]) == {"good", "a"}


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (domain("x", memory="much"), 10),  # its <memory>
        (domain("x").replace("</name>", "</nome>"), 9),
        ("<domain type='kvm'>\n  <name>x</name>\n", 8),
        ("error: failed to get domain 'x'\n\n", 8),
        (NOTED + domain("x").replace("</memory>", ""), 8),
        ('<?xml version="1.0"?>\n<!DOCTYPE d [<!ENTITY e "x">]>\n' + domain("x"), 8),
    ],
)
def test_one_that_is_bad_costs_no_other_one_and_is_told_with_its_line(tmp_path: Path, bad: str, line: int) -> None:
    inventory, left_out = read(tmp_path, domain("a") + bad + domain("b"))
    assert names(inventory) == {"good", "a", "b"}
    assert left_out == 1
    places = [one.what.removeprefix(f"{tmp_path}/all.xml:") for one in inventory.unreadable]
    assert all(int(one.partition(":")[0]) >= line for one in places), places
    assert len(places) > 0


def test_the_line_of_a_problem_is_that_of_the_file(tmp_path: Path) -> None:
    inventory, _ = read(tmp_path, domain("a") + "\n" + domain("x", memory="much"))
    (one,) = inventory.unreadable
    assert one.what.startswith(f"{tmp_path}/all.xml:11: ")


def test_bad_ones_of_one_file_are_counted_each(tmp_path: Path) -> None:
    bad = domain("x", memory="much").replace("<vcpu>1", "<vcpu>some")
    inventory, left_out = read(tmp_path, domain("a") + bad + bad.replace("x", "y"))
    assert (len(inventory.unreadable), left_out) == (4, 2)


def test_a_network_among_domains_is_passed_over(tmp_path: Path) -> None:
    inventory, left_out = read(tmp_path, domain("a") + "<network><name>n</name></network>\n" + domain("b"))
    assert (names(inventory), left_out) == ({"good", "a", "b"}, 0)
    assert [one.what for one in inventory.unreadable] == [f"{tmp_path}/all.xml:8: it is a network, no domain"]


def test_many_texts_cost_no_more_than_a_moment() -> None:
    begun = time.process_time()
    assert len(apart("<a/>" * (1 << 20))) == MAX_TEXTS + 1
    assert len(apart("<domain>\n" * 400_000)) == MAX_TEXTS + 1
    assert len(apart("<!-- -->" * 400_000 + "<a>")) == 1
    assert time.process_time() - begun < 20


# --- other files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "<filter name='clean-traffic' chain='root'/>",
        "<filterbinding/>",
        "<secret ephemeral='no' private='yes'><uuid>u</uuid></secret>",
        "<capabilities><host/></capabilities>",
        "<domainCapabilities><path>/usr/bin/qemu</path></domainCapabilities>",
        "<interface type='ethernet' name='eth0'/>",
        "<device><name>pci_0000_00_00_0</name></device>",
        "<domainbackup mode='pull'/>",
        "<networkport/>",
        "<sysinfo type='smbios'/>",
        "<storagepoolCapabilities/>",
        "<domainsnapshot><name>s</name><domain type='kvm'><name>x</name></domain></domainsnapshot>",
    ],
)
def test_what_else_libvirt_prints_is_no_machine_that_is_missing(tmp_path: Path, text: str) -> None:
    inventory, left_out = read(tmp_path, text)
    assert [one.id for one in inventory.unreadable] == ["file.passed-over"]
    assert inventory.unreadable[0].what.endswith(", no domain")
    assert left_out == 0


def test_an_ovf_by_this_name_is_called_one(tmp_path: Path) -> None:
    inventory, left_out = read(tmp_path, '<ns:Envelope xmlns:ns="http://schemas.dmtf.org/ovf/envelope/1"/>')
    (one,) = inventory.unreadable
    assert ("an OVF" in one.what, "*.ovf" in one.fix, left_out) == (True, True, 1)


# --- letters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("", "utf-16-le"),
        ("", "utf-16-be"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16", "utf-16-be"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-8"),
        ("ISO-8859-15", "iso-8859-15"),
        ("ISO-8859-2", "iso-8859-2"),
        ("windows-1250", "cp1250"),
        ("GB18030", "gb18030"),
        ("no-such", "utf-8"),
        ("ISO-8859-12", "utf-8"),
        ("unicode_escape", "utf-8"),
    ],
)
def test_letters_are_read_as_they_are_written(tmp_path: Path, declared: str, encoding: str) -> None:
    text = (f"<?xml version='1.0' encoding='{declared}'?>" if declared else "") + domain("Ä")
    assert names(read(tmp_path, text.encode(encoding))[0]) == {"good", "Ä"}
    (tmp_path / "all.xml").rename(tmp_path / "all.txt")
    (one,) = read_exported(tmp_path, "lab").unreadable
    assert "it holds a domain" in one.what


def test_bytes_that_are_no_text_are_no_matter_of_permissions(tmp_path: Path) -> None:
    inventory, _ = read(tmp_path, b"<domain><name>B\xfcro</name></domain>")
    (one,) = inventory.unreadable
    assert "it is no text in UTF-8" in one.what
    assert "permissions" not in one.fix
    assert "UTF-8" in one.fix


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("UTF-16", "utf-16-le"), ("UTF-16", "utf-16-be"), ("UTF-16", "utf-8"), ("ISO-8859-15", "iso-8859-15")],
)
def test_letters_of_an_ovf_are_read_as_they_are_written(tmp_path: Path, declared: str, encoding: str) -> None:
    text = ova.descriptor("Ä", [ova.PackedDisk("d1", "a.vmdk", 512, b"")], {"a.vmdk": 1})
    text = f"<?xml version='1.0' encoding='{declared}'?>{text[text.index('<Envelope') :]}"
    (tmp_path / "a.ovf").write_bytes(text.encode(encoding))
    assert names(read_exported(tmp_path, "lab")) == {"Ä"}


def test_all_golden_domains_in_one_file_are_what_they_are_alone(tmp_path: Path) -> None:
    golden = Path(__file__).parents[3] / "golden" / "libvirt"
    (tmp_path / "all.xml").write_text("\n".join(path.read_text() for path in sorted(golden.glob("*.xml"))))
    alone, together = (
        [one.model_copy(update={"name": ""}) for one in read_exported(folder, "lab").machines]
        for folder in (golden, tmp_path)
    )
    assert sorted(alone, key=str) == sorted(together, key=str)


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 60_000 + "<domain type='kvm'>",
        "<domains>" + "\n" * 60_000 + "<domain type='kvm'>",
        ("<?xml version='1.0'?><!-- " + "x" * 810 + "\n") * 1000,
        "<domain><![CDATA[\n" * 20_000,
    ],
    ids=["blank", "blank in a wrapper", "comments without an end", "CDATA without an end"],
)
def test_no_text_takes_long(text: str) -> None:
    begun = time.process_time()
    apart(text)
    assert time.process_time() - begun < 5  # some took minutes, by the square of their length
