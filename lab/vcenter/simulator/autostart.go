package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// autostart is what a host starts by itself, machine by machine. It starts nothing here: no host ever starts.
type autostart struct {
	mo.HostAutoStartManager
}

// startable gives each host a manager of its own: the simulator names one, and has none.
func startable(ctx *simulator.Context) {
	for _, one := range ctx.Map.All("HostSystem") {
		host := one.(*simulator.HostSystem)
		manager := &autostart{}
		manager.Self = types.ManagedObjectReference{Type: "HostAutoStartManager", Value: "autostart-" + host.Self.Value}
		enabled := types.NewBool(true)
		manager.Config.Defaults = &types.AutoStartDefaults{Enabled: enabled, StartDelay: 120, StopDelay: 120, StopAction: "powerOff"}
		ctx.Map.Put(manager)
		host.ConfigManager.AutoStartManager = &manager.Self
	}
}

// ReconfigureAutostart takes what is given of the defaults, and of each machine that is named.
func (m *autostart) ReconfigureAutostart(_ *simulator.Context, asked *types.ReconfigureAutostart) soap.HasFault {
	if given := asked.Spec.Defaults; given != nil {
		m.Config.Defaults = given
	}
	for _, given := range asked.Spec.PowerInfo {
		kept := []types.AutoStartPowerInfo{}
		for _, one := range m.Config.PowerInfo {
			if one.Key != given.Key {
				kept = append(kept, one)
			}
		}
		m.Config.PowerInfo = append(kept, given)
	}
	return &methods.ReconfigureAutostartBody{Res: &types.ReconfigureAutostartResponse{}}
}
