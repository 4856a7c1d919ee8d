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
	t := &transaction{have: have, fabric: fabric}
	var wanted []plan.Bridge
	if want != nil {
		wanted = bridges(want)
	}
	for _, b := range have.own(fabric) {
		if slices.ContainsFunc(wanted, func(w plan.Bridge) bool { return w.Name == b.Name }) {
			continue
		}
		if _, foreign := have.divide(b, fabric); len(foreign) > 0 {
			return nil, fmt.Errorf("bridge %s has ports that are not the fabric's (%s) and is left as it is: take them off with ovs-vsctl del-port",
				b.Name, strings.Join(foreign, ", "))
		}
		t.remove(b)
	}
	if err := t.clashes(wanted); err != nil {
		return nil, err
	}
	for _, w := range wanted {
		bridge := have.bridge(w.Name)
		goesBack := w.Name == plan.BridgeName && have.members != nil && w.ExternalIDs[plan.OwnerKey] == "" // from an adoption
		switch {
		case w.ExternalIDs[plan.OwnerKey] != fabric && !goesBack:
			return nil, fmt.Errorf("bridge %s is wanted without the mark of fabric %q", w.Name, fabric)
		case bridge == nil:
			t.create(w)
		case !have.mine(bridge, fabric):
			return nil, fmt.Errorf("bridge %s exists and is not the fabric's", bridge.Name)
		default:
			t.update(bridge, w)
		}
	}
	if len(t.changes) == 0 {
		return nil, nil
	}
	return append(t.waits, t.changes...), nil
}

// bridges lists the bridges that are wanted, the trunk first.
func bridges(want *plan.OVS) []plan.Bridge {
	if want.Name == "" {
		return want.Access
	}
	return append([]plan.Bridge{want.Bridge}, want.Access...)
}

// portsOf lists all ports that are wanted of a bridge.
func portsOf(b plan.Bridge) []plan.Port { return slices.Concat(b.Ports, b.Patches) }

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
func (t *transaction) clashes(want []plan.Bridge) error {
	own := make(map[string]bool)
	for _, b := range t.have.own(t.fabric) {
		own[b.Name] = true
		ports, _ := t.have.divide(b, t.fabric)
		for _, p := range ports {
			own[p.Name] = true
		}
	}
	wanted := make(map[string]bool)
	for _, b := range want {
		wanted[b.Name] = true
		for _, p := range portsOf(b) {
			wanted[p.Name] = true
		}
	}
	var errs []error
	for _, b := range t.have.bridges {
		for _, p := range t.have.portsOf(&b) {
			if wanted[p.Name] && !own[p.Name] && b.Name != p.Name {
				errs = append(errs, fmt.Errorf("port %s exists on bridge %s and is not the fabric's", p.Name, b.Name))
			}
		}
	}
	return errors.Join(errs...)
}

func (t *transaction) create(want plan.Bridge) {
	// until "!=" a row of that name is the form of "there is none" that the
	// server understands.
	t.waits = append(t.waits, ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: vswitch.BridgeTable, Timeout: new(int), Until: "!=",
		Where:   []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, want.Name)},
		Columns: []string{"name"}, Rows: []ovsdb.Row{{"name": want.Name}},
	})
	ports := []any{t.insertLocal(want)}
	for _, p := range portsOf(want) {
		ports = append(ports, t.insertPort(p))
	}
	bridge := t.insert(vswitch.BridgeTable, ovsdb.Row{
		"name":          want.Name,
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

func (t *transaction) update(bridge *vswitch.Bridge, want plan.Bridge) {
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
		add = append(add, t.insertLocal(want))
	} else {
		t.waits = append(t.waits, wait(vswitch.InterfaceTable, local.UUID, "==", 0, ovsdb.Row{"mtu_request": optional(local.MTURequest)}))
		if mtu(local) != want.MTU {
			t.update1(vswitch.InterfaceTable, local.UUID, ovsdb.Row{"mtu_request": mtuRequest(want.MTU)})
		}
	}

	if p := t.have.localPort(bridge); p != nil {
		t.waits = append(t.waits, wait(vswitch.PortTable, p.UUID, "==", 0, ovsdb.Row{"trunks": integers(p.Trunks)}))
		if !slices.Equal(slices.Sorted(slices.Values(p.Trunks)), want.LocalVLANs) {
			t.update1(vswitch.PortTable, p.UUID, ovsdb.Row{"trunks": integers(want.LocalVLANs)})
		}
	}

	own, _ := t.have.divide(bridge, t.fabric)
	have := make(map[string]vswitch.Port, len(own))
	for _, p := range own {
		t.waitPort(p)
		have[p.Name] = p
	}
	for _, w := range portsOf(want) {
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
	if !equal(p.Tag, want.Tag) {
		t.update1(vswitch.PortTable, p.UUID, ovsdb.Row{"tag": optional(want.Tag)})
	}

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
		"tag":          optional(p.Tag),
	}))
	for _, i := range t.have.interfacesOf(p) {
		t.waits = append(t.waits, wait(vswitch.InterfaceTable, i.UUID, "==", 0, ovsdb.Row{
			"type":    i.Type,
			"options": ovsMap(i.Options),
			"bfd":     ovsMap(i.BFD),
		}))
	}
}

func (t *transaction) insertLocal(b plan.Bridge) ovsdb.UUID {
	i := t.insert(vswitch.InterfaceTable, ovsdb.Row{
		"name": b.Name, "type": "internal", "mtu_request": mtuRequest(b.MTU),
	})
	row := ovsdb.Row{"name": b.Name, "interfaces": i}
	if len(b.LocalVLANs) > 0 {
		row["trunks"] = integers(b.LocalVLANs)
	}
	return t.insert(vswitch.PortTable, row)
}

func (t *transaction) insertPort(p plan.Port) ovsdb.UUID {
	config := p.OtherConfig
	if held, isEdge := p.HeldEdge(); isEdge {
		config = held // Apply lets it in
	}
	i := t.insert(vswitch.InterfaceTable, ovsdb.Row{
		"name": p.Name, "type": p.Type, "options": ovsMap(p.Options), "bfd": ovsMap(p.BFD),
	})
	row := ovsdb.Row{
		"name": p.Name, "interfaces": i,
		"other_config": ovsMap(config), "external_ids": ovsMap(p.ExternalIDs),
	}
	if p.Tag != nil {
		row["tag"] = optional(p.Tag)
	}
	return t.insert(vswitch.PortTable, row)
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
