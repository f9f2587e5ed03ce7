"""libvirt/KVM as a source. `source.connect` opens it; `domain/` reads a domain's XML, and knows no hypervisor.

source ─┬─ domain/machine      XML -> Machine                                      pure
        ├─ guest, freeze       the guest's agent; its file systems held still
        ├─ live ── backup      views of running machines; libvirt's words for them (pure)
        │    └──── place       where a view is served, and keeps what is overwritten meanwhile
        ├─ attached            the disks as they are now, and where the running machine has others
        ├─ pools, chains       where volumes of pools lie; what lies below the images of a machine that is off
        ├─ filters             what the filters of cards let through
        ├─ headers             whether images say of their chains what libvirt says
        ├─ served_disks        disks that a server has (iSCSI, RBD), asked through the hypervisor's QEMU
        ├─ off                 what views leave in images: read for the last round, taken out again
        ├─ image_files         which file an image is, whatever it is called
        ├─ shutdown            the ways to stop a domain; marks: what is left at it then
        ├─ autostart           what starts a domain with its host; descriptions: what people have written of it
        ├─ flash               UEFI variables, from the file that stands for a machine's flash
        ├─ tpm                 what a machine's TPM keeps, from the file of its swtpm
        ├─ sharing             other machines that run with a disk of this one
        ├─ stops               what a stop meets, and the way back from it: asked without doing it
        ├─ starts              when a machine was last started, from libvirt's log of it
        ├─ hosts               the hypervisor's files and servers: this host, or far_host with far_exports
        └─ (domain_files)      exported domains, for `sources.exported`;  several_domains: those of one text
"""
