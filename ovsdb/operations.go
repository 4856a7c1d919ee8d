package ovsdb

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

// operations returns what brings the database from have to want: none if it
// is there already. They start with waits for every row that the others
// rest on, so that the transaction fails, and changes nothing, where
// somebody else changed one meanwhile.
func operations(have *snapshot, fabric string, want *plan.OVS) ([]ovsdb.Operation, error) {
	bridge := have.bridge()
	mine := bridge != nil && have.mine(bridge, fabric)
	t := &transaction{have: have, fabric: fabric}
	switch {
	case want == nil && !mine:
	case want == nil:
		if _, foreign := have.divide(bridge, fabric); len(foreign) > 0 {
			return nil, fmt.Errorf("bridge %s has ports that are not the fabric's (%s) and is left as it is: take them off with ovs-vsctl del-port",
				bridge.Name, strings.Join(foreign, ", "))
		}
		t.remove(bridge)
	case want.ExternalIDs[plan.OwnerKey] != fabric && (have.members == nil || want.ExternalIDs[plan.OwnerKey] != ""): // else it goes back from an adoption
		return nil, fmt.Errorf("bridge %s is wanted without the mark of fabric %q", want.Name, fabric)
	case bridge != nil && !mine:
		return nil, fmt.Errorf("bridge %s exists and is not the fabric's", bridge.Name)
	default:
		if err := t.clashes(bridge, want); err != nil {
			return nil, err
		}
		if bridge == nil {
			t.create(want)
		} else {
			t.update(bridge, want)
		}
	}
	if len(t.changes) == 0 {
		return nil, nil
	}
	return append(t.waits, t.changes...), nil
}

// A transaction collects operations.
type transaction struct {
	have    *snapshot
	fabric  string
	waits   []ovsdb.Operation
	changes []ovsdb.Operation
	inserts int // makes named UUIDs unique
}

// clashes finds the rows that have a wanted name and are not the fabric's:
// names are unique in the whole database.
func (t *transaction) clashes(bridge *vswitch.Bridge, want *plan.OVS) error {
	own := map[string]bool{plan.BridgeName: bridge != nil}
	if bridge != nil {
		ports, _ := t.have.divide(bridge, t.fabric)
		for _, p := range ports {
			own[p.Name] = true
		}
	}
	wanted := []string{plan.BridgeName}
	for _, p := range want.Ports {
		wanted = append(wanted, p.Name)
	}
	var errs []error
	for _, b := range t.have.bridges {
		for _, p := range t.have.portsOf(&b) {
			if slices.Contains(wanted, p.Name) && !own[p.Name] {
				errs = append(errs, fmt.Errorf("port %s exists on bridge %s and is not the fabric's", p.Name, b.Name))
			}
		}
	}
	return errors.Join(errs...)
}

func (t *transaction) create(want *plan.OVS) {
	// until "!=" a row of that name is the form of "there is none" that the
	// server understands.
	t.waits = append(t.waits, ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: vswitch.BridgeTable, Timeout: new(int), Until: "!=",
		Where:   []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, plan.BridgeName)},
		Columns: []string{"name"}, Rows: []ovsdb.Row{{"name": plan.BridgeName}},
	})
	ports := []any{t.insertLocal(want.MTU)}
	for _, p := range want.Ports {
		ports = append(ports, t.insertPort(p))
	}
	bridge := t.insert(vswitch.BridgeTable, ovsdb.Row{
		"name":          plan.BridgeName,
		"datapath_type": want.DatapathType,
		"stp_enable":    want.STP,
		"rstp_enable":   want.RSTP,
		"other_config":  ovsMap(want.OtherConfig),
		"external_ids":  ovsMap(want.ExternalIDs),
		"ports":         ovsdb.OvsSet{GoSet: ports},
	})
	t.mutate(vswitch.OpenvSwitchTable, t.have.root.UUID, setMutation("bridges", ovsdb.MutateOperationInsert, bridge))
}

// remove takes the bridge out of the root; the server deletes it and what it
// holds, since nothing else refers to them.
func (t *transaction) remove(bridge *vswitch.Bridge) {
	t.waitBridge(bridge)
	t.mutate(vswitch.OpenvSwitchTable, t.have.root.UUID,
		setMutation("bridges", ovsdb.MutateOperationDelete, ovsdb.UUID{GoUUID: bridge.UUID}))
}

func (t *transaction) update(bridge *vswitch.Bridge, want *plan.OVS) {
	t.waitBridge(bridge)
	row := ovsdb.Row{}
	if bridge.DatapathType != want.DatapathType {
		row["datapath_type"] = want.DatapathType
	}
	if bridge.STPEnable != want.STP {
		row["stp_enable"] = want.STP
	}
	if bridge.RSTPEnable != want.RSTP {
		row["rstp_enable"] = want.RSTP
	}
	t.update1(vswitch.BridgeTable, bridge.UUID, row)

	mutations := mapMutations("other_config", bridge.OtherConfig, want.OtherConfig, plan.OwnedBridgeOtherConfig)
	mutations = append(mutations, mapMutations("external_ids", bridge.ExternalIDs, want.ExternalIDs, plan.OwnedBridgeExternalIDs)...)

	var add, drop []any
	if local := t.have.local(bridge); local == nil {
		add = append(add, t.insertLocal(want.MTU))
	} else {
		t.waits = append(t.waits, wait(vswitch.InterfaceTable, local.UUID, "==", 0, ovsdb.Row{"mtu_request": optional(local.MTURequest)}))
		if mtu(local) != want.MTU {
			t.update1(vswitch.InterfaceTable, local.UUID, ovsdb.Row{"mtu_request": mtuRequest(want.MTU)})
		}
	}

	own, _ := t.have.divide(bridge, t.fabric)
	have := make(map[string]vswitch.Port, len(own))
	for _, p := range own {
		t.waitPort(p)
		have[p.Name] = p
	}
	for _, w := range want.Ports {
		p, exists := have[w.Name]
		i := t.have.single(p)
		if !exists || i == nil || i.Type != w.Type { // else a tunnel of another kind under the same name
			add = append(add, t.insertPort(w))
			continue
		}
		t.updatePort(p, *i, w)
		delete(have, w.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		drop = append(drop, ovsdb.UUID{GoUUID: have[name].UUID})
	}
	if len(drop) > 0 {
		mutations = append(mutations, setMutation("ports", ovsdb.MutateOperationDelete, drop...))
	}
	if len(add) > 0 {
		mutations = append(mutations, setMutation("ports", ovsdb.MutateOperationInsert, add...))
	}
	t.mutate(vswitch.BridgeTable, bridge.UUID, mutations...)
}

func (t *transaction) updatePort(p vswitch.Port, i vswitch.Interface, want plan.Port) {
	mutations := mapMutations("other_config", p.OtherConfig, want.OtherConfig, plan.OwnedPortOtherConfig)
	mutations = append(mutations, mapMutations("external_ids", p.ExternalIDs, want.ExternalIDs, plan.OwnedPortExternalIDs)...)
	t.mutate(vswitch.PortTable, p.UUID, mutations...)

	row := ovsdb.Row{}
	if !maps.Equal(i.Options, want.Options) {
		row["options"] = ovsMap(want.Options)
	}
	if !maps.Equal(i.BFD, want.BFD) {
		row["bfd"] = ovsMap(want.BFD)
	}
	t.update1(vswitch.InterfaceTable, i.UUID, row)
}

func (t *transaction) waitBridge(b *vswitch.Bridge) {
	t.waits = append(t.waits, wait(vswitch.BridgeTable, b.UUID, "==", 0, ovsdb.Row{
		"datapath_type": b.DatapathType,
		"stp_enable":    b.STPEnable,
		"rstp_enable":   b.RSTPEnable,
		"other_config":  ovsMap(b.OtherConfig),
		"external_ids":  ovsMap(b.ExternalIDs),
		"ports":         uuids(b.Ports),
	}))
}

func (t *transaction) waitPort(p vswitch.Port) {
	t.waits = append(t.waits, wait(vswitch.PortTable, p.UUID, "==", 0, ovsdb.Row{
		"other_config": ovsMap(p.OtherConfig),
		"external_ids": ovsMap(p.ExternalIDs),
		"interfaces":   uuids(p.Interfaces),
	}))
	for _, i := range t.have.interfacesOf(p) {
		t.waits = append(t.waits, wait(vswitch.InterfaceTable, i.UUID, "==", 0, ovsdb.Row{
			"type":    i.Type,
			"options": ovsMap(i.Options),
			"bfd":     ovsMap(i.BFD),
		}))
	}
}

func (t *transaction) insertLocal(mtu int) ovsdb.UUID {
	i := t.insert(vswitch.InterfaceTable, ovsdb.Row{
		"name": plan.BridgeName, "type": "internal", "mtu_request": mtuRequest(mtu),
	})
	return t.insert(vswitch.PortTable, ovsdb.Row{"name": plan.BridgeName, "interfaces": i})
}

func (t *transaction) insertPort(p plan.Port) ovsdb.UUID {
	i := t.insert(vswitch.InterfaceTable, ovsdb.Row{
		"name": p.Name, "type": p.Type, "options": ovsMap(p.Options), "bfd": ovsMap(p.BFD),
	})
	return t.insert(vswitch.PortTable, ovsdb.Row{
		"name": p.Name, "interfaces": i,
		"other_config": ovsMap(p.OtherConfig), "external_ids": ovsMap(p.ExternalIDs),
	})
}

// insert returns the name by which the transaction's other operations refer
// to the new row.
func (t *transaction) insert(table string, row ovsdb.Row) ovsdb.UUID {
	t.inserts++
	name := fmt.Sprintf("row%d", t.inserts)
	t.changes = append(t.changes, ovsdb.Operation{Op: ovsdb.OperationInsert, Table: table, Row: row, UUIDName: name})
	return ovsdb.UUID{GoUUID: name}
}

func (t *transaction) update1(table, uuid string, row ovsdb.Row) {
	if len(row) > 0 {
		t.changes = append(t.changes, ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: table, Where: whereUUID(uuid), Row: row})
	}
}

func (t *transaction) mutate(table, uuid string, mutations ...ovsdb.Mutation) {
	if len(mutations) > 0 {
		t.changes = append(t.changes, ovsdb.Operation{Op: ovsdb.OperationMutate, Table: table, Where: whereUUID(uuid), Mutations: mutations})
	}
}
