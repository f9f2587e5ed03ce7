"""The UEFI variables of an instance, as the store of a firmware. The dictionary that AWS packs them with is Amazon's,
and comes with its package; nothing else of that is used."""

from __future__ import annotations

from typing import Any

from kubeferry.errors import InputInvalid, PermanentError, SourceRefused
from kubeferry.images import uefi_data
from kubeferry.images.variables import store_of
from kubeferry.model import Concern, Machine, Severity
from kubeferry.outside import aws, libraries

LEAVE_FIX = "Let the account ask for it (ec2:GetInstanceUefiData); or leave them behind with keepVariables: false."


def variables(ec2: Any, machine: Machine) -> bytes | None:
    """Their store, in the layout of large flash; None where the machine does not boot by UEFI. Raises SourceRefused
    where they cannot be had or read, ToolMissing without Amazon's package."""
    if machine.firmware.nvram_format != uefi_data.FORM:
        return None
    with libraries.needed():
        from pyuefivars.aws_v0 import UEFIVarStoreV0
    try:
        told = ec2.get_instance_uefi_data(InstanceId=machine.id)["UefiData"]
    except aws.failures() as error:
        if aws.is_passing(error):
            raise
        reason = aws.told(error, "EC2 does not hand over its UEFI variables", machine=machine.name)
        raise SourceRefused(reason.what, why=reason.why, fix=LEAVE_FIX, machine=machine.name) from error
    try:
        return store_of(uefi_data.variables_of(told, UEFIVarStoreV0.dict), "4m")
    except InputInvalid as error:
        problem = error.problems[0]
        what = "its UEFI variables cannot be carried"
        raise SourceRefused(what, why=f"their store {problem.what}", fix=problem.fix, machine=machine.name) from error


def concerns(ec2: Any, machine: Machine) -> list[Concern]:
    """One where there are variables that cannot be had. A plan that carries them is refused then, while the machine
    still runs."""
    try:
        variables(ec2, machine)
    except PermanentError as error:
        what = f"{machine.name}: its UEFI variables cannot be carried: {error.why or error.what}"
        return [Concern(id="source.variables", severity=Severity.WARNING, what=what, fix=error.fix)]
    return []
