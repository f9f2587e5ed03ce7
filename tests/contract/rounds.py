"""What a round of a source is looked at by: its disks by our names, their bytes, and what is said to be the same."""

from __future__ import annotations

from converters.endpoints import open_source as open_disk
from kubeferry.documents import StopPolicy
from kubeferry.model import Machine
from kubeferry.sources import Round
from tests.contract.stands import MIB, SIZES

PIECE = 64 << 10
LOOKED_AT = 4 * MIB
GENTLE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2)
FORCE = GENTLE.model_copy(update={"force": True})


def ids(machine: Machine) -> dict[str, str]:
    """Our names of the disks -> the source's, in the order in which the machine has them."""
    return dict(zip(SIZES, (disk.id for disk in machine.data_disks), strict=True))


def contents(opened: Round) -> dict[str, tuple[bytes, list[tuple[int, int]]]]:
    """By disk: its bytes, as far as they are written to, and the ranges that are promised to be the same as in the
    round before."""
    found = {}
    for disk, told in ids(opened.machine).items():
        with open_disk(opened.refs[told]) as endpoint:
            view = memoryview(bytearray(min(endpoint.size, LOOKED_AT)))
            endpoint.read_into(0, view)
            same = [(extent.offset, extent.end) for extent in endpoint.extents() if extent.same]
        found[disk] = (bytes(view), same)
    return found


def no_words(_words: dict[str, str], _at: str, _said: object = None) -> None:
    raise AssertionError("nobody is there to be heard")
