"""Rules about machines that come from EC2: what the cloud did for them, and does not do at the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kubeferry.sources.ec2.cost import dollars, most_calls
from mappings.ec2 import fact, facts, is_ec2, new_uuid
from mappings.quantities import human_bytes
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when

_LINUX = "Linux/UNIX"


def ec2(find: Callable[[Case], Iterable[str]]) -> Callable[[Case], Iterable[str]]:
    """A rule that speaks of instances only."""
    return lambda case: find(case) if is_ec2(case.machine) else ()


def _is_windows(case: Case) -> bool:
    return "windows" in (fact(case.machine, "PlatformDetails") or "").lower()


def _paravirtual(case: Case) -> Iterable[str]:
    return when(
        fact(case.machine, "VirtualizationType") == "paravirtual",
        "The machine is paravirtual: its kernel may know Xen only, and then starts nowhere else.",
    )


def _instance_store(case: Case) -> Iterable[str]:
    size = fact(case.machine, "instanceStore")
    return when(size is not None, f"Its type has an instance store ({size}); what is on it is lost when it stops.")


def _autoscaling(case: Case) -> Iterable[str]:
    group = case.machine.metadata.get("aws:autoscaling:groupName")
    return when(group is not None, f"The Auto Scaling group {group} replaces the machine as soon as it is stopped.")


def _spot(case: Case) -> Iterable[str]:
    spot = fact(case.machine, "InstanceLifecycle") == "spot"
    return when(spot, "The machine is a spot instance: EC2 may refuse to stop it, or to start it again.")


def _cloud_init(case: Case) -> Iterable[str]:
    return when(
        not _is_windows(case),
        "If cloud-init looks for EC2 in the guest, it waits up to four minutes at each boot for a metadata service.",
    )


def _device_names(case: Case) -> Iterable[str]:
    return when(
        not _is_windows(case) and bool(case.machine.data_disks),
        "Disks change their names in the guest (/dev/nvme0n1 or /dev/xvda is /dev/sda or /dev/vda at the target).",
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
    told = fact(case.machine, "PlatformDetails")
    return when(told not in {None, _LINUX}, f"Its system ({told}) is licensed and updated through AWS.")


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
        f"({calls['GetSnapshotBlock']:,} block reads), were all of it written; each delta what it reads.",
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
            "Detach it from the group, or suspend the group's processes.",
            _autoscaling,
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
            "Prices are AWS's examples for us-east-1; snapshots and traffic out of the region come on top.",
            _cost,
        ),
    )
)
