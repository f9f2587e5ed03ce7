"""Signs by which the beginning of a file is known, though no reader takes it by its name. Pure."""

from __future__ import annotations

import re

from kubeferry.sources.facts.byte_marks import of_xml

_FLAGS = re.MULTILINE | re.IGNORECASE
_AWS = r"(?:Reservations|Instances|InstanceTypes|Volumes)"
_PROXMOX = re.compile(r'"(?:scsihw|ostype|vmgenid|smbios1|bootdisk|(?:scsi|virtio|sata|ide|net)[0-9]{1,2})"\s*:')
_PROXMOX_SIZE = re.compile(r'"(?:memory|cores|sockets)"\s*:')
_FROM_PROXMOX = ("it is a machine of Proxmox in JSON, which is not read", "Give what `qm config VMID` prints.")
# A machine's VMX has its own version, and something of the machine.
_VMX = re.compile(r"^[ \t]*virtualHW\.version[ \t]*=", _FLAGS)
_VMX_MACHINE = re.compile(r"^[ \t]*(?:displayName|memsize|guestOS|config\.version)[ \t]*=", _FLAGS)
_SIGNS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(rf'\A\s*[\[{{](?s:.)*"(?:{_AWS}"\s*:\s*\[|InstanceId"\s*:\s*"i-|VolumeId"\s*:\s*"vol-)'),
        "it holds what `aws ec2 describe-…` prints, and is not read by its name",
        "Rename it to *.json, and discover again.",
    ),
    (
        re.compile(rf"^(?:- )?{_AWS}:[ \t]*$|^[ \t]*(?:- )?InstanceId:[ \t]*i-[0-9a-f]", re.MULTILINE),
        "it holds what `aws ec2 describe-…` prints, and is not read by its name",
        "Rename it to *.yaml, and discover again.",
    ),
    (
        re.compile(
            r"^(?:(?:RESERVATIONS|INSTANCES)\t|i-[0-9a-f]{8,17}(?:\t|$)|\|[ \t]*DescribeInstances[ \t]*\|)",
            re.MULTILINE,
        ),
        "it holds what `aws ec2` prints as text or table, which is not read",
        "Write it again: `aws ec2 describe-instances --output json > instances.json`.",
    ),
    (
        re.compile(r"\A\s*(?:<[?!][^>]{0,2000}>\s*)*<(?:[\w-]+:)?Envelope\s[^>]{0,8000}ovf", re.IGNORECASE),
        "it holds an OVF, and is not read by its name",
        "Rename it to *.ovf, and discover again.",
    ),
)  # fmt: skip


def of_export(start: bytes) -> tuple[str, str] | None:
    """What a file that begins so is, and what to do to have it read; None where it is no export that is known."""
    text = text_of(start)
    if (told := of_proxmox(text)) is not None:
        return told
    if _VMX.search(text) and _VMX_MACHINE.search(text):
        return "it holds a VMX, and is not read by its name", "Rename it to *.vmx, and discover again."
    return next(((what, fix) for sign, what, fix in _SIGNS if sign.search(text)), None)


def of_proxmox(text: str) -> tuple[str, str] | None:
    """The same for a configuration that Proxmox's API has answered with (`pvesh get …/config`)."""
    in_json = text.lstrip()[:1] in {"{", "["}
    return _FROM_PROXMOX if in_json and _PROXMOX.search(text) and _PROXMOX_SIZE.search(text) else None


def text_of(start: bytes) -> str:
    """The beginning of a file as text, as far as it is any."""
    try:
        return start.decode(of_xml(start), errors="ignore").removeprefix("\ufeff")
    except LookupError:
        return start.decode(errors="ignore")
