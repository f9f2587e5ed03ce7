"""`kubeferry VERB`: the command line. Each verb's module is imported only when the verb is used: `estate` looks and
plans, `moves` moves, shows and cleans up, `disks` is for single disks.

    looking    doctor, discover          moving     precopy, migrate, commit, rollback
    rehearsing rehearse                  probing    probe                  disks   copy, verify, repair
    planning   assess, plan, schema      showing    status, report, ui             cleaning   release
    setting_up  init, manifests          caretaking  caretake              windows   windows
    telling    notify, metrics           deploying  deploy                 approving  approve   lifting  lift

What they share: `options` (and what those name), `output` (for people, for programs), `tables`, `logs`.
What `status` shows: `standing` (pure), `transfers` (what movers on this host tell), `outlook` (what is ahead),
`decided` (what persons decided). `overwriting`: what `plan` asks; `replaced`: what it would change; `wave_tables`: what
it shows of waves and apps;
`sheets`: the wave sheet on disk. `asking`: what a person is asked before it is done, and who that is. `stopped`: what a
run that is stopped leaves. `dry_run`: what a verb that moves would do. `going_back`: what a rollback would lose.
`outcomes`: how the machines of a run ended. `resuming`: runs on a server that wait for what is approved.

Exit codes: 0 done, 1 failed and worth retrying, 2 do not retry, 128 + N stopped by signal N.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import itertools
import logging
import os
import sys
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from flows.cli.output import Session, coloured, print_error
from kubeferry import __version__, faults
from kubeferry.errors import InputInvalid, Interrupted, KubeferryError, TargetUnavailable
from kubeferry.outside import signals
from kubeferry.outside.streams import lasting
from kubeferry.words import meant

PROGRAM = "kubeferry"
DEBUG = "KUBEFERRY_DEBUG"
LOG_FORMAT = "KUBEFERRY_LOG_FORMAT"
GARBAGE_EVERY = 50_000  # objects: Python's 700 have it look through all that was imported, again and again

# verb -> (module, one line of help); a test holds the lines to the commands' own.
VERBS = {
    "init": ("flows.cli.setting_up", "Write a configuration and a policy to start from, with a comment at each line."),
    "doctor": ("flows.cli.looking", "Check tools, configuration, source, journal and target."),
    "discover": ("flows.cli.looking", "Ask a source about its machines and write an inventory."),
    "assess": ("flows.cli.planning", "Say what would happen to each machine; touches neither source nor target."),
    "plan": ("flows.cli.planning", "Decide everything, and freeze it for review."),
    "deploy": (
        "flows.cli.deploying",
        "Set a plan up on your Prefect server: deployments with their schedules, limits and automations.",
    ),
    "precopy": ("flows.cli.moving", "Copy running machines ahead: one round of what changed since the last one."),
    "probe": ("flows.cli.probing", "Ask the plan's probes of machines as they run now, and change nothing."),
    "rehearse": (
        "flows.cli.rehearsing",
        "Start a copy of what was copied ahead, isolated and for a while, and ask the plan's probes.",
    ),
    "migrate": ("flows.cli.moving", "Do what a plan says, and prove it; the same command goes on after any failure."),
    "approve": (
        "flows.cli.approving",
        "Approve that machines are cut over, by your signature, login or name; shows first what that is.",
    ),
    "lift": (
        "flows.cli.lifting",
        "Let a wave go on that has stopped: what failed before counts no more. Recorded with your name.",
    ),
    "rollback": ("flows.cli.moving", "Stop the copy of a machine and run its source again."),
    "commit": ("flows.cli.moving", "Say that machines which are watched have moved for good."),
    "caretake": (
        "flows.cli.caretaking",
        "Take up machines whose source is off while nobody is at work on them, and those whose commit is due.",
    ),
    "status": ("flows.cli.showing", "Show where each machine of a plan stands, and what is next."),
    "windows": ("flows.cli.windows", "Show when the windows of a plan open, and what fits in."),
    "release": ("flows.cli.cleaning", "Drop what was only needed for the move, and prove that nothing is left."),
    "report": ("flows.cli.showing", "Write the report of a plan: HTML, JSON and Markdown."),
    "notify": ("flows.cli.telling", "Send what waits in the outbox to whom the configuration names."),
    "metrics": ("flows.cli.telling", "Give the journal's figures to Prometheus, by HTTP or as a file."),
    "ui": ("flows.cli.showing", "Run the local Prefect server, to look at past runs."),
    "copy": ("flows.cli.disks", "Copy one disk, with a digest of every block; goes on where it was stopped."),
    "verify": ("flows.cli.disks", "Read a disk past the page cache and compare it with its fingerprint."),
    "repair": ("flows.cli.disks", "Fetch only the blocks that differ from the fingerprint."),
    "manifests": (
        "flows.cli.setting_up",
        "Print the rights that a cluster's administrator gives; write what images are built from.",
    ),
    "schema": ("flows.cli.planning", "Print the JSON schema of a document."),
}


def _show_log(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    """What is logged goes to standard error too, from here to the end of the program's run; asked for twice, once."""
    told = ctx.find_object(Session)
    if wanted and told and not told.verbose:
        from flows.cli.logs import shown

        told.verbose = True
        ctx.find_root().with_resource(shown())


verbose_option = click.option(
    "--verbose",
    "-v",
    is_flag=True,
    expose_value=False,
    callback=_show_log,
    help="Say on standard error what is done, with its time.",
)


def _set_log_format(ctx: click.Context, _param: click.Parameter, wanted: str | None) -> None:
    told = ctx.find_object(Session)
    if wanted and told:
        told.log_format = wanted


log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    envvar=LOG_FORMAT,
    is_eager=True,  # before what is logged is shown
    expose_value=False,
    callback=_set_log_format,
    help=f"How the log of the run is written; {LOG_FORMAT} says it for all.",
)


class Verbs(click.Group):
    """A group that knows its verbs by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[cmd_name][0]), cmd_name)
        if all(param.name != "verbose" for param in command.params):
            verbose_option(log_format_option(command))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            known = meant(args[0], VERBS) or f"`{PROGRAM} --help` lists them."
            raise click.UsageError(f"There is no verb {args[0]!r}. {known}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table: a verb that is only named is not imported."""
        verbs = [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)]
        return verbs + (click.Command.shell_complete(self, ctx, incomplete) if incomplete.startswith("-") else [])

    def invoke(self, ctx: click.Context) -> Any:
        """What no part of ours has put into words is told like any other error, to a program as well."""
        try:
            return super().invoke(ctx)
        except (KubeferryError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except OSError as error:
            raise _of_files(error) from error
        except Exception as error:
            raise _defect(error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.command(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
@verbose_option
@log_format_option
@click.pass_context
def cli(context: click.Context) -> None:
    """Move virtual machines to KubeVirt, and prove every block, boot and rollback.

    In order: discover, assess, plan, migrate, report. Each leaves something that you can read before the next. Of a
    programme there are besides: precopy and rehearse before, approve, commit after, and caretake each minute.

    Exit codes: 0 done; 1 failed, and the same command may succeed later; 2 failed until something changes; 129, 130
    and 143 stopped at a safe point by SIGHUP, SIGINT (Ctrl-C) and SIGTERM: the same command goes on. A second SIGINT
    or SIGTERM stops at once.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """The entry point: runs a verb and turns errors into a message and an exit code."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for them reads every installed package
    gc.set_threshold(GARBAGE_EVERY)
    signals.answer(_tell_that_it_stops)
    code = run(sys.argv[1:])
    gc.freeze()  # what is left goes with the process: a fifth of a short verb's time is looking through it before
    if "prefect" in sys.modules:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End without Prefect's threads: they would wait for a server that may be gone, through all their retries. What
    they have to hand in is taken where somebody answers, and nothing else is left running."""
    from flows.serving.server import Api

    api = Api(os.environ.get("PREFECT_API_URL", ""))
    if api.answers():
        api.hand_in()
    atexit.unregister(logging.shutdown)  # it, too, waits for them
    atexit._run_exitfuncs()
    with lasting():
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    told = Session(as_json="--json" in itertools.takewhile(lambda word: word != "--", arguments))
    with lasting() as out:
        code = _run(arguments, told)
        if code == 0 and out.cut_off:
            fix = "Give standard output room. What the verb does is done; `--out` and the journal have it."
            return _fail(TargetUnavailable("what was printed is not whole", why=out.cut_off, fix=fix), told)
    return code


def _run(arguments: list[str], told: Session) -> int:
    try:
        done = cli.main(arguments, prog_name=PROGRAM, standalone_mode=False, obj=told, color=coloured())
    except click.UsageError as error:
        return _refuse(error, told)
    except click.ClickException as error:
        return _fail(InputInvalid(error.format_message(), []), told)
    except (click.Abort, KeyboardInterrupt):
        return _fail(Interrupted("stopped on request", fix="Run the same command again."), told)
    except KubeferryError as error:
        return _fail(error, told)
    return done if isinstance(done, int) else 0


def _of_files(error: OSError) -> KubeferryError:
    place = error.filename2 or error.filename
    what = f"{place} cannot be read or written" if place else "a file or a connection failed"
    return faults.of_os(faults.Side.TARGET, what, error)


def _defect(error: Exception) -> KubeferryError:
    fix = f"Report it with what the same command says under {DEBUG}=1."
    return KubeferryError(f"a defect: {type(error).__name__}: {error}", fix=fix)


def _refuse(error: click.UsageError, told: Session) -> int:
    """A command line that cannot be understood: click's own words for a person."""
    if told.as_json:
        return _fail(InputInvalid(error.format_message(), []), told)
    error.show()
    return 2


def _fail(error: KubeferryError, told: Session) -> int:
    if os.environ.get(DEBUG):
        raise error
    print_error(error, told)
    return error.exit_code


def _tell_that_it_stops() -> None:
    click.secho("\nstopping at a safe point; once more to stop at once", fg="yellow", err=True)


if __name__ == "__main__":
    main()
