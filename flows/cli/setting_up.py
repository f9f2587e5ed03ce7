"""The verbs that set up: init, manifests. They ask nobody, and overwrite nothing."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from flows.cli.options import FOLDER, json_option
from flows.cli.output import print_json


@click.command()
@click.option(
    "--source",
    type=click.Choice(["libvirt", "vmware", "aws", "ova"]),
    default="libvirt",
    show_default=True,
    help="Where machines come from.",
)
@click.option(
    "--target",
    type=click.Choice(["directory", "kubevirt"]),
    default="directory",
    show_default=True,
    help="Where machines go: a folder of disks and manifests, or a cluster.",
)
@click.option("--uri", help="The source's address; what stands in the file can be changed there as well.")
@click.option("--folder", type=FOLDER, default=Path(), help="Where to write them; here by default.")
@json_option
def init(source: str, target: str, uri: str | None, folder: Path, as_json: bool) -> None:
    """Write a configuration and a policy to start from, with a comment at each line.

    Asks nothing, and overwrites nothing: where one of the files is there already, none is written.
    """
    from flows.setup.first_files import write

    written = write(folder, source, target, uri)
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for path in written:
        click.echo(f"written: {path}")
    click.echo("next: kubeferry doctor" + ("" if folder == Path() else f" --config {written[0]}"))


@click.command()
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="A namespace that machines move to; may be repeated."
)
@click.option("--account", default="kubeferry", show_default=True, help="The service account, in each namespace.")
@click.option(
    "--account-namespace",
    default="",
    metavar="NAMESPACE",
    help="The account is there, for all of them, as --install makes it.",
)
@click.option("--file-probes", is_flag=True, help="With the right that probes of kind file and counter need.")
@click.option("--openshift", is_flag=True, help="With the constraint that movers of OpenShift need.")
@click.option("--alerts", "with_alerts", is_flag=True, help="With the rules for alerts, for Prometheus' operator.")
@click.option("--mover", type=FOLDER, help="Write the folder that the movers' image is built from.")
@click.option("--control-plane", type=FOLDER, help="Write the folder that kubeferry's own image is built from.")
@click.option("--install", type=FOLDER, help="Write the folder that kubeferry is installed from in a cluster.")
@json_option
def manifests(
    namespaces: tuple[str, ...],
    account: str,
    account_namespace: str,
    file_probes: bool,
    openshift: bool,
    with_alerts: bool,
    mover: Path | None,
    control_plane: Path | None,
    install: Path | None,
    as_json: bool,
) -> None:
    """Print the rights that a cluster's administrator gives; write what images are built from.

    kubeferry manifests --namespace apps | kubectl apply --filename -

    kubeferry manifests --mover mover && mover/build-image registry.example/kubeferry-mover:1

    kubeferry manifests --install ferry && kubectl apply --kustomize ferry/whole
    """
    from flows.setup.manifests import alerts, roles, write_context, write_install

    folders = {"mover": mover, "control-plane": control_plane, "install": install}
    wanted = {what: folder for what, folder in folders.items() if folder}
    if not namespaces and not wanted and not with_alerts:
        raise click.UsageError("Name a --namespace, --alerts, or a folder for --mover, --control-plane or --install.")
    options = {"account": account, "account_namespace": account_namespace}
    parts = [roles(namespaces, **options, file_probes=file_probes, openshift=openshift)] if namespaces else []
    objects = "---\n".join([*parts, *([alerts()] if with_alerts else [])])
    for what, folder in wanted.items():
        if what == "install":
            write_install(folder)
        else:
            write_context(what, folder)
    if as_json:
        written = {what: str(folder) for what, folder in wanted.items()}
        print_json({"objects": list(yaml.safe_load_all(objects)), "written": written})
        return
    for what, folder in wanted.items():
        told = (
            f"read {folder / 'whole' / 'kustomization.yaml'}"
            if what == "install"
            else f"build it with: {folder / 'build-image'} NAME"
        )
        click.echo(f"written; {told}", err=bool(objects))
    click.echo(objects, nl=False)
