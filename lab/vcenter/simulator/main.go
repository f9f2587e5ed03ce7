// A vCenter without hosts or guests: govmomi's simulator, with disks that hold bytes (disks.go).
//
// It prints one line when it answers, its address, and ends at a signal. Plain HTTP on loopback:
// TLS, logins of the datastore folder and all that goes wrong are the business of the relay in front of it.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
)

func main() {
	machines := flag.Int("machines", 0, "machines in each of the two resource pools")
	frozen := flag.String("frozen", "", "folder for what disks held when a snapshot was made")
	slow := flag.Int("snapshot-delay", 0, "milliseconds that a snapshot takes")
	user := flag.String("user", "user", "who may log in")
	flag.Parse()
	// While a slow task runs, its machine can be looked at all the same.
	simulator.TaskDelay.MethodDelay = map[string]int{"LockHandoff": 0, "CreateSnapshotEx": *slow}
	model := simulator.VPX()
	model.Machine = *machines
	model.Autostart = false
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()
	startable(model.Service.Context)
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*user, os.Getenv("SIMULATOR_PASSWORD"))}
	server := model.Service.NewServer()
	defer server.Close()
	model.Map().AddHandler(&disks{registry: model.Map(), frozen: *frozen})
	fmt.Println(server.URL.Host)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
