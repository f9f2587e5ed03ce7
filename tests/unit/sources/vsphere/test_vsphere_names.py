"""Names as vCenter tells them: slashes, backslashes and per cents escaped, brackets as they are. The simulator escapes
nothing, so no test on it can show this."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kubeferry.model import Machine
from kubeferry.sources.vsphere.datastore_files import described_path, flat_path
from kubeferry.sources.vsphere.disks import FLAT, file_name, place_of
from kubeferry.sources.vsphere.machine import datacenter_of, folder_path, parse_machine
from kubeferry.sources.vsphere.plain import unescaped

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "vsphere" / "01-linux-bios.json").read_text())
GROUP, STORE = "DistributedVirtualPortgroup:dvportgroup-31", "Datastore:datastore-15"


@pytest.fixture
def told() -> Any:
    return copy.deepcopy(GOLDEN)


def read(told: Any) -> Machine:
    return parse_machine(told["machine"], told["around"], source="vc")


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [("VLAN 10%2fprod", "VLAN 10/prod"), ("a%2Fb%5cc", "a/b\\c"), ("100%25", "100%"), ("%252f", "%2f"), ("%20", "%20")],
)
def test_each_escape_is_taken_back_once(escaped: str, plain: str) -> None:
    assert unescaped(escaped) == plain


def test_names_of_machines_networks_and_folders_are_those_that_people_see(told: Any) -> None:
    told["around"][GROUP]["name"] = "VLAN 10%2fprod"
    told["machine"]["name"] = "web%2f1"
    machine = read(told)
    assert (machine.name, machine.nics[0].network) == ("web/1", "VLAN 10/prod")


def test_a_path_for_the_server_keeps_the_names_as_it_has_them() -> None:
    around = {
        "Folder:root": {"name": "Datacenters"},
        "Datacenter:1": {"name": "DC%2f1", "parent": "Folder:root"},
        "Folder:vm": {"name": "vm", "parent": "Datacenter:1"},
    }
    assert folder_path("Folder:vm", around) == "/DC/1/vm"
    assert datacenter_of("Folder:vm", around) == "DC%2f1"


@pytest.mark.parametrize(
    ("name", "file", "place"),
    [
        ("gold%2f1", "[gold/1] shop/shop.vmdk", ("gold/1", "shop/shop.vmdk")),
        ("gold [1]", "[gold [1]] shop/shop.vmdk", ("gold [1]", "shop/shop.vmdk")),
        ("gold", "[gold] a] b/x.vmdk", ("gold", "a] b/x.vmdk")),
    ],
)
def test_a_datastore_is_known_by_any_name(told: Any, name: str, file: str, place: tuple[str, str]) -> None:
    told["around"][STORE]["name"] = name
    device = next(one for one in told["machine"]["config.hardware.device"] if one["_type"] == "VirtualDisk")
    device["backing"] = {"_type": FLAT, "fileName": file}
    machine = read(told)
    assert place_of(file) == place
    assert file_name(machine.disks[0].uri) == place
    assert not [one for one in machine.unmodelled if one.path.endswith("datastore")]
    assert described_path(device, "VMFS") == place
    assert flat_path(device, "VMFS") == (place[0], place[1].replace(".vmdk", "-flat.vmdk"))


@pytest.mark.parametrize(("file", "place"), [("[gold]", ("gold", "")), ("[gold]x.vmdk", ("gold", "x.vmdk"))])
def test_a_place_without_a_blank_or_a_path(file: str, place: tuple[str, str]) -> None:
    assert place_of(file) == place


def test_what_vsphere_would_let_memory_grow_to_is_no_size_of_the_machine(told: Any) -> None:
    told["machine"] |= {"config.memoryHotAddEnabled": True, "config.hotPlugMemoryLimit": 65536}
    machine = read(told)
    assert machine.memory.max_bytes is None
    assert [one.value for one in machine.unmodelled if one.path == "hotPlug/memory"] == ["on, up to 65536 MiB"]
