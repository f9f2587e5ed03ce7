"""The first configuration and policy, for one kind of source and one of target: what is needed, and what it is for.

What is written loads as it is, and is never wrong where it is silent: what only the user knows stands there as a
comment, and `kubeferry doctor` says what is missing.
"""

from __future__ import annotations

import json
from pathlib import Path

from kubeferry.config import DEFAULT_NAME
from kubeferry.errors import InputInvalid, Problem
from kubeferry.outside.atomic import replace_text

POLICY_NAME = "policy.yaml"
COMMENTS_AT = 36

_CONFIG = """\
# Where machines come from and where they go. Every field: kubeferry schema Config
apiVersion: kubeferry.io/v1alpha1  # the version of this file's form
kind: Config  # what this file is
sources:  # one or several
  {source}:  # a name of your choice; inventories and plans carry it
    kind: {source}  # libvirt, vmware, aws or ova
{from}
target:  # one
{to}
journal:  # the memory of every run: keep it as long as the plans
  url: "sqlite:///kubeferry.db"  # from this file's folder; or postgresql+psycopg://USER@HOST/DATABASE
  # passwordEnv: KUBEFERRY_JOURNAL_PASSWORD  # the variable that holds PostgreSQL's password
limits:  # how much at once
  concurrentMachines: 2  # of one wave, in one run
  # perHost: 2  # of one host, over all runs; perWave, perStorageClass: likewise
  # bandwidthBytesPerSecond: 104857600  # what one mover reads from the source
"""

_SOURCES = {
    "libvirt": """\
    uri: {uri}  # of libvirt here; of another host qemu+ssh://root@HOST/system, with `ssh`""",
    "vmware": """\
    {uri_line}  # of vCenter or of an ESXi host
    # The login is taken from GOVC_USERNAME and GOVC_PASSWORD in the environment.
    # vmware: {{datacenter: DC1, {login}}}  # one datacenter only; {login_is}""",
    "aws": """\
    # The login is boto3's: the environment, a profile, SSO, the role of an instance.
    # aws: {{regions: [eu-west-1], {login}}}  # which regions; {login_is}""",
    "ova": """\
    uri: {uri}  # an .ova, an .ovf, a .vmx, or a folder of them""",
}
_LOGINS = {
    ("vmware", "directory"): ("caFile: vcenter-ca.pem", "whom to trust"),
    ("vmware", "kubevirt"): ("secret: kubeferry-vmware", "the Secret that movers log in with"),
    ("aws", "directory"): ("profile: migration", "a profile of boto3"),
    ("aws", "kubevirt"): ("secret: kubeferry-aws", "the Secret that movers log in with"),
}
_SSH = """
    # ssh:  # needed: how movers reach this hypervisor's disks (docs/operations.md)
    #   host: 192.0.2.10  # as movers see it
    #   user: kubeferry  # an account that may open the sockets of QEMU's group
    #   hostKey: "ssh-ed25519 AAAA..."  # its /etc/ssh/ssh_host_ed25519_key.pub; any other is refused
    #   secret: kubeferry-ssh  # the Secret with the private key, as ssh-privatekey"""
_TARGETS = {
    "directory": """\
  kind: directory  # disks and manifests in a folder; each machine is booted here, in QEMU
  path: target  # counted from this file's folder""",
    "kubevirt": """\
  kind: kubevirt  # a cluster with KubeVirt
  # kubeconfig: apps.kubeconfig  # of the account of `kubeferry manifests`; else KUBECONFIG, or the pod's own
  # context: my-cluster  # else the kubeconfig's current one
{transfer}""",
}
_MOVERS = """\
  transfer: movers  # Jobs in the cluster read the source; `upload` sends small disks from here
  movers:  # these Jobs
    image: kubeferry-mover  # as the nodes pull it; built by `kubeferry manifests --mover FOLDER`
    # serviceAccount: kubeferry-mover  # on OpenShift, with what `kubeferry manifests --openshift` prints"""
_UPLOAD = """\
  transfer: upload  # through CDI's upload proxy: the cluster cannot read these files
  # uploadUrl: "https://cdi-uploadproxy.example.com"  # where CDI does not tell it; uploadCa: who signed it
  uploadLimitBytes: 17179869184  # a larger disk is refused: an upload that is cut off begins anew
  movers:  # the Job that reads each disk back
    image: kubeferry-mover  # as the nodes pull it; built by `kubeferry manifests --mover FOLDER`
    # serviceAccount: kubeferry-mover  # on OpenShift, with what `kubeferry manifests --openshift` prints"""

_POLICY = """\
# Your choices for all machines, and for single ones below. Every field: kubeferry schema Policy
apiVersion: kubeferry.io/v1alpha1  # the version of this file's form
kind: Policy  # what this file is
namespace: {namespace}  # where machines go
# runStrategy: Manual  # else Always where the source runs, Halted where it is off
{storage}networks:  # the first rule that fits counts
  - {{target: pod}}  # all become the pod's; or multus, with sourceName and multusName; or drop
mode: cold  # copied after its stop{warm}
verify: written  # read back what was written since it was read back; or always: every block
# downtime: {{budgetSeconds: 900}}  # what takes longer after the stop goes back by itself
# commit: {{watchSeconds: 3600}}  # probes are asked again until then; `kubeferry caretake` each minute commits
{stop}probes:  # each must pass, or the source runs again by itself
{probes}# machines:  # choices for one machine, by its name at the source
#   db01: {{wave: databases}}  # it moves in a wave of its own
#   web01: {{after: [db01]}}  # its wave comes after that of db01
#   old01: {{include: false}}  # it stays where it is
#   big01: {{disks: [{{match: {{sizeFrom: 1Ti}}, storageClass: slow}}]}}  # its large disks go elsewhere
# apps:  # machines that belong together move in one wave
#   shop:  # a name of your choice
#     owner: Anna Muster  # who answers for it
#     members: ["shop-*"]  # names and patterns; or tags, labels, folder
#     order: [["shop-db*"], ["shop-web*"]]  # each tier moves after the one before it
#     together: true  # as one: all are stopped, started in order, and go back together
#     after: [directory]  # another app has moved before
#     probes: [{{kind: http, port: 80, machine: shop-web01}}]  # of the app, once all of it runs
# waves:  # what one wave may hold
#   capacity: {{machines: 20, memoryBytes: 274877906944}}  # or claimsBytes, cpus
#   apart: [["dc*"]]  # no two of these in one wave
#   atMost: [{{tags: {{role: database}}, count: 2}}]  # so many of these in one wave
"""
_AGENT = """\
  - {kind: agent}  # qemu-guest-agent answers; or screen, tcp, http, file, counter, serial
"""
_NO_AGENT = """\
  - {kind: tcp, port: 22}  # the guest takes a connection (Windows: 3389); or http, screen, serial
  # - {kind: agent}  # where the guest has qemu-guest-agent already; so have file and counter
"""
_STORAGE = """\
# storage:  # else the cluster's default class, and what CDI knows of it
#   storageClass: fast  # the class of all claims
#   accessMode: ReadWriteMany  # for live migration later
#   volumeMode: Block  # or Filesystem
# kubevirt: "1.6"  # what manifests are made for, where no cluster is asked; else the newest
"""
_STOP = """\
stop:  # how a running source is stopped
  agentSeconds: 60  # asked by {guest}, waited for so long
  acpiSeconds: 120  # then {second}
  force: false  # true pulls the plug then; false refuses the move, and the machine runs on
"""
_WARM = "; or warm: while it runs, and after it only what changed"
_STOPPED = {
    "libvirt": {"guest": "its guest agent", "second": "by its power button"},
    "vmware": {"guest": "VMware Tools", "second": "waited for once more"},
    "aws": {"guest": "EC2", "second": "waited for once more"},
}
ADDRESSES = {"libvirt": "qemu:///system", "vmware": "", "aws": ""}


def configuration(source: str, target: str, uri: str) -> str:
    """The text of kubeferry.yaml. An empty `uri` leaves the address to the environment."""
    quoted = json.dumps(uri)  # a string of JSON is one of YAML
    uri_line = f"uri: {quoted}" if uri else '# uri: "https://vcenter.example.com/sdk"'
    login, login_is = _LOGINS.get((source, target), ("", ""))
    origin = _SOURCES[source].format(uri=quoted, uri_line=uri_line, login=login, login_is=login_is)
    transfer = ""
    if target == "kubevirt":
        origin += _SSH if source == "libvirt" else ""
        transfer = _UPLOAD if source == "ova" else _MOVERS
    place = _TARGETS[target].format(transfer=transfer)
    return _aligned(_CONFIG.format(**{"source": source, "from": origin, "to": place}))


def policy(source: str, target: str) -> str:
    """The text of policy.yaml."""
    stopped = _STOPPED.get(source)
    text = _POLICY.format(
        namespace="apps",
        storage=_STORAGE if target == "kubevirt" else "",
        warm=_WARM if stopped else "",
        stop=_STOP.format(**stopped) if stopped else "",
        probes=_AGENT if source == "libvirt" else _NO_AGENT,
    )
    return _aligned(text)


def _aligned(text: str) -> str:
    """Comments at the end of lines stand below each other, where the lines leave room."""
    lines = []
    for line in text.splitlines():
        head, _, said = line.rpartition("  # ")
        lines.append(f"{head:<{COMMENTS_AT}}  # {said}\n" if head.strip() else f"{line}\n")
    return "".join(lines)


# --- edge -------------------------------------------------------------------------------------------------------------


def write(folder: Path, source: str, target: str, uri: str | None = None) -> list[Path]:
    """Write both files; returns them. Raises InputInvalid, and writes none, where one of them is there already."""
    address = uri or ADDRESSES.get(source, str(folder.resolve() / "exports"))
    if source == "ova" and "://" not in address:
        address = Path(address).resolve().as_uri()
    wanted = {
        folder / DEFAULT_NAME: configuration(source, target, address),
        folder / POLICY_NAME: policy(source, target),
    }
    fix = "Use another --folder, or move it away."
    problems = [Problem(str(path), "it is there already", fix) for path in wanted if path.exists()]
    if problems:
        raise InputInvalid("nothing is overwritten", problems)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in wanted.items():
        replace_text(path, text)
    return list(wanted)
