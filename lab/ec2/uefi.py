"""What GetInstanceUefiData would answer for these variables, as Amazon's own package writes them."""

from __future__ import annotations

import warnings

from kubeferry.images.variables import Variable


def answer(*variables: Variable, signer: bytes | None = None) -> str:
    """The text. `signer` is the digest of who has signed the authenticated ones; zeros without."""
    from pyuefivars.aws import AWSUEFIVarStore
    from pyuefivars.varstore import UEFIVar

    store = AWSUEFIVarStore.__new__(AWSUEFIVarStore)
    store.vars = [
        UEFIVar(one.name, one.data, one.vendor.bytes_le, one.attributes, one.time if any(one.time) else None, signer)
        for one in variables
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the collector
        return bytes(store).decode()
