"""Configurations of Proxmox in files: one machine each."""

from __future__ import annotations

import re
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine, Severity
from kubeferry.sources.facts.byte_marks import marked, no_text
from kubeferry.sources.facts.readings import PASSED_OVER, UNREADABLE
from kubeferry.sources.proxmox.machine import parse_config
from kubeferry.sources.proxmox.sections import AGAIN, read_sections

HOW = "what `qm config VMID` prints, or /etc/pve/qemu-server/*.conf, one file per machine, called NAME.conf or anything"
LIMIT_BYTES = 1 << 20
# Keys that a machine's configuration has, and hardly another file with a colon behind them.
_SIGNS = re.compile(
    r"^(scsihw|ostype|vmgenid|smbios1|bootdisk|efidisk0|boot|bios|sockets|(?:scsi|virtio|sata|ide|net)[0-9]{1,2}): \S",
    re.MULTILINE,
)
_MEMORY = re.compile(r"^(memory|cores|name): \S", re.MULTILINE)
# A machine without disks and cards has no more than these; in a *.conf of another kind lines look otherwise.
_LEAST = re.compile(r"^memory: [0-9]+$", re.MULTILINE)
_LINE = re.compile(r"\s*|#.*|\[.*\]|[a-z][a-z0-9_-]*: ?.*", re.ASCII)
_CONTAINER = re.compile(r"^(rootfs: |lxc\.|unprivileged: )", re.MULTILINE)


def takes(end: str, start: bytes) -> bool:
    """Whether a file that begins so is a machine's configuration, whatever its name. One called *.conf may be that of a
    container, or what a failed `qm config` left."""
    text = start.decode(marked(start) or "utf-8", errors="ignore")
    named = end == ".conf" and (not text.strip() or _CONTAINER.search(text) is not None or _is_least(text))
    return named or (_SIGNS.search(text) is not None and _MEMORY.search(text) is not None)


def _is_least(text: str) -> bool:
    """Whether it says how much memory and another thing of a machine, in lines as a configuration has them."""
    found = _LEAST.search(text) and any(one[1] != "memory" for one in _MEMORY.finditer(text))
    return bool(found) and all(_LINE.fullmatch(line) for line in text.splitlines()[:200])


def read_machines(path: Path, source: str) -> list[Machine | Concern]:
    """The machine of a file; a concern for a file that is no configuration of one. Raises InputInvalid with all
    problems, each with its line."""
    text = _text(path)
    if not text.strip():
        what = f"{path}: it is empty, as after a failed `qm config`"
        return [Concern(id=UNREADABLE, severity=Severity.WARNING, what=what, fix="Write it again.")]
    if _CONTAINER.search(text):
        what = f"{path}: it is a container of Proxmox, no machine"
        return [Concern(id=PASSED_OVER, severity=Severity.INFO, what=what, fix="")]
    return [parse_config(read_sections(text, str(path)), source=source, called=path.stem)]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LIMIT_BYTES:
            problem = Problem(str(path), "it is larger than 1 MiB, which no configuration is", AGAIN)
            raise InputInvalid(f"{path} is too large", [problem])
        content = path.read_bytes()
        return content.decode(marked(content) or "utf-8")
    except OSError as error:
        problem = Problem(str(path), error.strerror or str(error), "Check its permissions.")
        raise InputInvalid(f"{path} cannot be read", [problem]) from error
    except UnicodeDecodeError as error:
        what = no_text(error)
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), what, "Save it as UTF-8.")]) from error
