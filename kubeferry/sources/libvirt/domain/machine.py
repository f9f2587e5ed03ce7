"""A domain's XML as a Machine: facts only. What the model has no word for is told in `unmodelled`."""

from __future__ import annotations

from kubeferry import marks
from kubeferry.errors import InputInvalid
from kubeferry.model import Machine, Power
from kubeferry.sources.facts.xml_tree import Node, read_tree
from kubeferry.sources.libvirt.domain import devices, disks, firmware, nics, processor
from kubeferry.sources.libvirt.domain.dialect import DOMAIN
from kubeferry.sources.libvirt.domain.leftovers import leftovers

_AGAIN = "Export it with `virsh dumpxml NAME`."


def parse_domain(
    xml: str,
    *,
    source: str,
    power: Power = Power.UNKNOWN,
    where: str = "domain.xml",
    autostart: bool | None = None,
    snapshots: int | None = None,
) -> Machine:
    """The machine that a libvirt domain describes. `where` names the text in problems, which carry its lines.

    The order of elements does not matter. What the XML does not hold (power, autostart, the number of snapshots) may be
    given; sizes of disks stay None. A domain with the number of a run (`id`) is one that runs. Raises InputInvalid with
    all problems when the text is malformed, declares a document type, or is no domain.
    """
    root = read_tree(xml, where, DOMAIN)
    return read_domain(root, source=source, power=power, autostart=autostart, snapshots=snapshots)


def read_domain(
    root: Node,
    *,
    source: str,
    power: Power = Power.UNKNOWN,
    autostart: bool | None = None,
    snapshots: int | None = None,
) -> Machine:
    """The same, of a text that was taken apart already, and of which nothing was read."""
    if root.tag != "domain":
        root.refuse(f"<{root.tag[:80]}> is not a domain", _AGAIN)
        raise _invalid(root)
    machine = _machine(root, source)
    if root.problems:
        raise _invalid(root)
    if power is Power.UNKNOWN and root.peek(".@id") is not None:
        power = Power.RUNNING
    return machine.model_copy(update={"power": power, "autostart": autostart, "snapshots": snapshots})


def _machine(root: Node, source: str) -> Machine:
    """What is known; with problems in the tree it is not to be used."""
    name, uuid, description = root.value("name"), root.value("uuid"), root.value("description")
    if name is None:
        root.refuse("<name>: the domain has none", _AGAIN)
    return Machine(
        id=uuid or name or "",
        name=name or "",
        source=source,
        title=root.value("title"),
        description=(marks.without_line(description) or "").strip() or None,
        arch=root.value("os/type@arch"),
        machine_type=root.value("os/type@machine"),
        uuid=uuid,
        firmware=firmware.read_firmware(root),
        smbios_serial=firmware.read_smbios_serial(root),
        chassis=firmware.read_chassis(root),
        cpu=processor.read_cpu(root),
        memory=processor.read_memory(root),
        clock=processor.read_clock(root),
        hyperv=firmware.read_hyperv(root),
        features=firmware.read_features(root),
        disks=disks.read_disks(root),
        nics=nics.read_nics(root),
        tpm=devices.read_tpm(root, uuid),
        watchdog=devices.read_watchdog(root),
        headless=devices.read_headless(root),
        devices=devices.read_devices(root),
        guest=devices.read_guest(root),
        metadata=devices.read_metadata(root) | ({marks.MOVED: line} if (line := marks.line_in(description)) else {}),
        unmodelled=leftovers(root),
    )


def _invalid(root: Node) -> InputInvalid:
    return InputInvalid("this is not a domain that can be read", root.problems)
