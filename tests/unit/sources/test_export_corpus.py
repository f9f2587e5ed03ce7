"""Folders of exports as nobody made them by hand: whole, cut, mixed up, renamed, in any encoding.

Whatever is in a folder, reading it ends with an inventory or with words; and each file is accounted for: it holds a
machine, says something of one, or is told with its reason.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from kubeferry.sources.exported import read_exported, read_files
from kubeferry.sources.facts.readings import shown

GOLDEN = Path(__file__).parents[2] / "golden"


def archive(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return made.getvalue()


DOMAINS = sorted((GOLDEN / "libvirt").glob("*.xml"))
OVFS = sorted((GOLDEN / "ovf").glob("*.ovf"))
ANSWERS = sorted((GOLDEN / "ec2" / "inputs").rglob("*.json"))
INSTANCE = {"InstanceId": "i-1", "InstanceType": "m5.large", "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}}
WHOLE: list[tuple[str, bytes]] = [
    *((".xml", path.read_bytes()) for path in DOMAINS),
    *((".ovf", path.read_bytes()) for path in OVFS),
    *((".json", path.read_bytes()) for path in ANSWERS),
    (".json", json.dumps({"Reservations": [{"Instances": [INSTANCE]}], "NextToken": "x"}).encode()),
    (".yaml", b"Reservations:\n- Instances:\n  - {InstanceId: i-2, InstanceType: t3.nano}\n"),
    ("vInfo.csv", b"VM,CPUs,Memory,Disks,NICs\nweb,2,1024,1,1\n,,,,\ndb,x,1,1,1\n"),
    ("vDisk.csv", b"VM,Capacity MiB,Path\nweb,10,[ds] web/web.vmdk\n"),
    ("vHost.csv", b"Host\nesx1\n"),
    (".xlsx", archive({"xl/workbook.xml": b"<workbook/>"})),
    (".xml", b"<network><name>default</name></network>"),
    *((".vmx", path.read_bytes()) for path in sorted((GOLDEN / "vmx").glob("*.vmx"))),
    *((".conf", path.read_bytes()) for path in sorted((GOLDEN / "proxmox").glob("*.conf"))),
    (".vmx", b'displayName = "app"\n'),
    (".vmtx", b'.encoding = "windows-1252"\ndisplayName = "B\xfcro"\nmemsize = "512"\n'),
    (".vmsd", b'snapshot.numSnapshots = "1"\n'),
    ("-aux.xml", b"<?xml version='1.0'?><ConfigRoot/>"),
    (".lck", b""),
    (".ova.gz", b"\x1f\x8b\x08"),
    (".txt", b"<domain type='kvm'><name>x</name></domain>"),
    (".conf", b"arch: amd64\nrootfs: local:101/vm-101-disk-0.raw,size=8G\nmemory: 512\n"),
    (".conf", b"[Service]\nname: x\n"),
    (".vmdk", b"KDMV"),
    ("", b""),
]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "cp1252")


@st.composite
def content(draw: st.DrawFn) -> tuple[str, bytes]:
    """The end of a name and what the file holds: a whole file, cut, with other bytes in it, or in another encoding."""
    end, whole = draw(st.sampled_from(WHOLE))
    match draw(st.sampled_from(("whole", "whole", "cut", "bytes", "encoding", "other end", "twice"))):
        case "cut":
            return end, whole[: draw(st.integers(0, len(whole)))]
        case "bytes":
            at = draw(st.integers(0, len(whole)))
            return end, whole[:at] + draw(st.binary(max_size=20)) + whole[at + draw(st.integers(0, 40)) :]
        case "encoding":
            text = whole.decode("utf-8", errors="replace")
            return end, text.encode(draw(st.sampled_from(ENCODINGS)), errors="replace")
        case "other end":
            return draw(st.sampled_from(WHOLE))[0].upper(), whole
        case "twice":
            return end, whole * 2
    return end, whole


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(st.tuples(st.sampled_from(("", "a", "a/b")), content()), min_size=1, max_size=6))
def test_a_folder_of_anything_ends_in_words_and_accounts_for_every_file(
    tmp_path_factory: object, files: list[tuple[str, tuple[str, bytes]]]
) -> None:
    folder = tmp_path_factory.mktemp("estate")  # type: ignore[attr-defined]
    for number, (below, (end, whole)) in enumerate(files):
        (folder / below).mkdir(parents=True, exist_ok=True)
        (folder / below / f"file{number}{end}").write_bytes(whole)
    reading, _ = read_files(folder, "lab")
    found = {path for path, _ in reading.machines} | set(reading.beside)
    told = " ".join(one.what for one in reading.told)
    for path in folder.rglob("*"):
        assert not path.is_file() or path in found or path.name in told, shown(path)
    ends_in_words(folder)


def ends_in_words(folder: Path) -> None:
    try:
        inventory = read_exported(folder, "lab")
    except InputInvalid as error:
        str(error).encode()
        return
    names = [one.name for one in inventory.machines]
    assert len(names) == len(set(names))
    inventory.model_dump_json()


ODD = st.sampled_from([None, True, -1, 1e300, "", "x" * 5000, "\x00\x1b[31m", [], [None], {}, {"a": 1}, 1 << 70])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), path=st.sampled_from(ANSWERS))
def test_an_answer_with_odd_values_ends_in_words(tmp_path_factory: object, data: st.DataObject, path: Path) -> None:
    """Where a value is of another kind than the API has it, in one to three places."""
    folder = tmp_path_factory.mktemp("estate")  # type: ignore[attr-defined]
    for other in path.parent.glob("*.json"):
        told = json.loads(other.read_text())
        if other == path:
            for _ in range(data.draw(st.integers(1, 3))):
                places = list(places_in(told))
                if places:
                    inside, key = places[data.draw(st.integers(0, len(places) - 1))]
                    inside[key] = copy.deepcopy(data.draw(ODD))
        (folder / other.name).write_text(json.dumps(told))
    ends_in_words(folder)


def places_in(told: Any) -> Iterator[tuple[Any, Any]]:
    keys = told.keys() if isinstance(told, dict) else range(len(told)) if isinstance(told, list) else ()
    for key in keys:
        yield told, key
        yield from places_in(told[key])
