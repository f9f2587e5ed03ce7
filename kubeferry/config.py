"""kubeferry.yaml: which sources, which target, where the journal is. Relative paths count from the file's folder."""

from __future__ import annotations

import os
from pathlib import Path

from kubeferry.documents import Config, load
from kubeferry.errors import InputInvalid, Problem
from kubeferry.passwords import carried

_FIXES = {
    "libvirt": "libvirt reads logins from its own auth.conf, and qemu+ssh:// takes keys.",
    "vmware": "Set GOVC_USERNAME and GOVC_PASSWORD, or what `vmware.prefix` makes of them.",
}
"""Where each kind of source has its login from."""

DEFAULT_NAME = "kubeferry.yaml"
ENVIRONMENT_NAME = "KUBEFERRY_CONFIG"


def find_config(given: Path | None) -> Path:
    """The configuration file: the one given, else the environment's, else `kubeferry.yaml` here."""
    return given or Path(os.environ.get(ENVIRONMENT_NAME, DEFAULT_NAME))


def read_config(path: Path) -> Config:
    """Load a configuration and make its paths absolute. Raises InputInvalid with every problem."""
    if not path.exists():
        fix = f"Write one with `kubeferry init`, or name yours with --config or {ENVIRONMENT_NAME}."
        raise InputInvalid("there is no configuration", [Problem(str(path), "it is not there", fix)])
    config = load(path, Config)
    if problems := _secrets(config, path):
        raise InputInvalid("the configuration holds a secret, which would be kept in logs and reports", problems)
    base = path.resolve().parent
    kubeconfig = config.target.kubeconfig and _absolute(str(Path(config.target.kubeconfig).expanduser()), base)
    places = {"path": _absolute(config.target.path, base), "kubeconfig": kubeconfig}
    target = config.target.model_copy(update=places)
    journal = config.journal.model_copy(update={"url": _absolute_sqlite(config.journal.url, base)})
    return config.model_copy(update={"target": target, "journal": journal})


def _secrets(config: Config, path: Path) -> list[Problem]:
    """Every address that carries a secret; which one is told, and not the secret."""
    addresses: dict[str, str | None] = {"target.uploadUrl": config.target.upload_url, "journal.url": config.journal.url}
    fixes = {"journal.url": "Put it into an environment variable, and name that in journal.passwordEnv."}
    for name, source in config.sources.items():
        addresses[f"sources.{name}.uri"] = source.uri
        addresses[f"sources.{name}.vmware.reader"] = source.vmware.reader
        addresses[f"sources.{name}.aws.endpointUrl"] = source.aws.endpoint_url
        fixes[f"sources.{name}.uri"] = _FIXES.get(source.kind, "")
    if config.notify:
        addresses["notify.pages"] = config.notify.pages
        for name, hook in config.notify.webhooks.items():
            addresses[f"notify.webhooks.{name}.url"] = hook.url
            fixes[f"notify.webhooks.{name}.url"] = "Put it into an environment variable, and name that in urlEnv."
    found = {place: what for place, address in addresses.items() if address and (what := carried(address))}
    return [
        Problem(f"{path}: {place}", what, " ".join(filter(None, ("Take it out.", fixes.get(place)))))
        for place, what in found.items()
    ]


def pick_source(config: Config, name: str | None) -> str:
    """The name of a source or an estate, as it is given; without one that of the only source there is, or of the estate
    that has all of them. Raises InputInvalid where there is none of this name, or several may be meant."""
    if name is None and len(config.sources) == 1:
        return next(iter(config.sources))
    whole = [one for one, members in (config.estates or {}).items() if set(members) == set(config.sources)]
    if name is None and len(whole) == 1:
        return whole[0]
    if name is not None and config.members(name):
        return name
    known = ", ".join(sorted((*config.sources, *(config.estates or {})))) or "none"
    what = f"source {name!r} is not configured" if name else "several sources are configured"
    raise InputInvalid(what, [Problem("--source", "it names none of them", f"Name one of: {known}.")])


def _absolute(path: str, base: Path) -> str:
    return str(base / path) if path else path


def _absolute_sqlite(url: str, base: Path) -> str:
    scheme, found, path = url.partition(":///")
    if not found or not scheme.startswith("sqlite") or path.startswith("/") or path == ":memory:":
        return url
    return f"{scheme}:///{base / path}"
