"""`kubeferry VERB`: the command line. Each verb's module is imported only when the verb is used.

Exit codes: 0 done, 1 failed and worth retrying, 2 do not retry.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from kubeferry import __version__
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.outside import stopping

# verb -> (module, one line of help); a test holds the lines to the commands' own.
VERBS = {
    "init": ("flows.cli.setting_up", "Write a configuration and a policy to start from, with a comment at each line."),
    "doctor": ("flows.cli.estate", "Check tools, configuration, source, journal and target."),
    "discover": ("flows.cli.estate", "Ask a source about its machines and write an inventory."),
    "assess": ("flows.cli.estate", "Say what would happen to each machine; touches neither source nor target."),
    "plan": ("flows.cli.estate", "Decide everything, and freeze it for review."),
    "precopy": ("flows.cli.moves", "Copy running machines ahead: one round of what changed since the last one."),
    "migrate": ("flows.cli.moves", "Do what a plan says, and prove it; the same command goes on after any failure."),
    "rollback": ("flows.cli.moves", "Stop the copy of a machine and run its source again."),
    "status": ("flows.cli.moves", "Show where each machine of a plan stands, and what is next."),
    "release": ("flows.cli.moves", "Drop what was only needed for the move, and prove that nothing is left."),
    "report": ("flows.cli.moves", "Write the report of a plan: HTML, JSON and Markdown."),
    "ui": ("flows.cli.moves", "Run the local Prefect server, to look at past runs."),
    "copy": ("flows.cli.disks", "Copy one disk, with a digest of every block; goes on where it was stopped."),
    "verify": ("flows.cli.disks", "Read a disk past the page cache and compare it with its fingerprint."),
    "repair": ("flows.cli.disks", "Fetch only the blocks that differ from the fingerprint."),
    "manifests": (
        "flows.cli.setting_up",
        "Print the rights that a cluster's administrator gives; write what images are built from.",
    ),
    "schema": ("flows.cli.estate", "Print the JSON schema of a document."),
}


class Verbs(click.Group):
    """A group that knows its verbs by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubeferry")
def cli() -> None:
    """Move virtual machines to KubeVirt, and prove every block, boot and rollback.

    In order: discover, assess, plan, migrate, report. Each writes a file that you can read before the next.
    """


def main() -> None:
    """The entry point: runs a verb and turns errors into a message and an exit code."""
    signal.signal(signal.SIGINT, _on_interrupt)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    try:
        done = cli.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return _fail(Interrupted("stopped on request", fix="Run the same command again."))
    except KubeferryError as error:
        return _fail(error)
    except BrokenPipeError:  # the reader of our output went away: `kubeferry status … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return done if isinstance(done, int) else 0


def _fail(error: KubeferryError) -> int:
    if os.environ.get("KUBEFERRY_DEBUG"):
        raise error
    click.secho("failed: ", fg="red", bold=True, nl=False, err=True)
    click.echo(str(error), err=True)
    return error.exit_code


def _on_interrupt(_number: int, _frame: FrameType | None) -> None:
    """The first Ctrl-C asks everything to stop at a safe point; the second does not wait."""
    if stopping.requested():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt
    stopping.request()
    click.secho("\nstopping at a safe point; once more to stop at once", fg="yellow", err=True)


if __name__ == "__main__":
    main()
