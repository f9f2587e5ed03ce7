"""Network cards of a VMX: `ethernet0.virtualDev`, … Pure."""

from __future__ import annotations

import re

from kubeferry.model import Nic
from kubeferry.sources.facts.escaped_names import unescaped
from kubeferry.sources.facts.settings import Settings

_CARD = re.compile(r"(ethernet[0-9]{1,2})\.present", re.ASCII)
_MODELS = {"vlance": "pcnet", "flexible": "pcnet"}
_PASSED_THROUGH = {"sriov"}


def read_nics(vmx: Settings, orders: dict[str, int]) -> tuple[Nic, ...]:
    """The cards that are present, in their order and under their names. `orders` are their places in the boot order."""
    names = [found[1] for key in vmx if (found := _CARD.fullmatch(key))]
    return tuple(
        _nic(vmx, name, orders.get(name))
        for name in sorted(names, key=lambda one: int(one.removeprefix("ethernet")))
        if vmx.flag(f"{name}.present")
    )


def _nic(vmx: Settings, name: str, order: int | None) -> Nic:
    model = (vmx.value(f"{name}.virtualDev") or "").lower() or None
    network = unescaped(_network(vmx, name) or "") or None
    kind = "hostdev" if model in _PASSED_THROUGH else "network" if network else "unknown"
    return Nic(
        id=name,
        network_kind=kind,
        network=network,
        switch=vmx.value(f"{name}.dvs.switchId"),
        network_key=vmx.value(f"{name}.dvs.portgroupId"),
        model=_MODELS.get(model or "", model),
        mac=_mac(vmx, name),
        link_up=False if vmx.flag(f"{name}.startConnected") is False else None,
        throttled=(vmx.value(f"{name}.rxbw.limit") or vmx.value(f"{name}.txbw.limit") or "-1") != "-1",
        boot_order=order,
    )


def _network(vmx: Settings, name: str) -> str | None:
    """The port group of vSphere; else Workstation's and Fusion's virtual network, or their word for one (bridged, nat,
    hostonly); of a distributed switch the port group's key."""
    told = [vmx.value(f"{name}.{key}") for key in ("networkName", "vnet", "connectionType", "dvs.portgroupId")]
    return next((one for one in told if one), None)


def _mac(vmx: Settings, name: str) -> str | None:
    """A card has the address that its kind says: one that was set by hand, or one that was made."""
    kind = (vmx.value(f"{name}.addressType") or "").lower()
    made, own = vmx.value(f"{name}.generatedAddress"), vmx.value(f"{name}.address")
    return (own or made) if kind in {"static", ""} else (made or own)
