// Package ovsdb keeps the fabric's bridge in the Open vSwitch of the host it
// runs on.
package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/ovsfabric/fabric/host/kmod"
	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

// Socket is where ovsdb-server listens.
const Socket = "unix:/var/run/openvswitch/db.sock"

// A Resource is the Open vSwitch part of a host. Each of its methods opens
// its own connection, and each may be called by several goroutines.
type Resource struct {
	endpoint string
	fabric   string
	members  []netip.Addr // whose tunnels Apply may adopt; nil: no one's
}

// New returns the part that belongs to the named fabric, in the database at
// a "unix:PATH" endpoint. The name is how Apply knows what it may take away:
// a row that does not carry it in external_ids is never changed.
func New(endpoint, fabric string) *Resource {
	return &Resource{endpoint: endpoint, fabric: fabric}
}

// Adopt has Apply take a bridge made by hand, with tunnels to members of the
// fabric, for the fabric's, and give it back where it is wanted without a mark.
func (r *Resource) Adopt(q plan.Query) { r.members = q.Members }

// Name returns "Open vSwitch".
func (r *Resource) Name() string { return "Open vSwitch" }

// Observe fills in o.State.OVS, nil where the fabric has no bridge, and what
// o.Facts says of Open vSwitch. An Open vSwitch that does not answer is an
// obstacle, not an error. Maps and slices are never nil.
func (r *Resource) Observe(ctx context.Context, q plan.Query, o *plan.Observation) error {
	s, err := dial(ctx, r.endpoint)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		obstacle := unreachable(ctx, r.path(), err)
		obstacle.Blind = true
		o.Obstacles = append(o.Obstacles, obstacle)
		return nil
	}
	defer s.close()
	have, err := s.read(ctx)
	if err != nil {
		return err
	}
	if q.Adopt {
		have.members = q.Members
	}
	o.State.OVS = state(have, q.Fabric)
	o.Facts.OVSVersion = version(have)
	inKernel, err := kernelHasDatapath()
	if err != nil {
		return err
	}
	o.Facts.DatapathTypes = datapathTypes(have, inKernel)
	kernel, err := kmod.Running()
	if err != nil {
		return err
	}
	o.Facts.Kernel = kernel.Release
	if o.Facts.KernelLacks, err = kernel.Obstacles(inKernel, q.Tunnel); err != nil {
		return err
	}
	o.Facts.NetdevBridges = netdevBridges(have, q.Fabric)
	if o.Facts.TreeRoot, err = handMadeRoot(have, q); err != nil {
		return err
	}
	for _, b := range have.own(q.Fabric) {
		_, foreign := have.divide(b, q.Fabric)
		for _, port := range foreign {
			o.Facts.ForeignPorts = append(o.Facts.ForeignPorts, b.Name+" "+port)
		}
	}
	o.Facts.UDP = append(o.Facts.UDP, spares(have, q)...)
	o.Obstacles = append(o.Obstacles, obstacles(have, q)...)
	inTheWay, err := devices(have, q)
	if err != nil {
		return err
	}
	o.Obstacles = append(o.Obstacles, inTheWay...)
	running, err := switchRuns(r.path())
	if err != nil {
		return err
	}
	if !running {
		o.Obstacles = append(o.Obstacles, notRunning(inKernel, o.Facts.KernelLacks))
		return nil
	}
	o.Obstacles = append(o.Obstacles, r.steered(ctx, have, q)...)
	return nil
}

// attempts is how often Apply starts again after somebody else changed the
// rows that it was about to change.
const attempts = 5

// Apply brings the bridges to want.OVS in one transaction, or takes them away if
// that is nil, and returns when Open vSwitch has configured it. Where edge ports
// are new (plan.Port.HeldEdge), a second transaction lets them in. Where all is
// there already it writes nothing.
//
// A row in the way that is not the fabric's is an error that names it, and
// so are foreign ports of a bridge that shall go. An error that comes after
// the transaction leaves the database as wanted.
func (r *Resource) Apply(ctx context.Context, want plan.HostState) error {
	s, err := dial(ctx, r.endpoint)
	if err != nil {
		return fmt.Errorf("connecting to Open vSwitch: %w", err)
	}
	defer s.close()
	root, number, err := r.commit(ctx, s, want.OVS)
	if err != nil {
		return err
	}
	letIn, retried := false, false
	for {
		failed := r.settle(ctx, s, root, number, want.OVS)
		_, held := errors.AsType[*heldError](failed)
		_, unmade := errors.AsType[*unmadeError](failed)
		switch {
		case held && !letIn:
			letIn = true
			root, number, err = r.commit(ctx, s, want.OVS)
		case unmade && !retried:
			// ovs-vswitchd tries again what it could not do only when the database
			// changes. Once more is needed where a tunnel takes the place of another
			// one: Open vSwitch 3.1 adds it before the old one is quite gone, "File
			// exists". It also helps where the user has mended the cause meanwhile.
			retried = true
			number, err = s.commit(ctx, root, nil)
		default:
			return failed
		}
		if err != nil {
			return errors.Join(failed, err)
		}
	}
}

// settle returns what Open vSwitch could not make of a configuration once it
// has taken it over.
func (r *Resource) settle(ctx context.Context, s *session, root string, number int, want *plan.OVS) error {
	running, err := switchRuns(r.path())
	if err != nil {
		return err
	}
	if !running {
		return errors.New("the database says what is wanted, and ovs-vswitchd is not running: systemctl restart openvswitch-switch")
	}
	if err := s.configured(ctx, root, number); err != nil {
		return fmt.Errorf("waiting for ovs-vswitchd to configure the bridge: %w", err)
	}
	if want != nil && want.RSTP {
		_ = r.moveTree(ctx) // or it moves at the next tick
	}
	have, err := s.read(ctx)
	if err != nil {
		return err
	}
	if want != nil {
		for _, b := range bridges(want) {
			err = errors.Join(err, failures(have, b))
		}
	}
	if err != nil {
		return &unmadeError{err}
	}
	if err := removeLeftovers(have, r.fabric); err != nil {
		return err
	}
	if want != nil && edgesAreHeld(state(have, r.fabric), want) {
		return &heldError{}
	}
	return nil
}

// A heldError means that edge ports are made, and still have to be let into the
// tree.
type heldError struct{}

func (*heldError) Error() string { return "edge ports are still held out of the tree" }

// edgesAreHeld tells whether a patch port is held out of the tree that is not to be.
func edgesAreHeld(has, want *plan.OVS) bool {
	wanted := make(map[string]bool)
	for _, p := range want.Patches {
		wanted[p.Name] = !p.IsHeld()
	}
	return has != nil && slices.ContainsFunc(has.Patches, func(p plan.Port) bool { return wanted[p.Name] && p.IsHeld() })
}

// An unmadeError is what ovs-vswitchd could not make of a configuration.
type unmadeError struct{ error }

func (e *unmadeError) Unwrap() error { return e.error }

// commit returns the number of the configuration that holds what is wanted,
// and the row that counts them.
func (r *Resource) commit(ctx context.Context, s *session, want *plan.OVS) (root string, number int, err error) {
	for range attempts {
		var have *snapshot
		if have, err = s.read(ctx); err != nil {
			return "", 0, err
		}
		have.members = r.members
		operations, err := operations(have, r.fabric, want)
		if err != nil {
			return "", 0, err
		}
		if len(operations) == 0 {
			return have.root.UUID, have.root.NextCfg, nil
		}
		number, err = s.commit(ctx, have.root.UUID, operations)
		if err == nil {
			return have.root.UUID, number, nil
		}
		if timedOut := (*ovsdb.TimedOut)(nil); !errors.As(err, &timedOut) {
			return "", 0, fmt.Errorf("changing the Open vSwitch database: %w", err)
		}
	}
	return "", 0, fmt.Errorf("the fabric's bridges were changed by somebody else each of %d times they were about to be changed: stop that, then try again", attempts)
}

// commit runs the operations and returns the number of the configuration
// they make. It fails with *ovsdb.TimedOut where a wait does not hold.
func (s *session) commit(ctx context.Context, root string, operations []ovsdb.Operation) (int, error) {
	operations = append(operations,
		ovsdb.Operation{
			Op: ovsdb.OperationMutate, Table: vswitch.OpenvSwitchTable, Where: whereUUID(root),
			Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("next_cfg", ovsdb.MutateOperationAdd, 1)},
		},
		ovsdb.Operation{
			Op: ovsdb.OperationSelect, Table: vswitch.OpenvSwitchTable, Where: whereUUID(root),
			Columns: []string{"next_cfg"},
		},
		// What is answered for has reached the disk (RFC 7047, 5.2.7).
		ovsdb.Operation{Op: ovsdb.OperationCommit, Durable: new(true)})
	results, err := s.transact(ctx, operations...)
	if err != nil {
		return 0, err
	}
	return integer(results[len(operations)-2], "next_cfg")
}

// failures returns what Open vSwitch could not make of a bridge and each of its
// wanted ports.
func failures(have *snapshot, want plan.Bridge) error {
	bridge := have.bridge(want.Name)
	if bridge == nil {
		return fmt.Errorf("bridge %s is gone: somebody else deleted it", want.Name)
	}
	if local := have.local(bridge); local == nil || failure(local) != "" {
		reason := "no internal port"
		if local != nil {
			reason = failure(local)
		}
		return fmt.Errorf("bridge %s on datapath type %q: %s", bridge.Name, bridge.DatapathType, reason)
	}
	interfaces := make(map[string]vswitch.Interface)
	for _, p := range have.portsOf(bridge) {
		for _, i := range have.interfacesOf(p) {
			interfaces[i.Name] = i
		}
	}
	var errs []error
	for _, p := range portsOf(want) {
		i, ok := interfaces[p.Name]
		if !ok {
			errs = append(errs, fmt.Errorf("port %s is gone: somebody else deleted it", p.Name))
		} else if reason := failure(&i); reason != "" {
			errs = append(errs, fmt.Errorf("port %s: %s", p.Name, reason))
		}
	}
	return errors.Join(errs...)
}

// failure returns why ovs-vswitchd could not make an interface, or "".
func failure(i *vswitch.Interface) string {
	switch {
	case i.Error != nil && *i.Error != "":
		return *i.Error
	case i.Ofport == nil || *i.Ofport == -1:
		return "Open vSwitch could not make it, see the log of ovs-vswitchd"
	}
	return ""
}

// Tree returns the spanning tree as the fabric's bridge sees it now.
func (r *Resource) Tree(ctx context.Context) (wire.TreeStatus, error) {
	s, err := dial(ctx, r.endpoint)
	if err != nil {
		return wire.TreeStatus{}, fmt.Errorf("connecting to Open vSwitch: %w", err)
	}
	defer s.close()
	have, err := s.read(ctx)
	if err != nil {
		return wire.TreeStatus{}, err
	}
	return tree(have, r.fabric)
}

func (r *Resource) path() string { return strings.TrimPrefix(r.endpoint, "unix:") }
