"""The flow `discover`: one source asked, its machines shown as a table in the UI."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.struck import rows_without, strike_logs, struck_errors, without_secrets
from kubeferry.config import read_config
from kubeferry.documents import Inventory
from kubeferry.steps.discover import discover


@flow(name="discover", flow_run_name="discover {source}", persist_result=False)
def discover_flow(config_path: str, source: str) -> Inventory:
    """The inventory of one source. The configuration travels as a path: it may name secrets' places, never secrets."""
    strike_logs()
    with struck_errors():
        inventory = discover(read_config(Path(config_path)), source)
    table, description = rows_without(_rows(inventory)), without_secrets(f"Machines of {inventory.source}")
    create_table_artifact(key="inventory", table=table, description=description)
    return inventory


def _rows(inventory: Inventory) -> list[dict[str, object]]:
    return [
        {
            "machine": machine.name,
            "power": machine.power.value,
            "firmware": machine.firmware.kind.value,
            "vCPU": machine.cpu.vcpus,
            "memory MiB": machine.memory.size_bytes >> 20,
            "disks": len(machine.data_disks),
            "NICs": len(machine.nics),
        }
        for machine in inventory.machines
    ]
