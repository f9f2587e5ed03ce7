"""The verbs that set up: init, manifests. They ask nobody, and overwrite nothing."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(file_okay=False, path_type=Path)


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
def init(source: str, target: str, uri: str | None, folder: Path) -> None:
    """Write a configuration and a policy to start from, with a comment at each line.

    Asks nothing, and overwrites nothing: where one of the files is there already, none is written.
    """
    from flows.first_files import write

    written = write(folder, source, target, uri)
    for path in written:
        click.echo(f"written: {path}")
    click.echo("next: kubeferry doctor" + ("" if folder == Path() else f" --config {written[0]}"))


@click.command()
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="A namespace that machines move to; may be repeated."
)
@click.option("--account", default="kubeferry", show_default=True, help="The service account, in each namespace.")
@click.option("--file-probes", is_flag=True, help="With the right that probes of kind file and counter need.")
@click.option("--mover", type=FOLDER, help="Write the folder that the movers' image is built from.")
@click.option("--control-plane", type=FOLDER, help="Write the folder that kubeferry's own image is built from.")
def manifests(
    namespaces: tuple[str, ...], account: str, file_probes: bool, mover: Path | None, control_plane: Path | None
) -> None:
    """Print the rights that a cluster's administrator gives; write what images are built from.

    kubeferry manifests --namespace apps | kubectl apply --filename -

    kubeferry manifests --mover mover && mover/build-image registry.example/kubeferry-mover:1
    """
    from flows.manifests import roles, write_context

    folders = {"mover": mover, "control-plane": control_plane}
    wanted = {image: folder for image, folder in folders.items() if folder}
    if not namespaces and not wanted:
        raise click.UsageError("Name a --namespace, or a folder for --mover or --control-plane.")
    for image, folder in wanted.items():
        write_context(image, folder)
        click.echo(f"written; build it with: {folder / 'build-image'} NAME", err=bool(namespaces))
    if namespaces:
        click.echo(roles(namespaces, account=account, file_probes=file_probes), nl=False)
