"""Documents as the version knew them that wrote them: an upgrade keeps plans usable.

A digest covers what was written, never the defaults of fields that came later. Until digests left out what is nothing,
they counted it as null: those that were made then are checked with the fields that there were.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from kubeferry.shapes import Value

# The fields of a plan that could be nothing while digests counted them. A closed list: later ones were never counted.
_COUNTED = {
    "Machine": "title description arch machine_type uuid smbios_serial tpm watchdog autostart snapshots",
    "Firmware": "secure_boot loader nvram boot_menu",
    "Cpu": "max_vcpus sockets cores threads mode model emulator_pin nested",
    "NumaCell": "memory_bytes",
    "Memory": "max_bytes hugepage_bytes locked",
    "Clock": "timezone",
    "Timer": "present tickpolicy track",
    "Disk": "controller_model uri format chain capacity_bytes allocated_bytes serial wwn cache io discard boot_order",
    "Nic": "network portgroup mode model mac link_up mtu boot_order",
    "Tpm": "model version backend persistent",
    "Watchdog": "action",
    "Device": "model",
    "Guest": "os_id os_name kernel hostname agent_channel agent_answers",
    "Probe": "port path expect",
}
_NULLS = {name: frozenset(fields.split()) for name, fields in _COUNTED.items()}


def as_written(document: Value) -> dict[str, Any]:
    """A document that was read, as plain data, without the fields that it does not name."""
    return _written(document, document.model_dump(mode="json", by_alias=True), {})  # type: ignore[no-any-return]


def as_counted(document: Value) -> dict[str, Any]:
    """The same with the fields that were nothing, where they were counted as null."""
    return _written(document, document.model_dump(mode="json", by_alias=True), _NULLS)  # type: ignore[no-any-return]


def _written(value: Any, dumped: Any, nulls: dict[str, frozenset[str]]) -> Any:
    if isinstance(value, BaseModel):
        names = {
            field.serialization_alias or field.alias or name: name for name, field in type(value).model_fields.items()
        }
        counted = nulls.get(type(value).__name__, frozenset())
        return {
            key: _written(getattr(value, names[key]), content, nulls)
            for key, content in dumped.items()
            if (names[key] in counted if content is None else names[key] in value.model_fields_set)
        }
    if isinstance(value, (list, tuple)):
        return [_written(one, content, nulls) for one, content in zip(value, dumped, strict=True)]
    if isinstance(value, dict):
        items = zip(value.values(), dumped.items(), strict=True)
        return {key: _written(one, content, nulls) for one, (key, content) in items}
    return dumped
