BEGIN TRANSACTION;
CREATE TABLE kubeferry_event (
	id INTEGER NOT NULL, 
	"plan" VARCHAR NOT NULL, 
	machine VARCHAR NOT NULL, 
	seq INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	payload TEXT NOT NULL, 
	at VARCHAR NOT NULL, 
	fence INTEGER NOT NULL, 
	writer VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE ("plan", machine, seq), 
	FOREIGN KEY("plan", machine) REFERENCES kubeferry_machine ("plan", machine)
);
INSERT INTO "kubeferry_event" VALUES(1,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',1,'planned','{"kind":"planned","planDigest":"f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e","disks":["vda"]}','2026-11-29T03:03:10.620Z',95921391,'vm:28076:522262:be2caa64b78b','1642a7356b22ca8f1710d9fc1788acf686a01ee961b03c4f433c94f39f6a0ea4');
INSERT INTO "kubeferry_event" VALUES(2,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',2,'copy-begun','{"kind":"copy-begun","round":1,"final":false,"view":{"source":"lab","token":"2026-11-29T03:03:10.628+00:00-53f42286","takenAt":"2026-11-29T03:03:10.628+00:00"},"since":null,"sinceRound":0,"consistency":"crash"}','2026-11-29T03:03:10.633Z',95921391,'vm:28076:522262:be2caa64b78b','004d159840283126cdf36c684997f72638772f00e60e77f133811cd8b23fcbf9');
INSERT INTO "kubeferry_event" VALUES(3,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',3,'disk-copied','{"kind":"disk-copied","disk":"vda","round":1,"root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","algorithm":"sha256","sizeBytes":8192,"dataBytes":8192,"readBytes":8192,"writtenBytes":1048576,"resumedBytes":0,"sameBytes":0,"seconds":0.0,"calls":{},"versions":{},"where":""}','2026-11-29T03:03:10.649Z',95921391,'vm:28076:522262:be2caa64b78b','94c9014f253638fbded6327843f6d47c686edada73523d23db47b2bd3e2a5a9e');
INSERT INTO "kubeferry_event" VALUES(4,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',4,'disk-verified','{"kind":"disk-verified","disk":"vda","root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","readBytes":8192,"sameBytes":0,"differing":0,"seconds":0.0,"where":""}','2026-11-29T03:03:10.660Z',95921391,'vm:28076:522262:be2caa64b78b','52f25392165b9f3331233ee8152a66610f97f7efd3f30c266b60d3269fb4f6f8');
INSERT INTO "kubeferry_event" VALUES(5,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',5,'synced','{"kind":"synced","round":1,"dataBytes":8192,"seconds":0.0}','2026-11-29T03:03:10.664Z',95921391,'vm:28076:522262:be2caa64b78b','6ee8afdf9ea8e4ba1af591321e0ec15d8106a72af04a759394fa2b62547b237d');
INSERT INTO "kubeferry_event" VALUES(6,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',6,'cutover-begun','{"kind":"cutover-begun","powerBefore":"running"}','2026-11-29T03:03:10.672Z',95921391,'vm:28076:522262:be2caa64b78b','aba1023d443a8c9ac7631aedff616ba9ad8db5f4ce076f44d5369164e41ef81a');
INSERT INTO "kubeferry_event" VALUES(7,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',7,'source-stopped','{"kind":"source-stopped","how":"acpi","at":"2026-11-29T03:03:10.681+00:00","lastAnswerAt":null,"lastWords":{}}','2026-11-29T03:03:10.681Z',95921391,'vm:28076:522262:be2caa64b78b','562f320efc605cef9afd1f45a1c656d96b63c2fb3a92c2effae832135013325b');
INSERT INTO "kubeferry_event" VALUES(8,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',8,'copy-begun','{"kind":"copy-begun","round":2,"final":true,"view":null,"since":{"source":"lab","token":"2026-11-29T03:03:10.628+00:00-53f42286","takenAt":"2026-11-29T03:03:10.628+00:00"},"sinceRound":1,"consistency":"off"}','2026-11-29T03:03:10.693Z',95921391,'vm:28076:522262:be2caa64b78b','57618942fa96decd1a998d78c081eb42be1e82b4459899c9b9a476e0da752d73');
INSERT INTO "kubeferry_event" VALUES(9,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',9,'disk-copied','{"kind":"disk-copied","disk":"vda","round":2,"root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","algorithm":"sha256","sizeBytes":8192,"dataBytes":8192,"readBytes":8192,"writtenBytes":0,"resumedBytes":0,"sameBytes":0,"seconds":0.0,"calls":{},"versions":{},"where":""}','2026-11-29T03:03:10.702Z',95921391,'vm:28076:522262:be2caa64b78b','da0ff12bc043523a7a5ba1a18c1bb2c905fe275845ca718f6625d5c64c15e68b');
INSERT INTO "kubeferry_event" VALUES(10,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',10,'disk-verified','{"kind":"disk-verified","disk":"vda","root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","readBytes":8192,"sameBytes":0,"differing":0,"seconds":0.0,"where":""}','2026-11-29T03:03:10.713Z',95921391,'vm:28076:522262:be2caa64b78b','5e947f4182e92ef01e372f71e5f54b363ec80f49d8917fa464f883cb9e60d321');
INSERT INTO "kubeferry_event" VALUES(11,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',11,'applied','{"kind":"applied","changes":["created PersistentVolumeClaim","created VirtualMachine"]}','2026-11-29T03:03:10.721Z',95921391,'vm:28076:522262:be2caa64b78b','6e324acebf1dbdd15484e3464420aaa7df9adece2b93d0741d8b728c8249a89b');
INSERT INTO "kubeferry_event" VALUES(12,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',12,'started','{"kind":"started","where":"db"}','2026-11-29T03:03:10.732Z',95921391,'vm:28076:522262:be2caa64b78b','6b1dda867d9b96114b35817116513bd26f5dc6261297cd042d0455a5c36167f5');
INSERT INTO "kubeferry_event" VALUES(13,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',13,'observed','{"kind":"observed","observation":{"apiVersion":"kubeferry.io/v1alpha1","kind":"Observation","machine":"db","startedAt":"2026-11-29T03:03:10.732+00:00","where":"memory: nothing was booted","accelerator":"","probes":[{"kind":"agent","what":"agent","ok":true,"evidence":"told by the test","seconds":0.0}],"guest":{},"seen":{},"screenshot":null,"consoleTail":"","firstAnswerSeconds":null,"firstAnswerAt":null,"notShown":[],"versions":{}}}','2026-11-29T03:03:10.741Z',95921391,'vm:28076:522262:be2caa64b78b','bcfe0f8b503f1b65b3aad47af58a3e563da009ffabdeb2589aa468b8152bbf04');
INSERT INTO "kubeferry_event" VALUES(14,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',14,'validated','{"kind":"validated","probesPassed":1}','2026-11-29T03:03:10.751Z',95921391,'vm:28076:522262:be2caa64b78b','e339b7bfc7de3060d378055114ceba1fdc864f5c8224b1a8aaff629873e9a321');
INSERT INTO "kubeferry_event" VALUES(15,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',15,'target-stopped','{"kind":"target-stopped"}','2026-11-29T03:03:10.769Z',95921391,'vm:28076:522262:be2caa64b78b','65ac1f30a87b67a7abbf29693137d321d04a2d8c3f71e6affc694b9f0ae7e97c');
INSERT INTO "kubeferry_event" VALUES(16,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',16,'committed','{"kind":"committed"}','2026-11-29T03:03:10.781Z',95921391,'vm:28076:522262:be2caa64b78b','983fd96787ac4f0c0ac8915481d8ee926dc586b195266097baf20e185b631668');
INSERT INTO "kubeferry_event" VALUES(17,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web',1,'planned','{"kind":"planned","planDigest":"f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e","disks":["vda"]}','2026-11-29T03:03:10.808Z',95921391,'vm:28076:522262:be2caa64b78b','05ee6dc8d2313170c3c06139f754e9c8582df9654d51a3ae5a86d474d0e8acfe');
INSERT INTO "kubeferry_event" VALUES(18,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web',2,'copy-begun','{"kind":"copy-begun","round":1,"final":false,"view":{"source":"lab","token":"2026-11-29T03:03:10.821+00:00-5dd0b7d1","takenAt":"2026-11-29T03:03:10.821+00:00"},"since":null,"sinceRound":0,"consistency":"crash"}','2026-11-29T03:03:10.828Z',95921391,'vm:28076:522262:be2caa64b78b','f7c43291f2830ec10a28119c0b369f09c4eb189eba44648225563fa6048ed331');
INSERT INTO "kubeferry_event" VALUES(19,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web',3,'disk-copied','{"kind":"disk-copied","disk":"vda","round":1,"root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","algorithm":"sha256","sizeBytes":8192,"dataBytes":8192,"readBytes":8192,"writtenBytes":1048576,"resumedBytes":0,"sameBytes":0,"seconds":0.0,"calls":{},"versions":{},"where":""}','2026-11-29T03:03:10.856Z',95921391,'vm:28076:522262:be2caa64b78b','b224ebee63b5df66e93be34c981722472cb7d07f4d37a56a962f6f4d9bb44457');
INSERT INTO "kubeferry_event" VALUES(20,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web',4,'failed','{"kind":"failed","at":"verify-disks","what":"stopped on request","why":"","fix":"","transient":true,"errorType":"Interrupted"}','2026-11-29T03:03:10.861Z',95921391,'vm:28076:522262:be2caa64b78b','0eaadc4e9c739aa6ad499744aad48c69e007886c72d38f97a8a666f910a5594c');
CREATE TABLE kubeferry_ledger (
	id INTEGER NOT NULL, 
	"plan" VARCHAR NOT NULL, 
	machine VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	place VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	intended_at VARCHAR NOT NULL, 
	made_at VARCHAR, 
	gone_at VARCHAR, 
	PRIMARY KEY (id), 
	FOREIGN KEY("plan", machine) REFERENCES kubeferry_machine ("plan", machine)
);
INSERT INTO "kubeferry_ledger" VALUES(1,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db','view','db','/tmp/mkold-work/views/a9655ca4aa7e','intended','2026-11-29T03:03:10.629Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(2,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db','disk','db/vda','memory','intended','2026-11-29T03:03:10.643Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(3,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db','mover','e8361384-db-vda-copy-1-0','memory','intended','2026-11-29T03:03:10.645Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(4,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db','mover','e8361384-db-vda-verify-1-0','memory','intended','2026-11-29T03:03:10.657Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(5,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db','mover','e8361384-db-vda-copy-2-0','memory','intended','2026-11-29T03:03:10.701Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(6,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db','mover','e8361384-db-vda-verify-2-0','memory','intended','2026-11-29T03:03:10.711Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(7,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db','process','db','memory','intended','2026-11-29T03:03:10.729Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(8,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web','view','web','/tmp/mkold-work/views/80ba0e4539b7','intended','2026-11-29T03:03:10.821Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(9,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web','disk','web/vda','memory','intended','2026-11-29T03:03:10.846Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(10,'f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web','mover','e44e808f-web-vda-copy-1-0','memory','intended','2026-11-29T03:03:10.849Z',NULL,NULL);
CREATE TABLE kubeferry_machine (
	"plan" VARCHAR NOT NULL, 
	machine VARCHAR NOT NULL, 
	fence INTEGER NOT NULL, 
	owner VARCHAR, 
	expires_at VARCHAR NOT NULL, 
	seq INTEGER NOT NULL, 
	digest VARCHAR NOT NULL, 
	PRIMARY KEY ("plan", machine), 
	FOREIGN KEY("plan") REFERENCES kubeferry_plan (digest)
);
INSERT INTO "kubeferry_machine" VALUES('f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','db',95921391,NULL,'',16,'983fd96787ac4f0c0ac8915481d8ee926dc586b195266097baf20e185b631668');
INSERT INTO "kubeferry_machine" VALUES('f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','web',95921391,NULL,'',4,'0eaadc4e9c739aa6ad499744aad48c69e007886c72d38f97a8a666f910a5594c');
CREATE TABLE kubeferry_meta (
	schema_version INTEGER NOT NULL, 
	created_at VARCHAR NOT NULL, 
	created_by VARCHAR NOT NULL, 
	PRIMARY KEY (schema_version)
);
INSERT INTO "kubeferry_meta" VALUES(1,'2026-11-29T03:03:10.564Z','0.1.0');
CREATE TABLE kubeferry_plan (
	digest VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	document TEXT NOT NULL, 
	registered_at VARCHAR NOT NULL, 
	PRIMARY KEY (digest)
);
INSERT INTO "kubeferry_plan" VALUES('f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e','earlier','apiVersion: kubeferry.io/v1alpha1
kind: Plan
name: earlier
createdAt: ''2026-01-01T00:00:00Z''
source: lab
sourceVersion: ''''
inventoryDigest: 155676323a72fd390021d4722c9575e41cea3c16bc6c60abd32c13c9ff61cd72
waves:
- name: wave-1
  machines:
  - db
  - web
entries:
- name: db
  targetName: db
  namespace: default
  machine:
    id: id-db
    name: db
    source: lab
    power: running
    arch: x86_64
    firmware:
      kind: bios
      bootOrder: []
    cpu:
      vcpus: 1
      features: []
      pinning: []
      numa: []
    memory:
      sizeBytes: 67108864
    clock:
      offset: unknown
      timers: []
    hyperv: {}
    features: {}
    disks:
    - id: vda
      device: disk
      bus: virtio
      uri: file:///srv/images/db-vda.img
      sourceKind: file
      format: raw
      chain: []
      capacityBytes: 8192
      shareable: false
      readonly: false
      transient: false
      removable: false
      encrypted: false
      throttled: false
    nics: []
    devices: []
    guest: {}
    metadata: {}
    unmodelled: []
  disks:
  - disk: vda
    claim: db-vda
    volume: vda
    sizeBytes: 8192
    claimBytes: 2097152
    volumeMode: Filesystem
  manifests:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: db-vda
      namespace: default
      labels:
        app.kubernetes.io/managed-by: kubeferry
        kubeferry.io/machine: db
        kubeferry.io/source: lab
      annotations:
        kubeferry.io/machine-id: id-db
        kubeferry.io/machine-name: db
        kubeferry.io/disk-id: vda
    spec:
      accessModes:
      - ReadWriteOnce
      volumeMode: Filesystem
      resources:
        requests:
          storage: 2Mi
  - apiVersion: kubevirt.io/v1
    kind: VirtualMachine
    metadata:
      name: db
      namespace: default
      labels:
        app.kubernetes.io/managed-by: kubeferry
        kubeferry.io/machine: db
        kubeferry.io/source: lab
      annotations:
        kubeferry.io/machine-id: id-db
        kubeferry.io/machine-name: db
    spec:
      runStrategy: Manual
      template:
        metadata:
          labels:
            app.kubernetes.io/managed-by: kubeferry
            kubeferry.io/machine: db
            kubeferry.io/source: lab
        spec:
          architecture: amd64
          evictionStrategy: LiveMigrateIfPossible
          terminationGracePeriodSeconds: 180
          domain:
            machine:
              type: q35
            firmware:
              bootloader:
                bios: {}
            cpu:
              model: host-model
              sockets: 1
              cores: 1
              threads: 1
              maxSockets: 1
            memory:
              guest: 64Mi
            clock:
              utc: {}
            features:
              acpi:
                enabled: true
            devices:
              autoattachGraphicsDevice: true
              autoattachMemBalloon: true
              autoattachPodInterface: false
              autoattachSerialConsole: true
              disks:
              - name: vda
                disk:
                  bus: virtio
                bootOrder: 1
              interfaces: []
          networks: []
          volumes:
          - name: vda
            persistentVolumeClaim:
              claimName: db-vda
  probes:
  - kind: agent
    timeoutSeconds: 120.0
  stop:
    agentSeconds: 60.0
    acpiSeconds: 120.0
    force: false
    lastWords: []
  mode: warm
  warm:
    rounds: 6
    enoughBytes: 67108864
    gain: 0.8
  verify: written
  concerns:
  - id: uuid.unknown
    severity: warning
    what: The SMBIOS UUID (not told) cannot be kept.
    fix: Licences bound to the UUID must be activated again.
  - id: clock.offset
    severity: warning
    what: The clock''s offset is unknown, its time zone not known; it is set to UTC.
    fix: Set `timezone` for it in the policy, or UTC if the guest''s clock is set by the network.
  - id: snapshot.unknown
    severity: info
    what: Whether the machine has snapshots is not known.
    fix: Only the present state is moved.
  - id: guest.agent-unknown
    severity: info
    what: Whether the guest has an agent is not known.
    fix: Install a guest agent and add its channel, or choose other probes and another way to stop the machine.
  - id: guest.os-unknown
    severity: info
    what: Which system the guest runs is not known.
    fix: Check that KubeVirt supports it.
  - id: cpu.mode-changed
    severity: info
    what: The CPU model is not known; the guest gets the node''s own.
    fix: Nothing, if the guest does not depend on it.
  - id: storage.class-default
    severity: info
    what: No storage class is named; the cluster''s default is used.
    fix: Set `storage.storageClass` in the policy.
  - id: disk.may-grow
    severity: info
    what: KubeVirt grows disks on file systems to what their claims carry, at the first start.
    fix: Use volume mode Block if the size must stay exact.
  carried:
  - field: id
    fate: carried
    source: id-db
    target: metadata.annotations[kubeferry.io/machine-id]
    reason: ''''
  - field: name
    fate: carried
    source: db
    target: metadata.name
    reason: ''''
  - field: source
    fate: carried
    source: lab
    target: metadata.labels[kubeferry.io/source]
    reason: ''''
  - field: power
    fate: changed
    source: running
    target: spec.runStrategy
    reason: ''now Manual: the policy''''s run strategy says when the machine runs''
  - field: arch
    fate: carried
    source: x86_64
    target: architecture
    reason: ''''
  - field: firmware.kind
    fate: carried
    source: bios
    target: domain.firmware.bootloader.bios
    reason: ''''
  - field: cpu.vcpus
    fate: carried
    source: ''1''
    target: domain.cpu.sockets
    reason: ''''
  - field: memory.size_bytes
    fate: carried
    source: 64 MiB
    target: domain.memory.guest
    reason: ''''
  - field: disks[vda].id
    fate: carried
    source: vda
    target: domain.devices.disks[vda].name
    reason: ''''
  - field: disks[vda].bus
    fate: carried
    source: virtio
    target: domain.devices.disks[vda].disk.bus
    reason: ''''
  - field: disks[vda].uri
    fate: changed
    source: file:///srv/images/db-vda.img
    target: volumes[vda]
    reason: the bytes are copied into the claim
  - field: disks[vda].source_kind
    fate: changed
    source: file
    target: volumes[vda]
    reason: the bytes are copied into the claim
  - field: disks[vda].format
    fate: carried
    source: raw
    target: volumes[vda]
    reason: ''''
  - field: disks[vda].chain
    fate: changed
    source: none
    target: volumes[vda]
    reason: the whole chain becomes one raw disk
  - field: disks[vda].capacity_bytes
    fate: carried
    source: 8 KiB
    target: volumes[vda]
    reason: the claim is larger where a file system takes its share
- name: web
  targetName: web
  namespace: default
  machine:
    id: id-web
    name: web
    source: lab
    power: running
    arch: x86_64
    firmware:
      kind: bios
      bootOrder: []
    cpu:
      vcpus: 1
      features: []
      pinning: []
      numa: []
    memory:
      sizeBytes: 67108864
    clock:
      offset: unknown
      timers: []
    hyperv: {}
    features: {}
    disks:
    - id: vda
      device: disk
      bus: virtio
      uri: file:///srv/images/web-vda.img
      sourceKind: file
      format: raw
      chain: []
      capacityBytes: 8192
      shareable: false
      readonly: false
      transient: false
      removable: false
      encrypted: false
      throttled: false
    nics: []
    devices: []
    guest: {}
    metadata: {}
    unmodelled: []
  disks:
  - disk: vda
    claim: web-vda
    volume: vda
    sizeBytes: 8192
    claimBytes: 2097152
    volumeMode: Filesystem
  manifests:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: web-vda
      namespace: default
      labels:
        app.kubernetes.io/managed-by: kubeferry
        kubeferry.io/machine: web
        kubeferry.io/source: lab
      annotations:
        kubeferry.io/machine-id: id-web
        kubeferry.io/machine-name: web
        kubeferry.io/disk-id: vda
    spec:
      accessModes:
      - ReadWriteOnce
      volumeMode: Filesystem
      resources:
        requests:
          storage: 2Mi
  - apiVersion: kubevirt.io/v1
    kind: VirtualMachine
    metadata:
      name: web
      namespace: default
      labels:
        app.kubernetes.io/managed-by: kubeferry
        kubeferry.io/machine: web
        kubeferry.io/source: lab
      annotations:
        kubeferry.io/machine-id: id-web
        kubeferry.io/machine-name: web
    spec:
      runStrategy: Manual
      template:
        metadata:
          labels:
            app.kubernetes.io/managed-by: kubeferry
            kubeferry.io/machine: web
            kubeferry.io/source: lab
        spec:
          architecture: amd64
          evictionStrategy: LiveMigrateIfPossible
          terminationGracePeriodSeconds: 180
          domain:
            machine:
              type: q35
            firmware:
              bootloader:
                bios: {}
            cpu:
              model: host-model
              sockets: 1
              cores: 1
              threads: 1
              maxSockets: 1
            memory:
              guest: 64Mi
            clock:
              utc: {}
            features:
              acpi:
                enabled: true
            devices:
              autoattachGraphicsDevice: true
              autoattachMemBalloon: true
              autoattachPodInterface: false
              autoattachSerialConsole: true
              disks:
              - name: vda
                disk:
                  bus: virtio
                bootOrder: 1
              interfaces: []
          networks: []
          volumes:
          - name: vda
            persistentVolumeClaim:
              claimName: web-vda
  probes:
  - kind: agent
    timeoutSeconds: 120.0
  stop:
    agentSeconds: 60.0
    acpiSeconds: 120.0
    force: false
    lastWords: []
  mode: warm
  warm:
    rounds: 6
    enoughBytes: 67108864
    gain: 0.8
  verify: written
  concerns:
  - id: uuid.unknown
    severity: warning
    what: The SMBIOS UUID (not told) cannot be kept.
    fix: Licences bound to the UUID must be activated again.
  - id: clock.offset
    severity: warning
    what: The clock''s offset is unknown, its time zone not known; it is set to UTC.
    fix: Set `timezone` for it in the policy, or UTC if the guest''s clock is set by the network.
  - id: snapshot.unknown
    severity: info
    what: Whether the machine has snapshots is not known.
    fix: Only the present state is moved.
  - id: guest.agent-unknown
    severity: info
    what: Whether the guest has an agent is not known.
    fix: Install a guest agent and add its channel, or choose other probes and another way to stop the machine.
  - id: guest.os-unknown
    severity: info
    what: Which system the guest runs is not known.
    fix: Check that KubeVirt supports it.
  - id: cpu.mode-changed
    severity: info
    what: The CPU model is not known; the guest gets the node''s own.
    fix: Nothing, if the guest does not depend on it.
  - id: storage.class-default
    severity: info
    what: No storage class is named; the cluster''s default is used.
    fix: Set `storage.storageClass` in the policy.
  - id: disk.may-grow
    severity: info
    what: KubeVirt grows disks on file systems to what their claims carry, at the first start.
    fix: Use volume mode Block if the size must stay exact.
  carried:
  - field: id
    fate: carried
    source: id-web
    target: metadata.annotations[kubeferry.io/machine-id]
    reason: ''''
  - field: name
    fate: carried
    source: web
    target: metadata.name
    reason: ''''
  - field: source
    fate: carried
    source: lab
    target: metadata.labels[kubeferry.io/source]
    reason: ''''
  - field: power
    fate: changed
    source: running
    target: spec.runStrategy
    reason: ''now Manual: the policy''''s run strategy says when the machine runs''
  - field: arch
    fate: carried
    source: x86_64
    target: architecture
    reason: ''''
  - field: firmware.kind
    fate: carried
    source: bios
    target: domain.firmware.bootloader.bios
    reason: ''''
  - field: cpu.vcpus
    fate: carried
    source: ''1''
    target: domain.cpu.sockets
    reason: ''''
  - field: memory.size_bytes
    fate: carried
    source: 64 MiB
    target: domain.memory.guest
    reason: ''''
  - field: disks[vda].id
    fate: carried
    source: vda
    target: domain.devices.disks[vda].name
    reason: ''''
  - field: disks[vda].bus
    fate: carried
    source: virtio
    target: domain.devices.disks[vda].disk.bus
    reason: ''''
  - field: disks[vda].uri
    fate: changed
    source: file:///srv/images/web-vda.img
    target: volumes[vda]
    reason: the bytes are copied into the claim
  - field: disks[vda].source_kind
    fate: changed
    source: file
    target: volumes[vda]
    reason: the bytes are copied into the claim
  - field: disks[vda].format
    fate: carried
    source: raw
    target: volumes[vda]
    reason: ''''
  - field: disks[vda].chain
    fate: changed
    source: none
    target: volumes[vda]
    reason: the whole chain becomes one raw disk
  - field: disks[vda].capacity_bytes
    fate: carried
    source: 8 KiB
    target: volumes[vda]
    reason: the claim is larger where a file system takes its share
excluded: {}
digest: f7bb36905bb299a522b354705032c99e58620ee528cf5554993dd0b32920fb4e
','2026-11-29T03:03:10.589Z');
CREATE TRIGGER kubeferry_event_no_update BEFORE UPDATE ON kubeferry_event BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER kubeferry_event_no_delete BEFORE DELETE ON kubeferry_event BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
COMMIT;
