"""Network cards of an instance, in the order in which the guest sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubeferry.model import Device, Nic, SourceFact
from kubeferry.sources.ec2.facts import Facts
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.ec2.traffic import security_group

# Of the cloud's side of a card, or of this moment.
_PASSING = (
    "Status",
    "OwnerId",
    "PrivateDnsName",
    "Description",
    "VpcId",
    "ConnectionTrackingConfiguration",
    "Operator",
)
_USUAL = "interface"
_FABRIC = "efa-only"
"""A card that passes messages between instances, past the kernel: it has no address, and the guest no network on it."""
# What a permission of a security group lists: each entry is a rule, as the console and the quotas count them.
_LISTED = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")


def read_nics(instance: Facts, told: Told) -> tuple[Nic, ...]:
    """The cards, called like their interfaces. The model is the driver that the guest has for it."""
    model = _model(instance)
    return tuple(_nic(card, model, told) for card in _cards(instance) if card.text("InterfaceType") != _FABRIC)


def fabric_devices(instance: Facts) -> tuple[Device, ...]:
    """What is called a card and is none."""
    return tuple(_fabric(card) for card in _cards(instance) if card.text("InterfaceType") == _FABRIC)


def _fabric(card: Facts) -> Device:
    _skip_passing(card)
    said = {"id": card.text("NetworkInterfaceId"), "mac": card.text("MacAddress"), "subnet": card.text("SubnetId")}
    return Device(kind="fabric", model=_FABRIC, detail={key: value for key, value in said.items() if value})


def _cards(instance: Facts) -> list[Facts]:
    def place(card: Facts) -> tuple[int, int]:
        attached = card.child("Attachment")
        return attached.number("NetworkCardIndex") or 0, attached.number("DeviceIndex") or 0

    return sorted(instance.all("NetworkInterfaces"), key=place)


def _model(instance: Facts) -> str | None:
    if instance.flag("EnaSupport"):
        return "ena"
    return "ixgbevf" if instance.text("SriovNetSupport") == "simple" else None


def _nic(card: Facts, model: str | None, told: Told) -> Nic:
    _skip_passing(card)
    kind = card.text("InterfaceType")
    return Nic(
        id=card.text("NetworkInterfaceId") or "unknown",
        network_kind="subnet",
        network=card.text("SubnetId"),
        model="efa" if kind and kind.startswith("efa") else model,
        mac=card.text("MacAddress"),
        filtered=bool(card.all("Groups")),
        filters=tuple(security_group(one, told) for one in card.all("Groups")) or None,
    )


def _skip_passing(card: Facts) -> None:
    card.skip(*_PASSING, "Attachment", "Groups", "PrivateIpAddress", "PrivateIpAddresses", "Ipv6Addresses")
    card.child("Attachment").skip(
        "AttachTime", "AttachmentId", "DeleteOnTermination", "DeviceIndex", "NetworkCardIndex", "Status"
    )


def unmodelled(instance: Facts, told: Told) -> Iterator[SourceFact]:
    """Addresses, subnets and security groups: what the guest's network was."""
    groups: dict[str, str] = {}
    for card in _cards(instance):
        place = f"ec2/interface[{card.text('NetworkInterfaceId')}]"
        for one in card.all("Groups"):
            groups[one.text("GroupId") or ""] = one.text("GroupName") or ""
        if (kind := card.text("InterfaceType")) not in {None, _USUAL}:
            yield SourceFact(path=f"{place}/InterfaceType", value=kind or "")
        if card.flag("SourceDestCheck") is False:
            yield SourceFact(path=f"{place}/SourceDestCheck", value="no")
        if addresses := list(_addresses(card)):
            yield SourceFact(path=f"{place}/addresses", value=", ".join(addresses))
        if subnet := Facts(told.subnets.get(card.text("SubnetId") or "")).text("CidrBlock"):
            yield SourceFact(path=f"{place}/subnet", value=subnet)
    for group, name in sorted(groups.items()):
        rules = Facts(told.groups.get(group))
        counted = f": {_count(rules, 'IpPermissions')} rules in, {_count(rules, 'IpPermissionsEgress')} out"
        yield SourceFact(path=f"ec2/securityGroup[{group}]", value=f"{name}{counted if rules else ''}")


def _addresses(card: Facts) -> Iterator[str]:
    own = [one.text("PrivateIpAddress") for one in card.all("PrivateIpAddresses")] or [card.text("PrivateIpAddress")]
    yield from (address for address in own if address)
    yield from (address for one in card.all("Ipv6Addresses") if (address := one.text("Ipv6Address")))
    found = []
    for one in card.all("PrivateIpAddresses"):
        one.skip("Primary", "PrivateDnsName")
        found += _associated(one.child("Association"))
    yield from dict.fromkeys([*found, *_associated(card.child("Association"))])


def _associated(association: Facts) -> list[str]:
    """Addresses that others know the card by: of the Internet, of a Wavelength Zone, of an Outpost."""
    association.skip("IpOwnerId", "PublicDnsName")
    kinds = {"PublicIp": "public", "CarrierIp": "carrier", "CustomerOwnedIp": "customer-owned"}
    return [f"{address} ({word})" for key, word in kinds.items() if (address := association.text(key))]


def _count(group: Facts, direction: str) -> int:
    return sum(sum(len(one.all(key)) for key in _LISTED) for one in group.all(direction))


def reached_at(instance: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses of a running instance, as DescribeInstances tells them: private ones first."""
    cards = instance.get("NetworkInterfaces") or ()
    private = [one.get("PrivateIpAddress") for card in cards for one in card.get("PrivateIpAddresses") or (card,)]
    newer = [one.get("Ipv6Address") for card in cards for one in card.get("Ipv6Addresses") or ()]
    return tuple(dict.fromkeys(str(one) for one in (*private, *newer, instance.get("PublicIpAddress")) if one))
