"""Network cards of an instance, in the order in which the guest sees them."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.model import Nic, SourceFact
from kubeferry.sources.ec2.facts import Facts
from kubeferry.sources.ec2.told import Told

# Of the cloud's side of a card, or of this moment.
_PASSING = (
    "Status",
    "OwnerId",
    "PrivateDnsName",
    "Description",
    "VpcId",
    "Association",
    "ConnectionTrackingConfiguration",
    "Operator",
)


def read_nics(instance: Facts) -> tuple[Nic, ...]:
    """The cards, called like their interfaces. The model is the driver that the guest has for it."""
    model = _model(instance)
    return tuple(_nic(card, model) for card in _cards(instance))


def _cards(instance: Facts) -> list[Facts]:
    def place(card: Facts) -> tuple[int, int]:
        attached = card.child("Attachment")
        return attached.number("NetworkCardIndex") or 0, attached.number("DeviceIndex") or 0

    return sorted(instance.all("NetworkInterfaces"), key=place)


def _model(instance: Facts) -> str | None:
    if instance.flag("EnaSupport"):
        return "ena"
    return "ixgbevf" if instance.text("SriovNetSupport") == "simple" else None


def _nic(card: Facts, model: str | None) -> Nic:
    card.skip(*_PASSING, "Attachment", "Groups", "PrivateIpAddress", "PrivateIpAddresses", "Ipv6Addresses")
    card.child("Attachment").skip(
        "AttachTime", "AttachmentId", "DeleteOnTermination", "DeviceIndex", "NetworkCardIndex", "Status"
    )
    kind = card.text("InterfaceType")
    return Nic(
        id=card.text("NetworkInterfaceId") or "unknown",
        network_kind="subnet",
        network=card.text("SubnetId"),
        model="efa" if kind and kind.startswith("efa") else model,
        mac=card.text("MacAddress"),
        filtered=bool(card.all("Groups")),
    )


def unmodelled(instance: Facts, told: Told) -> Iterator[SourceFact]:
    """Addresses, subnets and security groups: what the guest's network was."""
    groups: dict[str, str] = {}
    for card in _cards(instance):
        place = f"ec2/interface[{card.text('NetworkInterfaceId')}]"
        for one in card.all("Groups"):
            groups[one.text("GroupId") or ""] = one.text("GroupName") or ""
        if card.flag("SourceDestCheck") is False:
            yield SourceFact(path=f"{place}/SourceDestCheck", value="no")
        if addresses := list(_addresses(card)):
            yield SourceFact(path=f"{place}/addresses", value=", ".join(addresses))
        if subnet := Facts(told.subnets.get(card.text("SubnetId") or "")).text("CidrBlock"):
            yield SourceFact(path=f"{place}/subnet", value=subnet)
    for group, name in sorted(groups.items()):
        rules = Facts(told.groups.get(group))
        counted = f": {len(rules.all('IpPermissions'))} rules in, {len(rules.all('IpPermissionsEgress'))} out"
        yield SourceFact(path=f"ec2/securityGroup[{group}]", value=f"{name}{counted if rules else ''}")


def _addresses(card: Facts) -> Iterator[str]:
    own = [one.text("PrivateIpAddress") for one in card.all("PrivateIpAddresses")] or [card.text("PrivateIpAddress")]
    yield from (address for address in own if address)
    yield from (address for one in card.all("Ipv6Addresses") if (address := one.text("Ipv6Address")))
    for one in card.all("PrivateIpAddresses"):
        one.skip("Primary", "PrivateDnsName")
        one.child("Association").skip("IpOwnerId", "PublicDnsName", "CarrierIp")
        if public := one.child("Association").text("PublicIp"):
            yield f"{public} (public)"
