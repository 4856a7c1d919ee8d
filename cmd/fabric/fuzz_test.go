package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/ipam"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

// FuzzObservation has a host look like anything. The plan that comes of it is
// printed without a character that a terminal would obey.
func FuzzObservation(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"observation":{}}`,
		`{"observation":{"state":{"ovs":{"name":"\u001b[2J","other_config":{"hwaddr":"\u009b"},"ports":[{"name":"\n","options":{"\u001b":"x"}}]}}}}`,
		`{"observation":{"state":{"links":{"name":"\u001b","owner":"demo","address":"172.17.0.1/16"},"boot":{"files":[{"path":"\u001b"}]},"docker":{"config":{"bip":"\u001b"}}}}}`,
		`{"observation":{"facts":{"underlay":[{"peer":"192.0.2.12","device":"\u001b","source":"fe80::1%\u001b","mtu":1500}],"containers":[{"name":"\u001b","auto_remove":true}],"live_restore":true,"interrupted":true}}}`,
		`{"observation":{"obstacles":[{"what":"\u202e","cure":"\r"}]}}`,
	} {
		f.Add([]byte(seed))
	}
	t, graph, err := topology.Parse("f", []byte("version: 1\nname: demo\nnetwork: 172.17.0.0/16\nhosts: {h1: {address: 192.0.2.11}, h2: {address: 192.0.2.12}}\n"), nil)
	if err != nil {
		f.Fatal(err)
	}
	lock, err := ipam.Assign(t.Network, ipam.Lock{}, []ipam.Want{{Name: "h1", Weight: 1}, {Name: "h2", Weight: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(tt *testing.T, said []byte) {
		var reply wire.Reply
		if wire.NewConn(bytes.NewReader(said), nil).Receive(&reply) != nil || reply.Observation == nil {
			return
		}
		reply.Clean()
		observed := map[string]plan.Observation{"h1": *reply.Observation}
		var shown strings.Builder
		if p, err := plan.New(plan.Input{Topology: t, Graph: graph, Lock: lock, Observed: observed}); err != nil {
			shown.WriteString(err.Error())
		} else {
			printPlan(&shown, p)
			if err := obstacles(p); err != nil {
				shown.WriteString(err.Error())
			}
			if err := writeJSON(&shown, p); err != nil {
				tt.Error(err)
			}
		}
		printPlan(&shown, plan.Teardown("demo", t.Network, observed, nil, []string{"h1"}))
		for line := range strings.Lines(shown.String()) {
			if printable.Text(line) != line {
				tt.Errorf("%q reaches the terminal", line)
			}
		}
	})
}
