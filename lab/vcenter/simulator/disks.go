package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// disks makes snapshots mean something. A snapshot keeps the disk's file; the machine goes on in a delta file of its
// own (which holds the whole disk here), and gets it back when the snapshot goes. What the disk held at that moment is
// kept in the folder `frozen` under its content id, and gets a change id where change tracking is on.
type disks struct {
	registry *simulator.Registry
	frozen   string
	made     atomic.Int32
}

func (d *disks) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabDisks", Value: "disks"}
}

// UpdateObject gives the streams of a lease the names that a real one has, and says beside it what each of them is of.
func (d *disks) UpdateObject(_ *simulator.Context, changed mo.Reference, _ []types.PropertyChange) {
	lease, ok := changed.(*mo.HttpNfcLease)
	if !ok || lease.Info == nil {
		return
	}
	vm := d.registry.Get(lease.Info.Entity).(*simulator.VirtualMachine)
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	folder := filepath.Join(d.frozen, lease.Self.Value)
	if os.Mkdir(folder, 0o700) != nil {
		return // it is told more than once
	}
	for i := range lease.Info.DeviceUrl {
		stream := &lease.Info.DeviceUrl[i]
		for _, device := range devices {
			disk, backing := flat(device)
			for ; backing != nil; backing = backing.Parent {
				if filepath.Base(backing.FileName) != stream.TargetId {
					continue
				}
				controller := devices.FindByKey(disk.ControllerKey)
				kind := reflect.TypeOf(controller).Elem().Name()
				bus := controller.(types.BaseVirtualController).GetVirtualController().BusNumber
				stream.Key = fmt.Sprintf("/%s/%s%d:%d", vm.Self.Value, kind, bus, *disk.UnitNumber)
				name := filepath.Join(folder, stream.TargetId)
				_ = os.Symlink(filepath.Join(d.frozen, backing.Uuid+"-"+backing.ContentId), name)
				_ = os.WriteFile(name+".key", []byte(stream.Key), 0o600)
			}
		}
	}
}

func (d *disks) PutObject(_ *simulator.Context, made mo.Reference) {
	snapshot, ok := made.(*simulator.VirtualMachineSnapshot)
	if !ok {
		return
	}
	vm := d.registry.Get(snapshot.Vm).(*simulator.VirtualMachine)
	number := d.made.Add(1)
	kept, running := []types.BaseVirtualDevice{}, []types.BaseVirtualDevice{}
	for _, device := range vm.Config.Hardware.Device {
		disk, backing := flat(device)
		if disk == nil {
			kept, running = append(kept, device), append(running, device)
			continue
		}
		below := *backing
		below.ContentId = fmt.Sprintf("%08x", number)
		below.ChangeId = ""
		if vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled {
			below.ChangeId = fmt.Sprintf("%s/%d", backing.Uuid, number)
		}
		above := below
		above.Parent = &below
		above.FileName = fmt.Sprintf("%s-%06d.vmdk", strings.TrimSuffix(below.FileName, ".vmdk"), number)
		d.copy(content(&below, d.path(vm, below.FileName)), filepath.Join(d.frozen, below.Uuid+"-"+below.ContentId))
		d.copy(content(&below, d.path(vm, below.FileName)), content(&above, d.path(vm, above.FileName)))
		d.copy(d.path(vm, below.FileName), d.path(vm, above.FileName))
		kept, running = append(kept, with(disk, &below)), append(running, with(disk, &above))
	}
	snapshot.Config.Hardware.Device = kept
	vm.Config.Hardware.Device = running
}

func (d *disks) RemoveObject(_ *simulator.Context, gone types.ManagedObjectReference) {
	snapshot, ok := d.registry.Get(gone).(*simulator.VirtualMachineSnapshot)
	if !ok {
		return
	}
	vm := d.registry.Get(snapshot.Vm).(*simulator.VirtualMachine)
	kept := map[string]bool{}
	for _, device := range snapshot.Config.Hardware.Device {
		if disk, backing := flat(device); disk != nil {
			kept[backing.FileName] = true
		}
	}
	running := []types.BaseVirtualDevice{}
	for _, device := range vm.Config.Hardware.Device {
		disk, backing := flat(device)
		if disk == nil || backing.Parent == nil || !kept[backing.Parent.FileName] {
			running = append(running, device)
			continue
		}
		below := *backing.Parent
		if err := os.Rename(content(backing, d.path(vm, backing.FileName)), content(&below, d.path(vm, below.FileName))); err != nil {
			log.Print(err)
		}
		_ = os.Remove(d.path(vm, backing.FileName))
		running = append(running, with(disk, &below))
	}
	vm.Config.Hardware.Device = running
}

func flat(device types.BaseVirtualDevice) (*types.VirtualDisk, *types.VirtualDiskFlatVer2BackingInfo) {
	if disk, ok := device.(*types.VirtualDisk); ok {
		if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			return disk, backing
		}
	}
	return nil, nil
}

func with(disk *types.VirtualDisk, backing *types.VirtualDiskFlatVer2BackingInfo) types.BaseVirtualDevice {
	changed := *disk
	changed.Backing = backing
	return &changed
}

// content is the file with a disk's bytes, beside its descriptor.
func content(backing *types.VirtualDiskFlatVer2BackingInfo, descriptor string) string {
	kind := "-flat.vmdk"
	if backing.Parent != nil {
		kind = "-delta.vmdk"
	}
	return strings.TrimSuffix(descriptor, ".vmdk") + kind
}

func (d *disks) path(vm *simulator.VirtualMachine, file string) string {
	var place object.DatastorePath
	place.FromString(file)
	store := d.registry.FindByName(place.Datastore, vm.Datastore).(*simulator.Datastore)
	return filepath.Join(store.Summary.Url, place.Path)
}

func (d *disks) copy(from, to string) {
	if said, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		log.Printf("%s: %s", err, said)
	}
}
