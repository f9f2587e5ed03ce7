"""`python -m lab.cluster up|down|status`: the lab's Kubernetes node."""

from __future__ import annotations

import argparse
import sys

from kubeferry.errors import KubeferryError
from lab.cluster import lifecycle, place, status
from lab.cluster.progress import say


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=f"A Kubernetes node in its own namespaces. Setting: {place.SETTING}.")
    parser.add_argument("verb", choices=("up", "down", "status"))
    verb = parser.parse_args().verb
    own = place.own()
    try:
        if verb == "up":
            lifecycle.up(own)
        else:
            lines = lifecycle.down(own) or ["nothing to end"] if verb == "down" else status.lines(own)
            for line in lines:
                say(line)
    except KubeferryError as error:
        print(f"failed: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
