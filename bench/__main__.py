"""`python -m bench`: what kubeferry costs, beside the programs that do less, as ratios of one run; `build/bench.md`.

copies     disks of several sizes, full and sparse, warm and cold: ours, qemu-img, nbdcopy
rounds     what is not the first copy: a verification, a round of what changed, the start, a disk of 16 TiB
network    disks that an NBD server gives or takes: ours, nbdcopy, on a socket, behind SSH, with TLS
decoder, ebs, discovery, exports, commands      the sources and the command line
pages      how long a browser takes to open them; by itself only
waves      what the control of a thousand machines costs, with servers killed in the middle; by itself only
side_by_side, timed                    how programs are run, and what is counted
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).parent.parent))
from bench import commands, copies, decoder, discovery, disk, ebs, exports, network, rounds

ROOT = Path(__file__).resolve().parent.parent
COPIES = 3  # of the data of a disk that lie on the storage at once: raw, qcow2, target
SPARE_BYTES = 2 << 30


def machine() -> str:
    version = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    nbdcopy = subprocess.run(["nbdcopy", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, qemu-img {version}, "
        f"nbdcopy {nbdcopy}, load {os.getloadavg()[0]:.1f} at the start"
    )


def asked() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    share = f"{disk.SHARE_OF_DATA * 100:.0f} %%"
    options.add_argument("--sizes", default="1,4,16", help="of the disks in GiB, one after the other")
    options.add_argument("--kinds", default="full,sparse", help=f"sparse: {share} of it is data")
    options.add_argument("--data-gib", type=int, default=4, help="the most data of a disk; no larger full ones")
    options.add_argument("--rounds", type=int, default=5, help="with a warm page cache")
    options.add_argument("--cold-rounds", type=int, default=3, help="with the source dropped from the page cache")
    options.add_argument("--delta-gib", type=int, default=4, help="size of the disk of which a part changes; 0: none")
    options.add_argument("--machines", type=int, default=1000, help="of the vCenter that is discovered; 0: none")
    options.add_argument("--exported", type=int, default=2000, help="machines in exported files; 0: none")
    options.add_argument("--decoder-mib", type=int, default=128, help="size of the disk for the VMDK decoder; 0: none")
    options.add_argument("--ebs-mib", type=int, default=256, help="size of the snapshot for the EBS reader; 0: none")
    options.add_argument("--plan-machines", type=int, default=500, help="of the plan that `status` shows; 0: none")
    options.add_argument("--network-mib", type=int, nargs="*", default=[1024, 4096], help="sizes over NBD; empty: none")
    options.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="where the disks are made")
    return options.parse_args()


def copied(options: argparse.Namespace) -> str:
    """The tables of all sizes and kinds; what has no room is said."""
    text = ""
    for size in (int(word) << 30 for word in options.sizes.split(",") if word):
        for kind in options.kinds.split(","):
            data = min(options.data_gib << 30, size if kind == "full" else int(size * disk.SHARE_OF_DATA))
            if kind == "full" and data < size:
                text += f"\n{size >> 30} GiB full: left out, it has more than {options.data_gib} GiB of data.\n"
            elif data * COPIES + SPARE_BYTES > shutil.disk_usage(options.folder).free:
                text += f"\n{size >> 30} GiB {kind}: left out, there is no room for it {COPIES} times.\n"
            else:
                text += copies.tables(options.folder, size, data, kind, (options.rounds, options.cold_rounds))
    return text


def main() -> None:
    options = asked()
    options.folder.mkdir(parents=True, exist_ok=True)
    text = f"Time to durable, side by side in one run. {machine()}.\n"
    text += copied(options)
    if options.delta_gib:
        text += f"\n{rounds.rows(options.folder, options.delta_gib << 30, options.rounds)}\n"
    if options.machines:
        text += f"\n{discovery.row(options.machines, options.rounds)}\n"
    if options.exported:
        text += f"\n{exports.row(options.exported, options.rounds)}\n"
    if options.decoder_mib:
        text += f"\n{decoder.row(options.decoder_mib << 20, options.rounds)}\n"
    if options.ebs_mib:
        text += f"\n{ebs.rows(options.folder / 'ebs', options.ebs_mib << 20, ROOT)}\n"
    if options.plan_machines:
        text += f"\nThe command line:\n\n{commands.rows(options.plan_machines, options.rounds)}\n"
    if options.network_mib:
        found = network.text(options.folder.absolute(), [mib << 20 for mib in options.network_mib], options.rounds)
        text += f"\nOver NBD:\n\n{found}\n"
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "bench.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
