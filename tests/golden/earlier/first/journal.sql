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
INSERT INTO "kubeferry_event" VALUES(1,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',1,'planned','{"kind":"planned","planDigest":"01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b","disks":["vda"]}','2026-11-29T03:03:09.350Z',1,'vm:28037:522116:be2caa64b78b','43ed5f417d414ad8c4e315393122e9024d49b3fce62e3b1347ef829a64e9e845');
INSERT INTO "kubeferry_event" VALUES(2,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',2,'cutover-begun','{"kind":"cutover-begun","powerBefore":"running"}','2026-11-29T03:03:09.360Z',1,'vm:28037:522116:be2caa64b78b','ef8521295b10669357673191ba1c21bcb58a63d9347be9ae238602fd889ef83f');
INSERT INTO "kubeferry_event" VALUES(3,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',3,'source-stopped','{"kind":"source-stopped","how":"acpi","at":"2026-11-29T03:03:09.367+00:00","lastAnswerAt":null,"lastWords":{}}','2026-11-29T03:03:09.367Z',1,'vm:28037:522116:be2caa64b78b','c7c6f2e1d18d601f209d839e54c1f3c83bf48c7ae9e49b45c20333bc498ad6d6');
INSERT INTO "kubeferry_event" VALUES(4,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',4,'copy-begun','{"kind":"copy-begun","round":1,"final":true}','2026-11-29T03:03:09.374Z',1,'vm:28037:522116:be2caa64b78b','a9c695e1d43a05147d1b041639eb1926ef9fca71a0855d8b57df17a294171cae');
INSERT INTO "kubeferry_event" VALUES(5,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',5,'disk-copied','{"kind":"disk-copied","disk":"vda","round":1,"root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","algorithm":"sha256","sizeBytes":8192,"dataBytes":8192,"readBytes":8192,"writtenBytes":1048576,"resumedBytes":0,"seconds":0.0,"versions":{}}','2026-11-29T03:03:09.412Z',1,'vm:28037:522116:be2caa64b78b','a5d51bc33958a4b8d156439a7ed3c747f5d5c3e3a3e80c660d82fc3938af8aaa');
INSERT INTO "kubeferry_event" VALUES(6,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',6,'disk-verified','{"kind":"disk-verified","disk":"vda","root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","readBytes":8192,"differing":0,"seconds":0.0}','2026-11-29T03:03:09.422Z',1,'vm:28037:522116:be2caa64b78b','43239875a9f6011d584eb70d72c4fb0a1b7bda119e40d7030e838d1cc91cdabb');
INSERT INTO "kubeferry_event" VALUES(7,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',7,'applied','{"kind":"applied","changes":["created PersistentVolumeClaim","created VirtualMachine"]}','2026-11-29T03:03:09.431Z',1,'vm:28037:522116:be2caa64b78b','e4440a1b2f436eb9331b9aea30f08c83eb688b3c82a34d5d00683acf973fc729');
INSERT INTO "kubeferry_event" VALUES(8,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',8,'started','{"kind":"started","where":"db"}','2026-11-29T03:03:09.444Z',1,'vm:28037:522116:be2caa64b78b','17c9714cd1ed40cedf7dfffe1afb9aa083ea37626bc156000c5cd192eaaeae69');
INSERT INTO "kubeferry_event" VALUES(9,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',9,'observed','{"kind":"observed","observation":{"apiVersion":"kubeferry.io/v1alpha1","kind":"Observation","machine":"db","startedAt":"2026-11-29T03:03:09.442+00:00","where":"memory: nothing was booted","accelerator":"","probes":[{"kind":"agent","what":"agent","ok":true,"evidence":"told by the test","seconds":0.0}],"guest":{},"screenshot":null,"consoleTail":"","firstAnswerSeconds":null,"firstAnswerAt":null,"notShown":[],"versions":{}}}','2026-11-29T03:03:09.460Z',1,'vm:28037:522116:be2caa64b78b','c2d931e6bee827e88e7feece330f387a70d2b8202ba9afa73c7c750b41947714');
INSERT INTO "kubeferry_event" VALUES(10,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',10,'validated','{"kind":"validated","probesPassed":1}','2026-11-29T03:03:09.464Z',1,'vm:28037:522116:be2caa64b78b','542929048303c53faca43db3194f64712c2cba6fe2fbc027783db936f788e528');
INSERT INTO "kubeferry_event" VALUES(11,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',11,'target-stopped','{"kind":"target-stopped"}','2026-11-29T03:03:09.476Z',1,'vm:28037:522116:be2caa64b78b','903da8e75c1bbe64b8fcbb3adfcaf728809be9c85563c0d030f2f4f6ee12cfdd');
INSERT INTO "kubeferry_event" VALUES(12,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',12,'committed','{"kind":"committed"}','2026-11-29T03:03:09.481Z',1,'vm:28037:522116:be2caa64b78b','82aceaa367ef72d5cc1bf76ef96890aa170d5df18e294e91f0aaf7e9b7e02e81');
INSERT INTO "kubeferry_event" VALUES(13,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web',1,'planned','{"kind":"planned","planDigest":"01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b","disks":["vda"]}','2026-11-29T03:03:09.496Z',1,'vm:28037:522116:be2caa64b78b','1e39e56f5511f157cb7e057a578d848a058cb941388d6c14a9069a6ff3767812');
INSERT INTO "kubeferry_event" VALUES(14,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web',2,'cutover-begun','{"kind":"cutover-begun","powerBefore":"running"}','2026-11-29T03:03:09.498Z',1,'vm:28037:522116:be2caa64b78b','29dec4aceb1cfe22353346ecc9735b5d8af59bfee77bfc5e1c259c9d4d1956b2');
INSERT INTO "kubeferry_event" VALUES(15,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web',3,'source-stopped','{"kind":"source-stopped","how":"acpi","at":"2026-11-29T03:03:09.506+00:00","lastAnswerAt":null,"lastWords":{}}','2026-11-29T03:03:09.509Z',1,'vm:28037:522116:be2caa64b78b','9002777f3d3bd0416b0b170cb8aa1188bd1c281ad5e979e6ce9d4b9f261c8608');
INSERT INTO "kubeferry_event" VALUES(16,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web',4,'copy-begun','{"kind":"copy-begun","round":1,"final":true}','2026-11-29T03:03:09.528Z',1,'vm:28037:522116:be2caa64b78b','c846e74915612efbdf37b5db35352cdfee76a6bade70ff7d634fd1339a4d13e5');
INSERT INTO "kubeferry_event" VALUES(17,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web',5,'disk-copied','{"kind":"disk-copied","disk":"vda","round":1,"root":"92c23922ffd96fc2657ae92c1cd419223bfbebd1c908fa7e4d2f5e12d3908e3b","algorithm":"sha256","sizeBytes":8192,"dataBytes":8192,"readBytes":8192,"writtenBytes":1048576,"resumedBytes":0,"seconds":0.0,"versions":{}}','2026-11-29T03:03:09.572Z',1,'vm:28037:522116:be2caa64b78b','60314167797117df6e7878aeeb55633bdc0c0c8c448e03b4741c85c648173edf');
INSERT INTO "kubeferry_event" VALUES(18,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web',6,'failed','{"kind":"failed","at":"verify-disks","what":"stopped on request","why":"","fix":"","transient":true,"errorType":"Interrupted"}','2026-11-29T03:03:09.579Z',1,'vm:28037:522116:be2caa64b78b','f2353dc783aedcb07b39b879eb19e2e762264ba2c6ea367d0d7c21fdfd0ed641');
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
INSERT INTO "kubeferry_ledger" VALUES(1,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db','disk','db/vda','memory','intended','2026-11-29T03:03:09.402Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(2,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db','mover','01423a3d-db-vda-copy-1-0','memory','intended','2026-11-29T03:03:09.409Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(3,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db','mover','01423a3d-db-vda-verify-1-0','memory','intended','2026-11-29T03:03:09.418Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(4,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db','process','db','memory','intended','2026-11-29T03:03:09.441Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(5,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web','disk','web/vda','memory','intended','2026-11-29T03:03:09.552Z',NULL,NULL);
INSERT INTO "kubeferry_ledger" VALUES(6,'01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web','mover','01423a3d-web-vda-copy-1-0','memory','intended','2026-11-29T03:03:09.568Z',NULL,NULL);
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
INSERT INTO "kubeferry_machine" VALUES('01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','db',1,NULL,'',12,'82aceaa367ef72d5cc1bf76ef96890aa170d5df18e294e91f0aaf7e9b7e02e81');
INSERT INTO "kubeferry_machine" VALUES('01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','web',1,NULL,'',6,'f2353dc783aedcb07b39b879eb19e2e762264ba2c6ea367d0d7c21fdfd0ed641');
CREATE TABLE kubeferry_meta (
	schema_version INTEGER NOT NULL, 
	created_at VARCHAR NOT NULL, 
	created_by VARCHAR NOT NULL, 
	PRIMARY KEY (schema_version)
);
INSERT INTO "kubeferry_meta" VALUES(1,'2026-11-29T03:03:09.256Z','0.1.0');
CREATE TABLE kubeferry_plan (
	digest VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	document TEXT NOT NULL, 
	registered_at VARCHAR NOT NULL, 
	PRIMARY KEY (digest)
);
INSERT INTO "kubeferry_plan" VALUES('01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b','earlier','apiVersion: kubeferry.io/v1alpha1
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
digest: 01423a3de324ab8b21b3ebe9365864ca7dcc9f526c2dcc08bdf2525eb489173b
','2026-11-29T03:03:09.323Z');
CREATE TRIGGER kubeferry_event_no_update BEFORE UPDATE ON kubeferry_event BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER kubeferry_event_no_delete BEFORE DELETE ON kubeferry_event BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
COMMIT;
