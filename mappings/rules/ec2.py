"""Rules about machines that come from EC2: what the cloud did for them, and does not do at the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kubeferry.model import Machine
from kubeferry.sources.ec2.cost import dollars, dollars_out, most_calls
from mappings.disks import target_bus
from mappings.ec2 import boots_from_virtio, fact, facts, is_ec2, new_uuid, runs_windows, system
from mappings.quantities import human_bytes
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when

_LINUX = "Linux/UNIX"


def ec2(find: Callable[[Case], Iterable[str]]) -> Callable[[Case], Iterable[str]]:
    """A rule that speaks of instances only."""
    return lambda case: find(case) if is_ec2(case.machine) else ()


def _paravirtual(case: Case) -> Iterable[str]:
    return when(
        fact(case.machine, "VirtualizationType") == "paravirtual",
        "The machine is paravirtual: its kernel may know Xen only, and then starts nowhere else.",
    )


def _bare_metal(case: Case) -> Iterable[str]:
    kind = fact(case.machine, "bareMetal")
    what = f"The instance ({kind}) is a machine of its own, without a hypervisor: its kernel sees the host's hardware."
    return when(kind is not None, what)


def _managed(case: Case) -> Iterable[str]:
    who = fact(case.machine, "Operator/Principal") or "a service of AWS's"
    managed = fact(case.machine, "Operator/Managed") == "yes"
    return when(managed, f"{who} manages the instance: users may neither stop nor change it, and it is replaced.")


def _edge(case: Case) -> Iterable[str]:
    place = fact(case.machine, "edge")
    return when(place is not None, f"The machine runs in {place}: what is near to it there is far from the target.")


def _hibernation(case: Case) -> Iterable[str]:
    able = fact(case.machine, "HibernationOptions/Configured") == "yes"
    return when(able, "The machine may hibernate; at the target nothing wakes it up with its memory.")


def _elsewhere(case: Case) -> Iterable[str]:
    for disk, where in facts(case.machine, r"volume\[(.*)\]/elsewhere"):
        yield f"The volume of disk {disk} is described as {where}: what was told of the two is not of one moment."


def _fabric(case: Case) -> Iterable[str]:
    for device in case.machine.devices:
        if device.kind == "fabric":
            name = device.detail.get("id", "it")
            yield f"The interface {name} is {device.model}: no network card, and at the target none."


def _interface_kind(case: Case) -> Iterable[str]:
    for card, kind in facts(case.machine, r"interface\[(.*)\]/InterfaceType"):
        if card in {nic.id for nic in case.machine.nics}:
            yield f"Network card {card} is of the kind {kind}; at the target it is a plain card: {_missing(kind)}."


def _missing(kind: str) -> str:
    known = {
        "efa": "applications that use libfabric or RDMA find no such device",
        "trunk": "the branch interfaces that it carried, and the addresses of pods on them, are gone",
        "branch": "the trunk that carried it is not there",
    }
    return known.get(kind, "what AWS did with it is not done there")


def _instance_store(case: Case) -> Iterable[str]:
    size = fact(case.machine, "instanceStore")
    return when(size is not None, f"Its type has an instance store ({size}); what is on it is lost when it stops.")


def _autoscaling(case: Case) -> Iterable[str]:
    group = case.machine.metadata.get("aws:autoscaling:groupName")
    bars = group is not None and not case.choices.stop.detaches
    return when(bars, f"The Auto Scaling group {group} replaces the machine as soon as it is stopped.")


def _spot(case: Case) -> Iterable[str]:
    spot = fact(case.machine, "InstanceLifecycle") == "spot"
    return when(spot, "The machine is a spot instance: EC2 may refuse to stop it, or to start it again.")


def _cloud_init(case: Case) -> Iterable[str]:
    return when(
        not runs_windows(case.machine),
        "If cloud-init looks for EC2 in the guest, it waits up to four minutes at each boot for a metadata service.",
    )


def _metadata(case: Case) -> Iterable[str]:
    service = fact(case.machine, "metadataService")
    used = service not in {None, "off"}
    what = f"The metadata service ({service}) is not there at the target: what asks 169.254.169.254 fails or waits."
    return when(used, what)


def _disk_bus(case: Case) -> Iterable[str]:
    buses = {target_bus(disk, case.choices) for disk in case.machine.data_disks}
    had = ", ".join(sorted({disk.bus.value for disk in case.machine.data_disks}))
    taken = "" if case.machine.guest.os_name else " (taken for one: EC2 names Windows only)"
    return when(
        boots_from_virtio(case.machine) and buses == {"virtio"},
        f"Disks move from {had} to virtio: kernels of clouds often have no AHCI, without which a Linux{taken} finds no "
        "SATA disk.",
    )


def _device_names(case: Case) -> Iterable[str]:
    buses = {target_bus(disk, case.choices) for disk in case.machine.data_disks}
    name = "/dev/vda" if buses == {"virtio"} else "/dev/sda or /dev/vda"
    return when(
        not runs_windows(case.machine) and bool(case.machine.data_disks),
        f"Disks change their names in the guest (/dev/nvme0n1 or /dev/xvda is {name} at the target).",
    )


def _network_names(case: Case) -> Iterable[str]:
    model = next((nic.model for nic in case.machine.nics if nic.model), None)
    what = f"Network cards change their driver ({model or 'not told'}) and with it their name in the guest."
    return when(bool(case.machine.nics), what)


def _addresses(case: Case) -> Iterable[str]:
    for card, addresses in facts(case.machine, r"interface\[(.*)\]/addresses"):
        yield f"Network card {card} had the addresses {addresses}; the cloud gave them, and they are not kept."


def _profile(case: Case) -> Iterable[str]:
    arn = fact(case.machine, "IamInstanceProfile/Arn")
    return when(arn is not None, f"The machine has the instance profile {arn}; at the target nobody gives it a role.")


def _user_data(case: Case) -> Iterable[str]:
    return when(fact(case.machine, "userData") == "yes", "The machine has user data, which is not carried.")


def _agents(_case: Case) -> Iterable[str]:
    yield "Agents of the cloud (SSM, CloudWatch, ENI hot-plug, the clock at 169.254.169.123) find nobody at the target."


def _licence(case: Case) -> Iterable[str]:
    told = system(case.machine) or _by_platform(case.machine)
    return when(told not in {None, _LINUX}, f"Its system ({told}) is licensed and updated through AWS.")


def _by_platform(machine: Machine) -> str | None:
    """Inventories of earlier versions hold the platform as AWS wrote it."""
    return "Windows" if runs_windows(machine) else None


def _marketplace(case: Case) -> Iterable[str]:
    codes = [value for _, value in facts(case.machine, r"(ProductCodes).*ProductCodeId")]
    return when(bool(codes), f"Its image is a product of the AWS Marketplace ({', '.join(codes)}).")


def _encrypted(case: Case) -> Iterable[str]:
    taken = {disk.id for disk in case.machine.kept_disks}
    for disk, key in facts(case.machine, r"volume\[(.*)\]/KmsKeyId"):
        if disk in taken:
            yield f"Disk {disk} is encrypted with {key}; at the target the storage class decides."


def _enclave(case: Case) -> Iterable[str]:
    return when(fact(case.machine, "EnclaveOptions/Enabled") == "yes", "The machine may run Nitro enclaves.")


def _uuid(case: Case) -> Iterable[str]:
    yield f"The machine gets the SMBIOS UUID {new_uuid(case.machine)}: EC2's own would make cloud-init look for EC2."


def _cost(case: Case) -> Iterable[str]:
    sizes = [disk.capacity_bytes for disk in case.machine.data_disks if disk.capacity_bytes]
    calls = most_calls(sizes)
    return when(
        bool(sizes),
        f"One full pass over its {human_bytes(sum(sizes))} costs at most {dollars(calls):.2f} US dollars "
        f"({calls['GetSnapshotBlock']:,} block reads), were all of it written, and {dollars_out(sum(sizes)):.2f} more "
        "where the target lies outside of AWS; each delta what it reads.",
    )


RULES = tuple(
    Rule(one.id, one.severity, one.about, one.fix, ec2(one.find), one.acceptable)
    for one in (
        Rule(
            "ec2.paravirtual",
            CRITICAL,
            "an instance of the paravirtual kind",
            "Move it to an HVM image with a current kernel first.",
            _paravirtual,
            acceptable=False,
        ),
        Rule(
            "ec2.instance-store",
            CRITICAL,
            "an instance store, which does not outlive a stop",
            "Copy what matters to a volume.",
            _instance_store,
        ),
        Rule(
            "ec2.autoscaling",
            CRITICAL,
            "an instance of an Auto Scaling group",
            "Set `stop.scalingGroup: detach` in the policy, or detach it from the group by hand.",
            _autoscaling,
        ),
        Rule(
            "ec2.managed",
            CRITICAL,
            "an instance that a service of AWS's manages",
            "Leave it out (`include: false`), and let the service drain it; move its workload, not the machine.",
            _managed,
        ),
        Rule(
            "ec2.bare-metal",
            WARNING,
            "a bare metal instance",
            "Rehearse it; what drives the host's hardware, or runs virtual machines of its own, needs another way.",
            _bare_metal,
        ),
        Rule(
            "ec2.edge",
            WARNING,
            "a Wavelength Zone, a Local Zone or an Outpost",
            "Look who talks to it from there; its snapshots are kept in the region, where they are read.",
            _edge,
        ),
        Rule(
            "ec2.elsewhere",
            WARNING,
            "a volume whose own description says that it is attached elsewhere",
            "Describe instances and volumes again, at one time and of one account.",
            _elsewhere,
        ),
        Rule(
            "ec2.fabric",
            WARNING,
            "an interface that is no network card (efa-only)",
            "Applications that talk over it need another way; KubeVirt's SR-IOV networks may be one.",
            _fabric,
        ),
        Rule(
            "ec2.interface-kind",
            WARNING,
            "a network card of a special kind (EFA, trunk, branch)",
            "See that nothing in the guest depends on it.",
            _interface_kind,
        ),
        Rule("ec2.spot", WARNING, "a spot instance", "Start it anew on demand from an image of it.", _spot),
        Rule(
            "ec2.cloud-init",
            WARNING,
            "a guest that may look for EC2's metadata",
            "Before the move put `datasource_list: [NoCloud, None]` into /etc/cloud/cloud.cfg.d; keep its instance id.",
            _cloud_init,
        ),
        Rule(
            "ec2.metadata",
            WARNING,
            "a guest that has EC2's metadata service",
            "Before the move look for what asks it: credentials of a role, the region, user data, tags, agents, "
            "cloud-init; give all of that another way, and see that nothing waits for it at boot.",
            _metadata,
        ),
        Rule(
            "ec2.disk-bus",
            WARNING,
            "a Linux whose disks go to virtio rather than to SATA",
            "See that its initramfs has virtio_blk (`lsinitramfs`, `lsinitrd`; else `dracut --force --add-drivers "
            "virtio_blk`). Set `legacyDiskBus` or `diskBus` in the policy for another bus.",
            _disk_bus,
        ),
        Rule(
            "ec2.device-names",
            WARNING,
            "disks that have other names at the target",
            "Before the move name disks by UUID or LABEL in fstab, crypttab and the boot loader; and see that the "
            "initramfs has the driver of the target's bus.",
            _device_names,
        ),
        Rule(
            "ec2.network-names",
            WARNING,
            "network cards that have other names at the target",
            "The MAC addresses stay: configure the network by MAC or by DHCP, and drop persistent network rules.",
            _network_names,
        ),
        Rule(
            "ec2.addresses",
            WARNING,
            "addresses that the cloud gave",
            "Change DNS, peers and firewalls that name them, or give the target a network that has them.",
            _addresses,
        ),
        Rule(
            "ec2.role-lost",
            WARNING,
            "an instance profile",
            "Give its applications credentials of another kind before the move.",
            _profile,
        ),
        Rule("ec2.user-data", INFO, "user data", "Nothing, if it only mattered at the first boot.", _user_data),
        Rule("ec2.agents", INFO, "agents of the cloud", "Switch them off after the move.", _agents),
        Rule(
            "ec2.licence",
            WARNING,
            "a system that AWS licenses",
            "Bring a licence and a source of updates of your own.",
            _licence,
        ),
        Rule(
            "ec2.marketplace",
            WARNING,
            "a Marketplace image",
            "Ask its vendor whether it may run elsewhere.",
            _marketplace,
        ),
        Rule(
            "ec2.encrypted",
            INFO,
            "an encrypted volume",
            "Our role needs kms:Decrypt on the key; choose an encrypted storage class if it is to stay so.",
            _encrypted,
        ),
        Rule(
            "ec2.hibernation",
            INFO,
            "an instance that may hibernate",
            "Switch its agent off, and give the room of its swap file back, after the move.",
            _hibernation,
        ),
        Rule("ec2.enclave", WARNING, "Nitro enclaves", "Applications that use them need another way.", _enclave),
        Rule(
            "ec2.uuid-new",
            INFO,
            "the new SMBIOS UUID of an instance",
            "Licences that are bound to it must be renewed.",
            _uuid,
        ),
        Rule(
            "ec2.cost",
            INFO,
            "what reading the disks costs",
            "Prices are AWS's examples for us-east-1; traffic to another region costs less, and snapshots come on top.",
            _cost,
        ),
    )
)
