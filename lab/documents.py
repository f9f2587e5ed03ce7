"""The pages that are made from the code, and what is held true of those that people write.

`python -m lab.documents` writes the generated pages, `--check` fails where one is stale. The check also goes through
the hand-written pages: every verb, make target, test and file that they name must exist.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from flows.cli import VERBS, cli
from flows.setup.first_files import configuration, policy
from kubeferry.documents import KINDS, json_schema
from kubeferry.targets.kubevirt.checks.told import KNOWN
from mappings.rules.covers import THEIRS, covered_by
from mappings.rules.table import RULES

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = {
    "libvirt": "qemu:///system",
    "vmware": "https://vcenter.example.com/sdk",
    "aws": "",
    "ova": "file:///srv/exports",
}
WRITTEN = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/decisions/*.md")


def generated() -> dict[str, str]:
    """Every generated page: its path from the root, and its content."""
    pages = {"docs/reference/commands.md": commands_page(), "docs/reference/concerns.md": concerns_page()}
    pages["docs/concerns.md"] = comparison_page()
    pages["docs/reference/first-files.md"] = first_files_page()
    for kind in KINDS:
        pages[f"docs/reference/schemas/{kind}.json"] = json.dumps(json_schema(kind), indent=1) + "\n"
    return pages


def commands_page() -> str:
    """The help of the program and of every verb, as it prints them."""
    head = "# Commands\n\nMade from the help. Exit codes: 0 done, 1 failed and worth retrying, 2 do not retry. "
    parts = [f"{head}What `--json` prints: [Operations](../operations.md#for-programs).\n"]
    with click.Context(cli, info_name="kubeferry", terminal_width=100, max_content_width=100) as context:
        parts.append(f"```\n{cli.get_help(context)}\n```\n")
        for verb in VERBS:
            command = cli.get_command(context, verb)
            if command is None:
                raise RuntimeError(f"the verb {verb} has no command")
            with click.Context(
                command, info_name=verb, parent=context, terminal_width=100, max_content_width=100
            ) as own:
                parts.append(f"## {verb}\n\n```\n{command.get_help(own)}\n```\n")
    return "\n".join(parts)


def first_files_page() -> str:
    """A configuration and a policy for each kind of source, as `kubeferry init` writes them."""
    parts = [
        "# The first files\n\nWhat `kubeferry init --source KIND --target kubevirt` writes, and what `doctor` takes.\n"
    ]
    for kind, address in EXAMPLES.items():
        parts.append(f"## {kind}\n\n```yaml\n{configuration(kind, 'kubevirt', address)}```\n")
        parts.append(f"```yaml\n{policy(kind, 'kubevirt')}```\n")
    parts.append("## A folder as the target\n\nWith `--target directory`, for machines of this host.\n")
    parts.append(f"```yaml\n{configuration('libvirt', 'directory', EXAMPLES['libvirt'])}```\n")
    return "\n".join(parts)


OTHERS = {
    "disk.same-file": "a disk that several machines have and none calls shared",
    "disk.same-file-runs": "a disk that several machines run with and none calls shared",
    "disk.shared-cold": "a machine that was to be moved warm and shares a disk",
    "disk.shared-set": "a disk that is moved once, for a set of machines",
    "kubevirt.left-out": "a part that this version of KubeVirt, or its feature gates, would refuse",
    "kubevirt.too-old": "a KubeVirt that is older than any that plans are made for",
    "mac.duplicate": "two cards with one MAC address",
    "file.doubtful": "an exported file of which it is not sure that it says what is so",
    "file.passed-over": "a file in a folder of exports that holds no machine",
    "hook.unready": "a hook that cannot be run from here, or in the guest, as things are",
    "labels.unset": "a machine that has no tag for a label or annotation that the policy makes of one",
    "machine.ended": "instances in an export that ended, of which nothing is left to move",
    "machine.leftover": "a definition of a machine at another source of its estate than the one where it runs",
    "machine.named-apart": "machines of one name at several sources of an estate",
    "machine.template": "templates in an exported inventory, which are left out",
    "machine.twice": "one identity that several machines of an estate have",
    "machine.unreadable": "a machine that the source tells of and that cannot be read",
    "manifest.refused": "a manifest that a cluster would refuse",
    "move.only-the-stop-shows": "what nobody can know before the stop",
    "name.duplicate": "two machines that would have one name",
    "name.unsettled": "a machine of which the template of its name makes none",
    "namespace.unsettled": "a machine that has nothing for a word of its namespace's template",
    "nic.network-ambiguous": "networks of one name on several switches, which the policy takes for one",
    "notify.not-set": "a receiver of messages whose address or key is not in the environment",
    "notify.waiting": "messages that a receiver has not taken, or has refused",
    "plan.empty": "a plan that moves no machine",
    "sandbox.shared-namespace": "machines of several tenants in one namespace",
    "set.not-whole": "a machine that shares a disk with one that cannot be moved",
    "source.away": "a source of an estate that was not asked, and whose machines are not in the inventory",
    "source.found-again": "a machine that is at another source of its estate than when it was discovered",
    "source.leftover": "a definition of it that is left, off, at another source of its estate",
    "source.no-way": "no way for movers to the source's disks",
    "source.not-asked": "a source that did not answer; it is asked again before the stop",
    "source.refused": "disks that are not those of the plan, or a machine that may not be stopped",
    "source.shared-writer": "a disk that a running machine has, too: no copy is the last one before that is off",
    "source.tpm": "what a TPM holds and cannot be read before the stop",
    "source.unanswered": "a question that EC2 did not answer, while it answered others",
    "source.unknown": "a plan whose source the configuration does not have",
    "source.variables": "UEFI variables that cannot be read before the stop",
    "source.way-back": "what may keep the source from being started again",
    "tags.unreadable": "tags of vSphere that could not be asked for",
    "target.not-asked": "a target that could not be asked about these machines",
    "tool.missing": "a program that is not installed",
    "trial.refused": "what a mover on trial met, and what does not pass by itself",
    "trial.unavailable": "what a mover on trial met, and what may pass",
    "uuid.duplicate": "two machines with one UUID",
}
"""Concerns that are in no table of rules: by id, what they are about."""


def concerns_page() -> str:
    """Every concern that an assessment, a look at source or cluster, or a trial can raise."""
    rows = [
        f"| `{rule.id}` | {rule.severity} | {rule.about} | {_covers(rule.id)} |"
        for rule in sorted(RULES, key=lambda rule: rule.id)
    ]
    head = "# Concerns\n\nWhat an assessment can say. A critical one keeps a machine out of the plan until settled.\n"
    seen = [f"| `{one.id}` | {one.severity} | {one.about} |" for one in sorted(KNOWN.values(), key=lambda one: one.id)]
    cluster = (
        "## Of a cluster\n\nWhat `kubeferry doctor PLAN` can say of a cluster, and `kubeferry migrate` before it "
        "touches it. A critical one refuses the plan.\n"
    )
    told = ["| id | severity | about | covers at Forklift |", "|---|---|---|---|"]
    table = ["| id | severity | about |", "|---|---|---|"]
    others = (
        "## Of source, policy and plan\n\nWhat discovery, `assess`, `doctor` and `migrate` can say besides. "
        "An id that ends with `.unusable` or `.broken` is of a part that could not be asked.\n"
    )
    rest = ["| id | about |", "|---|---|", *(f"| `{one}` | {about} |" for one, about in OTHERS.items())]
    return "\n".join([head, *told, *rows, "", cluster, *table, *seen, "", others, *rest, ""])


def _covers(rule: str) -> str:
    return "; ".join(f"{one.provider}: {one.about}" for one in covered_by(rule))


def comparison_page() -> str:
    """Forklift's concerns, and what covers each of them here."""
    head = (
        "# Forklift's concerns and ours\n\nEvery validation concern of Forklift (its rego policies, 102 at commit "
        "d42511b), and the rules here that cover it; made from `mappings/rules/covers.py`. All rules of ours: "
        "[reference](reference/concerns.md).\n"
    )
    rows = []
    for one in THEIRS:
        ours = ", ".join(f"`{rule}`" for rule in one.ours)
        rows.append(f"| {one.provider} | {one.severity} | {one.about} | {ours} | {one.instead} |")
    table = ["| provider | severity there | looks for | ours | instead |", "|---|---|---|---|---|"]
    return "\n".join([head, *table, *rows, ""])


def stale(pages: dict[str, str]) -> Iterator[str]:
    """Generated pages that differ from what the code says now."""
    for name, content in pages.items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            yield f"{name} is stale: run `.venv/bin/python -m lab.documents`"


def broken(text: str, page: str) -> Iterator[str]:
    """What a hand-written page names and the project does not have."""
    for verb in re.findall(r"`kubeferry ([a-z]+)", text):
        if verb not in VERBS:
            yield f"{page} names the verb {verb!r}, which does not exist"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)`", text):
        if target not in targets:
            yield f"{page} names `make {target}`, which does not exist"
    for file, name in re.findall(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?`", text):
        path = ROOT / file
        if not path.exists() or (name and f"def {name}(" not in path.read_text()):
            yield f"{page} names the test {file}::{name}, which does not exist"
    for link in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text):
        if not (ROOT / page).parent.joinpath(link).exists():
            yield f"{page} links to {link}, which does not exist"


def main() -> int:
    pages = generated()
    if "--check" not in sys.argv:
        for name, content in pages.items():
            path = ROOT / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return 0
    found = list(stale(pages))
    for pattern in WRITTEN:
        for path in sorted(ROOT.glob(pattern)):
            found.extend(broken(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
