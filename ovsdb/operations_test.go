package ovsdb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

// oneTunnel is what the database of an applied fabric with one tunnel holds.
func oneTunnel() *database {
	mtu := 1450
	d := new(database).bridge(vswitch.Bridge{
		Name: "br0", DatapathType: "system", RSTPEnable: true,
		OtherConfig: map[string]string{"rstp-priority": "4096", "mac-table-size": "5000"},
		ExternalIDs: map[string]string{plan.OwnerKey: "demo", "note": "mine"},
	}).port(vswitch.Port{
		Name:        "f-h2",
		OtherConfig: map[string]string{"rstp-path-cost": "2000"},
		ExternalIDs: map[string]string{plan.OwnerKey: "demo", plan.PeerKey: "h2"},
	}, vswitch.Interface{
		Type:    "vxlan",
		Options: options("192.0.2.2", "1"),
		BFD:     map[string]string{"enable": "true"},
	})
	d.interfaces[0].MTURequest = &mtu
	return d
}

func oneTunnelWanted() *plan.OVS {
	return &plan.OVS{Bridge: plan.Bridge{
		Name: "br0", DatapathType: "system", RSTP: true,
		OtherConfig: map[string]string{"rstp-priority": "4096"},
		ExternalIDs: mark("demo"),
		MTU:         1450,
		Ports: []plan.Port{{
			Name: "f-h2", Type: "vxlan",
			OtherConfig: map[string]string{"rstp-path-cost": "2000"},
			ExternalIDs: map[string]string{plan.OwnerKey: "demo", plan.PeerKey: "h2"},
			Options:     options("192.0.2.2", "1"),
			BFD:         map[string]string{"enable": "true"},
		}},
	}}
}

// changes returns the operations as text, the waits left out.
func changes(t *testing.T, have *database, want *plan.OVS) []string {
	t.Helper()
	operations, err := operations(have.snapshot(), "demo", want)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range operations {
		if o.Op == "wait" {
			if *o.Timeout != 0 || len(o.Where) == 0 || len(o.Rows) == 0 {
				t.Errorf("a wait that is not an assertion: %+v", o)
			}
			continue
		}
		line := o.Op + " " + o.Table
		for _, c := range o.Where {
			line += " " + text(c.Value)
		}
		for _, column := range slices.Sorted(maps.Keys(o.Row)) {
			line += " " + column + "=" + text(o.Row[column])
		}
		for _, m := range o.Mutations {
			line += " " + m.Column + " " + string(m.Mutator) + " " + text(m.Value)
		}
		lines = append(lines, line)
	}
	return lines
}

// text writes a value the same whenever it is the same.
func text(value any) string {
	switch v := value.(type) {
	case ovsdb.UUID:
		return v.GoUUID
	case ovsdb.OvsSet:
		var elements []string
		for _, element := range v.GoSet {
			elements = append(elements, text(element))
		}
		return "[" + strings.Join(elements, " ") + "]"
	case ovsdb.OvsMap:
		var pairs []string
		for key, value := range v.GoMap {
			pairs = append(pairs, text(key)+"="+text(value))
		}
		slices.Sort(pairs)
		return "{" + strings.Join(pairs, " ") + "}"
	}
	return fmt.Sprint(value)
}

func TestOperations(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(d *database, o *plan.OVS)
		want   []string
	}{
		{"nothing differs", func(*database, *plan.OVS) {}, nil},
		{"a tree goes from RSTP to STP", func(_ *database, o *plan.OVS) {
			o.RSTP, o.STP = false, true
			o.OtherConfig = map[string]string{"stp-priority": "4096"}
		}, []string{
			"update Bridge bridge-br0 rstp_enable=false stp_enable=true",
			"mutate Bridge bridge-br0 other_config delete [rstp-priority] other_config insert {stp-priority=4096}",
		}},
		{"a key changes", func(_ *database, o *plan.OVS) { o.OtherConfig["rstp-priority"] = "0" }, []string{
			"mutate Bridge bridge-br0 other_config delete [rstp-priority] other_config insert {rstp-priority=0}",
		}},
		{"the MTU goes", func(_ *database, o *plan.OVS) { o.MTU = 0 }, []string{
			"update Interface interface-br0 mtu_request=[]",
		}},
		{"BFD goes", func(_ *database, o *plan.OVS) { o.Ports[0].BFD = nil }, []string{
			"update Interface interface-f-h2 bfd={}",
		}},
		{"a tunnel changes its type", func(_ *database, o *plan.OVS) { o.Ports[0].Type = "gre" }, []string{
			"insert Interface bfd={enable=true} name=f-h2 options={key=1 remote_ip=192.0.2.2} type=gre",
			"insert Port external_ids={fabric-peer=h2 fabric=demo} interfaces=row1 name=f-h2 other_config={rstp-path-cost=2000}",
			"mutate Bridge bridge-br0 ports delete [port-f-h2] ports insert [row2]",
		}},
		{"a tunnel goes, a foreign port stays", func(d *database, o *plan.OVS) {
			d.port(vswitch.Port{Name: "eth1"}, vswitch.Interface{})
			o.Ports = nil
		}, []string{
			"mutate Bridge bridge-br0 ports delete [port-f-h2]",
		}},
		{"the internal port is missing", func(d *database, _ *plan.OVS) { d.bridges[0].Ports = d.bridges[0].Ports[1:] }, []string{
			"insert Interface mtu_request=[1450] name=br0 type=internal",
			"insert Port interfaces=row1 name=br0",
			"mutate Bridge bridge-br0 ports insert [row2]",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			have, want := oneTunnel(), oneTunnelWanted()
			test.change(have, want)
			if diff := cmp.Diff(test.want, changes(t, have, want)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOperationsToRemoveTheBridge(t *testing.T) {
	want := []string{"mutate Open_vSwitch root bridges delete [bridge-br0]"}
	if diff := cmp.Diff(want, changes(t, oneTunnel(), nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOperationsWaitForEachRowThatWasRead(t *testing.T) {
	want := oneTunnelWanted()
	want.Ports[0].BFD = nil
	operations, err := operations(oneTunnel().snapshot(), "demo", want)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range operations {
		if o.Op == "wait" {
			got = append(got, text(o.Where[0].Value))
		}
	}
	if diff := cmp.Diff([]string{"bridge-br0", "interface-br0", "port-br0", "port-f-h2", "interface-f-h2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOperationsRefuseUnmarkedBridge(t *testing.T) {
	want := oneTunnelWanted()
	want.ExternalIDs = nil
	if _, err := operations(new(database).snapshot(), "demo", want); err == nil {
		t.Error("a bridge was made that the fabric would not know again")
	}
}
