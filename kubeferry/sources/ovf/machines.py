"""An OVF as machines: facts only. What the model has no word for is told in each machine's `unmodelled`."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.errors import InputInvalid
from kubeferry.model import Machine, Power, SourceFact
from kubeferry.sources.facts.escaped_names import unescaped
from kubeferry.sources.facts.leftovers import told
from kubeferry.sources.facts.lists import bounded
from kubeferry.sources.facts.xml_tree import Node, walk
from kubeferry.sources.ovf import devices, disks, identity, nics, processor
from kubeferry.sources.ovf.items import default_option, read_items
from kubeferry.sources.ovf.references import Locate, References
from kubeferry.sources.ovf.usual import pass_over
from kubeferry.sources.ovf.words import AGAIN, read_envelope

MAX_SYSTEMS = 1000
_COLLECTION = "VirtualSystemCollection"
# Headings, and what an importer must understand to take the file at all.
_HEADINGS = ("Info", "Name", "NetworkSection/Info", "DeploymentOptionSection/Info", ".@version", ".@xml:lang",
             ".@xsi:schemaLocation", ".@schemaLocation")  # fmt: skip


def parse_ovf(text: str, *, source: str, where: str, name: str, locate: Locate) -> list[Machine]:
    """The machines of an OVF, all of them off. `where` names the text in problems, which carry its lines; `name` is the
    first part of the machines' ids. Raises InputInvalid with all problems."""
    root = read_envelope(text, where)
    if root.tag != "Envelope":
        root.refuse(f"<{root.tag[:80]}> is not an OVF's envelope", AGAIN)
        raise _invalid(root)
    option = default_option(root)
    references = References(root, option)
    systems = list(_systems(root))
    if not systems or len(systems) > MAX_SYSTEMS:
        root.refuse(f"it has {len(systems)} virtual systems; from 1 to {MAX_SYSTEMS} are read", AGAIN)
        raise _invalid(root)
    _different(systems)
    machines = [_machine(system, references, option, source, name, locate) for system in systems]
    if root.problems:
        raise _invalid(root)
    shared = bounded(_shared(root, systems))
    return [one.model_copy(update={"unmodelled": bounded((*one.unmodelled, *shared))}) for one in machines]


def _systems(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.tag == "VirtualSystem":
            yield child
        elif child.tag == _COLLECTION:
            yield from _systems(child)


def _different(systems: list[Node]) -> None:
    """Machines are known by the ids of their systems."""
    seen: set[str] = set()
    for system in systems:
        name = system.peek(".@id") or system.peek("Name") or ""
        if name in seen:
            system.refuse(f"two virtual systems are called {name[:80]!r}", AGAIN)
        seen.add(name)


def _machine(
    system: Node, references: References, option: str | None, source: str, name: str, locate: Locate
) -> Machine:
    """What is known; with problems in the tree it is not to be used."""
    own = system.value(".@id")
    called = system.value("Name") or own
    if called is None:
        system.refuse("the virtual system has neither a name nor an id", AGAIN)
    hardware = system.child("VirtualHardwareSection")
    _quiet(system, hardware, called)
    items = read_items(hardware, option)
    guest = identity.read_guest(system)
    machine = Machine(
        id=f"{name}#{own or called}",
        name=unescaped(called or "unnamed"),
        source=source,
        power=Power.OFF,
        description=system.value("AnnotationSection/Annotation") or system.value("Description"),
        arch=identity.read_arch(hardware, guest),
        machine_type=identity.read_machine_type(system, hardware),
        uuid=identity.read_uuid(system, hardware),
        firmware=identity.read_firmware(system, hardware),
        cpu=processor.read_cpu(hardware, items),
        memory=processor.read_memory(system, hardware, items),
        clock=identity.read_clock(system),
        disks=disks.read_disks(system, items, references, locate),
        nics=nics.read_nics(system, items),
        tpm=devices.read_tpm(system, items),
        devices=devices.read_devices(items),
        guest=guest,
        snapshots=identity.read_snapshots(system),
    )
    pass_over(system)
    return machine.model_copy(update={"unmodelled": tuple(told(system))})


def _quiet(system: Node, hardware: Node, name: str | None) -> None:
    """Headings, and the machine's own name in other places."""
    system.skip("Info", "AnnotationSection/Info", "AnnotationSection@required")
    hardware.skip("Info", "System/Info", "System/vssd:ElementName", "System/vssd:Caption", "System/vssd:InstanceID")
    hardware.skip("System/vssd:InstanceId", "System/Description", ".@required")
    hardware.word("System/vssd:VirtualSystemIdentifier", {name or ""})
    system.word("vbox:Machine@name", {name or ""})
    for info in (child for section in system.children for child in section.children if child.tag == "Info"):
        info.skip_all()


def _shared(root: Node, systems: list[Node]) -> list[SourceFact]:
    """What the envelope says outside its systems: of all of them, or of disks and networks that none has."""
    for system in systems:
        system.skip_all()
    root.skip(*_HEADINGS)
    for network in root.all("NetworkSection/Network"):
        network.skip(".@name", "Description")
    for _, node in walk(root):
        if node.tag == "Info":
            node.skip_all()
    pass_over(root)
    return told(root)


def _invalid(root: Node) -> InputInvalid:
    return InputInvalid("this is not an OVF that can be read", root.problems)
