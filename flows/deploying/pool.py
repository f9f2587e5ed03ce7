"""A work pool of processes in which nobody but the worker's own image says what is started; pure.

A pool as Prefect makes it lets whoever may start a run name a command, a working directory and an environment: code
that a worker executes. In this one they are fixed; the server refuses any other value, and any other variable.
"""

from __future__ import annotations

from typing import Any

from flows.deploying.compared import job_variables

TYPE = "process"
_ABOUT = {
    "env": ("Environment", "object", "Fixed: nobody changes what a worker runs."),
    "stream_output": ("Stream output", "boolean", "Fixed: a run outlives its worker."),
}


def template() -> dict[str, Any]:
    """The pool's base job template. What our deployments ask for is all that it takes."""
    fixed = job_variables(TYPE)
    properties = {
        name: {"title": _ABOUT[name][0], "description": _ABOUT[name][2], "type": _ABOUT[name][1]}
        | {"enum": [value], "default": value}
        for name, value in fixed.items()
    }
    own = dict.fromkeys(("command", "name", "working_dir")) | {"labels": {}}
    return {
        "job_configuration": own | {name: f"{{{{ {name} }}}}" for name in fixed},
        "variables": {"type": "object", "additionalProperties": False, "properties": properties},
    }
