"""Config: which sources, which target, where the journal is, how much at once."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from kubeferry.documents.base import EnvName, ShortName
from kubeferry.documents.notify import NotifyConfig
from kubeferry.kinds import SourceKind, TargetKind
from kubeferry.model import Bytes, Seconds, Value
from kubeferry.shapes import Document
from kubeferry.uris import CIPHERS, SSH_CONNECTIONS, SSH_CONNECTIONS_LIMIT, NbdSsh


class SshAccess(Value):
    """How movers in a cluster reach the hypervisor: over SSH, to a unix socket there. No port is opened for it.

    `host_key` is the hypervisor's public key (`ssh-ed25519 AAAA…`): any other is refused. `secret` names the Secret in
    each machine's namespace that holds the private key, as `ssh-privatekey`. `user` must be able to open sockets of
    `socket_group`; its key needs no shell (`restrict,port-forwarding` in authorized_keys). `folder` holds the sockets.
    A hypervisor with a `qemu+ssh://` URI is read that way by everybody: its account needs a shell and root's rights.
    Each mover makes at most `connections`; `ciphers` (of SSH, by comma) are the only ones, without it the fastest come
    first; `compression` is SSH's own: it pays where a network is slower than about 20 MB/s, and makes what does not
    compress three to five times slower where it is faster.
    """

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Annotated[str, Field(pattern=r"^[a-z_][-a-z0-9_]{0,31}$")] = "kubeferry"
    host_key: Annotated[str, Field(pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+$")]
    secret: ShortName = "kubeferry-ssh"  # noqa: S105 (the name of a Secret)
    socket_group: str = "libvirt-qemu"
    folder: str = "/run/kubeferry"
    connections: Annotated[int, Field(ge=1, le=SSH_CONNECTIONS_LIMIT)] = SSH_CONNECTIONS
    ciphers: Annotated[str, Field(pattern=rf"^{CIPHERS.pattern}$")] | None = None
    compression: bool = False

    def place(self, socket: str, export: str = "") -> NbdSsh:
        """Where a disk is for those who come this way."""
        speed = (self.connections, self.ciphers, self.compression)
        return NbdSsh(self.user, self.host, self.port, socket, self.host_key, export, *speed)


class VmwareAccess(Value):
    """How a vCenter or ESXi host is reached. Who logs in, and whom to trust, says the environment, by govc's names.

    `prefix` is what the names start with, for a second vCenter. `datacenter` limits discovery to one. `ca_file` or
    `thumbprint` (SHA-256 or SHA-1 of the certificate) say whom to trust instead of the environment. `reader` names an
    NBD server of yours that reads the disks in place of ours, `nbd+unix:///?socket=/run/{machine}-{disk}.sock`; it may
    name {machine}, {moref}, {uuid}, {disk}, {file} and {snapshot}. `secret` names the Secret with the environment's
    names as keys, for movers in a cluster; `reader_secret` the one for the reader: an SSH key (`ssh-privatekey`), or
    QEMU's files of certificates. `task_seconds` is how long a snapshot or an export may take to begin.
    """

    prefix: EnvName = "GOVC"
    datacenter: str | None = None
    ca_file: str | None = None
    thumbprint: str | None = None
    reader: Annotated[str, Field(pattern=r"^(nbd\+(unix|ssh)|nbds)://")] | None = None
    reader_secret: ShortName | None = None
    secret: ShortName = "kubeferry-vmware"  # noqa: S105 (the name of a Secret)
    task_seconds: Seconds = 900


class AwsAccess(Value):
    """Which account and regions; one account a source. Who logs in says boto3's own chain (environment, profile, role,
    instance), never this document.

    `regions`: none means the one that the environment or the profile names. `role_arn` is entered from there, with
    `external_id` where the role asks for one; AWS does not treat that as a secret. `endpoint_url` stands for all
    services, for a double or a private endpoint. `filters` are those of DescribeInstances, `tags` those that a machine
    must have. `details` asks each machine for user data (only whether there is any) and for its console.
    `snapshot_seconds` is how long a snapshot may take until it is completed. `secret` names the Secret in each
    machine's namespace that holds the credentials for movers in a cluster, under their names in the environment.
    """

    regions: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]{2,32}$")], ...] = ()
    profile: Annotated[str, Field(min_length=1)] | None = None
    role_arn: Annotated[str, Field(pattern=r"^arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+$")] | None = None
    external_id: Annotated[str, Field(min_length=2, max_length=1224, pattern=r"^[A-Za-z0-9_+=,.@:/-]+$")] | None = None
    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")] | None = None
    filters: dict[str, tuple[str, ...]] = {}
    tags: dict[str, str] = {}
    details: bool = True
    snapshot_seconds: Seconds = 14400
    secret: ShortName = "kubeferry-aws"  # noqa: S105 (the name of a Secret)


class SourceConfig(Value):
    """One place that machines come from. `uri` carries no password; credentials follow each ecosystem's own rules.

    `ssh` is needed where movers run in a cluster and read from a libvirt source.
    """

    kind: SourceKind
    uri: str = "qemu:///system"
    ssh: SshAccess | None = None
    vmware: VmwareAccess = VmwareAccess()
    aws: AwsAccess = AwsAccess()


class Toleration(Value):
    """As Kubernetes has it: no `value` matches all of the `key` (operator Exists), no `effect` every effect."""

    key: str
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class MoverSettings(Value):
    """The Jobs that move bytes inside a cluster.

    `deadline_seconds` ends a Job that runs for too long, `start_seconds` is how long its pod may wait for a node, an
    image or a volume. `runtime_classes` by kind of job (copy, verify, repair), for kata or gvisor. `node_selector` and
    `tolerations` come on top of those of the machine's own manifest. `kept_seconds` is how long an ended Job stays.

    `user` is the user and group of the pod: by default CDI's and KubeVirt's own, since what that one writes,
    virt-launcher can open. 0 leaves it to the cluster, where an admission such as OpenShift's restricted-v2 gives one.
    `labels`, `annotations`, `priority_class` and `service_account` are for clusters that ask for them; the account's
    token is never mounted. `state_storage_class` is for the small claim that a machine's movers remember things on, a
    file system; None takes that of its disks. That claim asks for no less than `state_bytes`, for classes that make no
    smaller volumes and do not say so. `environment` is for proxies, which AWS's library heeds (HTTPS_PROXY,
    NO_PROXY). `architecture` is the one that the image is built for, as nodes call theirs; None where it is built for
    all of them.
    """

    image: str = "kubeferry-mover"
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secret: ShortName | None = None
    cpu_request: str = "100m"
    cpu_limit: str = "2"
    memory_request: str = "128Mi"
    memory_limit: str = "512Mi"
    deadline_seconds: Annotated[int, Field(ge=60)] = 86400
    start_seconds: Seconds = 300
    kept_seconds: Annotated[int, Field(ge=600)] = 172800
    runtime_classes: dict[Literal["copy", "verify", "repair"], ShortName] = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    user: Annotated[int, Field(ge=0, lt=1 << 31)] = 107
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    priority_class: ShortName | None = None
    service_account: ShortName | None = None
    environment: dict[EnvName, str] = {}
    state_storage_class: str | None = None
    state_bytes: Bytes = 0
    architecture: ShortName | None = "amd64"


class TargetConfig(Value):
    """Where machines go. `path` is the folder of the directory target.

    kubevirt: `kubeconfig` and `context` as kubectl has them; without, KUBECONFIG, the user's own file, or the service
    account of the pod that we run in. `transfer`: `movers` are Jobs that read the source themselves; `upload` sends
    cold disks of at most `upload_limit_bytes` from here through CDI's upload proxy, for a cluster that cannot reach the
    source. `upload_url` is the proxy's address where CDI does not tell it, `upload_ca` a file with its certificate
    authorities where CDI does not tell them (else the system's), `upload_server_name` the name in its certificate where
    the address is another one. `stop_seconds` is how long a machine may
    take to stop, `start_seconds` to run.
    """

    kind: TargetKind
    path: str = ""
    kubeconfig: str | None = None
    context: str | None = None
    transfer: Literal["movers", "upload"] = "movers"
    upload_limit_bytes: Bytes = 16 * 1024**3
    upload_url: Annotated[str, Field(pattern=r"^https://[^/@\s]+(/\S*)?$")] | None = None
    upload_ca: str | None = None
    upload_server_name: str | None = None
    movers: MoverSettings = MoverSettings()
    start_seconds: Seconds = 600
    stop_seconds: Seconds = 300


class JournalConfig(Value):
    """`url` is an SQLAlchemy URL without a password; `password_env` names the variable that holds it."""

    url: str = "sqlite:///kubeferry.db"
    password_env: EnvName | None = None


class Limits(Value):
    """How much at once. `concurrent_machines` bounds one run; the three below count all runs of all runners that share
    the journal. `per_host`: machines of one host as their source told it, else of one source; `per_wave`;
    `per_storage_class`: machines with a claim that names the class. A machine waits for a place before anything is done
    to it, never on its way back. `bandwidth_bytes_per_second` bounds what one mover reads from a source."""

    concurrent_machines: Annotated[int, Field(ge=1, le=64)] = 2
    per_host: Annotated[int, Field(ge=1)] | None = None
    per_wave: Annotated[int, Field(ge=1)] | None = None
    per_storage_class: Annotated[int, Field(ge=1)] | None = None
    bandwidth_bytes_per_second: Annotated[int, Field(ge=1)] | None = None


class SpreadConfig(Value):
    """Each machine's run is a run of its own on a Prefect server, which any worker may take: `kubeferry deploy` makes
    the deployment, and a deployed `precopy`, `rehearse` or `cutover` asks for so many machines at once (`machines`). It
    takes a journal on PostgreSQL. Where no worker has taken any, nor is at work on one, for `take_seconds`, the run
    drives them itself. A worker's run that is done waits `linger_seconds` for another machine of the same run, and a
    new one is started only for what waits longer: for many small machines, where the start of a process counts."""

    machines: Annotated[int, Field(ge=1, le=256)] = 16
    take_seconds: Seconds = 300
    linger_seconds: Annotated[float, Field(ge=0)] = 0


class Config(Document):
    """`estates` are sources that are asked as one, by the name of their own: several hypervisors, say, between which
    machines wander while they run. A source may be of several."""

    KIND: ClassVar[str] = "Config"

    kind: Literal["Config"] = "Config"
    sources: dict[ShortName, SourceConfig]
    estates: dict[ShortName, Annotated[tuple[ShortName, ...], Field(min_length=1)]] | None = None
    target: TargetConfig
    journal: JournalConfig = JournalConfig()
    limits: Limits = Limits()
    notify: NotifyConfig | None = None
    spread: SpreadConfig | None = None

    @model_validator(mode="after")
    def _coherent(self) -> Config:
        wrong = []
        for name, members in (self.estates or {}).items():
            if name in self.sources:
                wrong.append(f"estates.{name}: a source is called {name}, too")
            wrong += [f"estates.{name}: no source is called {one}" for one in members if one not in self.sources]
            if len(set(members)) != len(members):
                wrong.append(f"estates.{name}: a source is named twice")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def members(self, name: str) -> dict[str, SourceConfig]:
        """The sources of the estate of this name, or the one source that is called so; nothing for a name of none."""
        names = (self.estates or {}).get(name) or ((name,) if name in self.sources else ())
        return {one: self.sources[one] for one in names}

    def is_estate(self, name: str) -> bool:
        """Whether this is the name of several sources that are asked as one."""
        return name in (self.estates or {})
