"""kubectl of the lab's own version, speaking to the lab's cluster from outside the node."""

from __future__ import annotations

from pathlib import Path

from kubeferry.outside.process import run
from lab.cluster import binaries
from lab.cluster.place import Place


def kubectl(place: Place, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
    """What kubectl says. Raises ProgramFailed."""
    return run(_argv(place, arguments), stdin=stdin, timeout=timeout).out


def says(place: Place, *arguments: str) -> str | None:
    """The same, None where kubectl fails."""
    done = run(_argv(place, arguments), check=False, timeout=30)
    return done.out if done.code == 0 else None


def apply(place: Place, manifest: str | Path) -> None:
    """Server-side apply of a manifest, given as text or as a file. Raises ProgramFailed."""
    text = manifest if isinstance(manifest, str) else manifest.read_text()
    kubectl(place, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def wait(place: Place, thing: str, condition: str, *, namespace: str = "default", seconds: int) -> None:
    """Wait until `thing` shows `condition` (as in `kubectl wait --for=`). Raises ProgramFailed."""
    arguments = ("wait", thing, f"--namespace={namespace}", f"--for={condition}", f"--timeout={seconds}s")
    kubectl(place, *arguments, timeout=seconds + 10)


def _argv(place: Place, arguments: tuple[str, ...]) -> list[str]:
    # What it learned of one cluster's kinds goes with that cluster, and not into the user's own cache.
    options = (f"--kubeconfig={place.kubeconfig}", f"--cache-dir={place.state / 'kubectl'}")
    return [str(binaries.folder() / "kubectl"), *options, *arguments]
