package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/ipam"
	"github.com/ovsfabric/fabric/templates"
	"github.com/ovsfabric/fabric/topology"
)

// Input is everything that a plan follows from.
type Input struct {
	Topology *topology.Topology
	Graph    *topology.Graph        // of the topology; nil: New makes it
	Lock     ipam.Lock              // as ipam.Assign left it: with every host of the topology
	Observed map[string]Observation // by host; nil plans without having asked any
	Missing  map[string]string      // why hosts that were to be observed could not be, by host; they stay as they are
	Programs map[string]string      // build of the fabric binary for each architecture
}

// Plan is what a fabric shall be and what each host has to change for it.
type Plan struct {
	Fabric   string           `json:"fabric"`
	Network  netip.Prefix     `json:"network"`
	Graph    *topology.Graph  `json:"graph"`
	Protocol string           `json:"protocol"`
	bfd      int              // milliseconds between its packets
	begins   bool             // the steps are those in which a fabric begins
	steps    []Step           // what the hosts go through together; Between has the states
	last     []Condition      // before what is desired
	Tree     *topology.Tree   `json:"tree"`
	Checked  topology.Checked `json:"checked"` // what a loss makes of the tree
	MTU      MTU              `json:"mtu"`
	Moves    []Move           `json:"moves,omitempty"` // what carrying it out does to traffic between hosts that stay
	Hosts    []Host           `json:"hosts"`           // the topology's in its order, then removed ones
	Warnings []string         `json:"warnings,omitempty"`
	// Meanwhile is the fabric without the hosts that are missing; nil where none is.
	Meanwhile *Outcome `json:"meanwhile,omitempty"`
}

// Host is one host's part of a plan.
type Host struct {
	Name      string       `json:"name"`
	Removed   bool         `json:"removed,omitempty"` // no longer in the file: everything is taken away
	Site      string       `json:"site,omitempty"`
	Address   netip.Addr   `json:"address"` // in the underlay
	Range     netip.Prefix `json:"range"`
	Gateway   netip.Addr   `json:"gateway"`
	BridgeMAC string       `json:"bridge_mac"`
	Switch    string       `json:"switch,omitempty"`  // version of Open vSwitch
	Observed  bool         `json:"observed"`          // false: changes are against a host without a fabric
	Missing   string       `json:"missing,omitempty"` // why it was not observed though it was to be: nothing changes there
	From      HostState    `json:"from"`              // what was observed
	Between   []HostState  `json:"between,omitempty"` // what all hosts go through together on the way to what is desired
	Desired   HostState    `json:"desired"`
	Changes   []Change     `json:"changes"`
	Impact    []string     `json:"impact,omitempty"`
	Obstacles []Obstacle   `json:"obstacles,omitempty"`
}

// MTU is the largest IP packet that fits everywhere in the fabric, and why.
type MTU struct {
	Value    int    `json:"value"`    // bytes
	Underlay int    `json:"underlay"` // bytes
	Overhead int    `json:"overhead"` // bytes
	Tunnel   string `json:"tunnel"`   // the encapsulation, as people call it
	Why      string `json:"why"`
}

// assumedUnderlayMTU is what a plan takes where no host was asked and the
// file does not say: Ethernet's.
const assumedUnderlayMTU = 1500

// minMTU is the smallest MTU over which IPv4 hosts need not fragment what
// every host must accept (RFC 791, 3.2).
const minMTU = 576

// New works out the plan.
func New(in Input) (*Plan, error) {
	t := in.Topology
	n, err := newNetwork(t, in.Graph, in.Lock)
	if err != nil {
		return nil, err
	}
	mtu, err := n.mtu(in)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Fabric: t.Name, Network: t.Network, Graph: n.graph, Protocol: string(t.Tree.Protocol), bfd: t.Tree.BFD,
		Tree: n.tree, Checked: n.checked, MTU: mtu, Warnings: slices.Clone(n.graph.Warnings),
	}
	spare := sparePort(t, in.Observed)
	shared := templates.Boot(templates.BootParams{Switches: []string{AccessName(DefaultNetwork)}})
	p.Hosts = make([]Host, 0, len(t.Hosts))
	for _, h := range t.Hosts {
		o, observed := in.Observed[h.Name]
		hw := n.mac(h.Name)
		host := Host{
			Name: h.Name, Site: h.Site, Address: h.Address, Range: n.entries[h.Name].Range, Gateway: n.gateway(h.Name),
			BridgeMAC: macString(hw), Switch: o.Facts.OVSVersion, Observed: observed,
		}
		datapath := chooseDatapath(t.Datapath, o.Facts.DatapathTypes)
		if observed {
			host.Obstacles = append(host.Obstacles, versionObstacles(datapath, o.Facts)...)
			host.Obstacles = append(host.Obstacles, datapathObstacles(datapath, o.Facts)...)
			host.Obstacles = append(host.Obstacles, PortObstacles(t.Tunnel.Port, spare, o.Facts)...)
			p.Warnings = append(p.Warnings, sourceWarnings(h, o.Facts)...)
			p.Warnings = append(p.Warnings, swarmWarnings(h.Name, t.Tunnel.Port, spare, o.Facts)...)
		}
		host.Desired = HostState{
			OVS:    n.ovs(h.Name, datapath, mtu.Value).named(o.State.OVS),
			Links:  n.linuxBridge(h.Name, mtu.Value),
			Docker: n.docker(h.Name, mtu.Value),
		}
		if host.Desired.Boot, err = boot(t.Name, host.Desired.Links, shared, in.Programs[o.Facts.Arch]); err != nil {
			return nil, err
		}
		if why, missing := in.Missing[h.Name]; missing {
			host.Missing = why
		} else {
			host.compare(o)
		}
		for _, place := range o.Facts.AlsoMadeBy {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %s makes one of the fabric's bridges at boot too: take that out, or a reboot mixes both set-ups", h.Name, place))
		}
		if root := p.Tree.Root; o.Facts.TreeRoot == p.Protocol && h.Name != root {
			p.Warnings = append(p.Warnings, movedByAdoption(h.Name, root, t.Tree.Protocol))
		}
		if o.Facts.Interrupted {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: an apply was cut off here, so it may look half done; fabric apply takes it back first", h.Name))
		}
		p.Hosts = append(p.Hosts, host)
	}
	for _, e := range in.Lock.Removed {
		if why, missing := in.Missing[e.Name]; missing {
			p.Warnings = append(p.Warnings, leftBehind(e.Name, why))
		}
		o, observed := in.Observed[e.Name]
		if !observed {
			continue
		}
		host := Host{Name: e.Name, Removed: true, Range: e.Range, Gateway: e.Gateway(), Observed: true}
		host.compare(o)
		p.Hosts = append(p.Hosts, host)
	}
	if missing := p.Missing(); len(missing) > 0 {
		var lost []topology.Failure
		for _, name := range missing {
			lost = append(lost, topology.Failure{Host: name})
		}
		meanwhile := p.Fail(lost...)
		p.Meanwhile = &meanwhile
		return p, nil // hosts that do not answer cannot go along in steps
	}
	p.plannedMoves()
	p.accessFirst()
	return p, nil
}

// leftBehind warns of a host that was removed from the file and cannot be
// asked.
func leftBehind(name, why string) string {
	return fmt.Sprintf("%s: %s; it was removed from the file, and what the fabric made there stays until it answers an apply; fabric release --force %[1]s gives it up", name, why)
}

// Missing names the hosts of the topology that were to be observed and could
// not be.
func (p *Plan) Missing() []string {
	var names []string
	for _, h := range p.Hosts {
		if h.Missing != "" {
			names = append(names, h.Name)
		}
	}
	return names
}

// Teardown is the plan that takes the whole fabric away from the observed
// hosts. Missing is why the others of the names could not be.
func Teardown(fabric string, network netip.Prefix, observed map[string]Observation, missing map[string]string, names []string) *Plan {
	p := &Plan{Fabric: fabric, Network: network}
	for _, name := range names {
		if why, gone := missing[name]; gone {
			p.Warnings = append(p.Warnings, leftBehind(name, why))
		}
		o, ok := observed[name]
		if !ok {
			continue
		}
		host := Host{Name: name, Removed: true, Observed: true}
		host.compare(o)
		p.Hosts = append(p.Hosts, host)
	}
	return p
}

// compare fills in what changes from what was observed to what is desired.
func (h *Host) compare(o Observation) {
	h.Obstacles = append(InTheWay(o, h.Desired), h.Obstacles...)
	if o.Facts.LiveRestore && len(o.Facts.Containers) > 0 && o.State.Docker != nil && RestartsDocker(o.State.Docker, h.Desired.Docker) {
		h.Obstacles = append(h.Obstacles, Obstacle{
			What: fmt.Sprintf("dockerd runs with live-restore and %d containers: it ignores changed network settings as long as they run", len(o.Facts.Containers)),
			Cure: "stop the containers, or set live-restore to false in daemon.json and systemctl reload docker for the time of the apply",
		})
	}
	if RestartsDocker(o.State.Docker, h.Desired.Docker) {
		h.Obstacles = append(h.Obstacles, o.Facts.NoRestart...)
	}
	if h.Desired == (HostState{}) && len(o.Facts.ForeignPorts) > 0 {
		h.Obstacles = append(h.Obstacles, Obstacle{
			What:   fmt.Sprintf("somebody else's ports are on the fabric's bridges: %s", strings.Join(o.Facts.ForeignPorts, ", ")),
			Cure:   "move them to a bridge of their own, or ovs-vsctl del-port BRIDGE PORT",
			Always: true,
		})
	}
	h.From = o.State
	h.Changes = Diff(o.State, h.Desired)
	h.Impact = impact(o, h.Desired)
}

// MaxDepth is how many hops from the root the tree carries news of it, as the
// bridges are set.
func (p *Plan) MaxDepth() int {
	if p.Protocol == string(topology.RSTP) {
		return maxAge(p.Checked.WorstDepth)
	}
	return topology.Protocol(p.Protocol).MaxDepth()
}

// Kept is the plan of the hosts that stay.
func (p *Plan) Kept() *Plan { return p.part(false) }

// Gone is the plan of the hosts that were removed.
func (p *Plan) Gone() *Plan { return p.part(true) }

func (p *Plan) part(removed bool) *Plan {
	part := *p
	part.Hosts = slices.DeleteFunc(slices.Clone(p.Hosts), func(h Host) bool { return h.Removed != removed })
	return &part
}

// Empty reports whether there is nothing to do anywhere.
func (p *Plan) Empty() bool {
	for _, h := range p.Hosts {
		if len(h.Changes) > 0 {
			return false
		}
	}
	return true
}

// Joined is the link of Open vSwitch that the host's Linux bridge has in a state.
func (s HostState) Joined() string {
	if s.Links == nil {
		return ""
	}
	return s.Links.Member
}

// Networks are those whose access bridges the host is to have.
func (h Host) Networks() []string {
	var names []string
	if h.Desired.OVS != nil {
		for _, b := range h.Desired.OVS.Access {
			names = append(names, b.ExternalIDs[NetworkKey])
		}
	}
	return names
}

// Steps lists the states that the host is brought to, one after the other; the last is what is desired.
func (h Host) Steps() []HostState { return append(slices.Clone(h.Between), h.Desired) }

// Obstructed lists the hosts that have something in the fabric's way.
func (p *Plan) Obstructed() []Host {
	var hosts []Host
	for _, h := range p.Hosts {
		if len(h.Obstacles) > 0 {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// Queries says what to ask each host of the topology, or one that is no
// longer in it. All links are gone through once, however many hosts are
// asked for.
func Queries(t *topology.Topology, graph *topology.Graph) func(host string) Query {
	addresses := make(map[string]netip.Addr, len(t.Hosts))
	members := make([]netip.Addr, 0, len(t.Hosts))
	for _, h := range t.Hosts {
		addresses[h.Name] = h.Address
		members = append(members, h.Address)
	}
	peers := make(map[string][]netip.Addr, len(t.Hosts))
	ports := make(map[string][]string, len(t.Hosts))
	add := func(host, peer string) {
		peers[host] = append(peers[host], addresses[peer])
		ports[host] = append(ports[host], portName(t.Tunnel.Type, peer))
	}
	for _, l := range graph.Links {
		add(l.A, l.B)
		add(l.B, l.A)
	}
	return func(host string) Query {
		q := Query{
			Fabric: t.Name, DockerBridge: t.Docker.Bridge, Network: t.Network,
			Tunnel: string(t.Tunnel.Type), TunnelPort: t.Tunnel.Port, Peers: peers[host], Members: members,
			Bridges: []string{BridgeName}, Ports: ports[host],
		}
		if _, in := addresses[host]; in {
			q.Bridges = append(q.Bridges, AccessName(DefaultNetwork))
			q.Ports = append(slices.Clone(q.Ports), trunkPatch(DefaultNetwork), accessPatch(DefaultNetwork))
		}
		return q
	}
}

// mtu finds the smallest underlay MTU on any tunnel's way and takes the
// encapsulation off it.
func (n *network) mtu(in Input) (MTU, error) {
	t := n.topology
	ipv6 := slices.ContainsFunc(t.Hosts, func(h topology.Host) bool { return h.Address.Is6() })
	m := MTU{Underlay: t.UnderlayMTU, Overhead: t.Tunnel.Overhead(ipv6), Tunnel: tunnelName(t.Tunnel)}
	source := "underlay.mtu in the file"
	if m.Underlay == 0 {
		m.Underlay, source = n.observedMTU(in.Observed)
	}
	m.Value = m.Underlay - m.Overhead
	family := "IPv4"
	if ipv6 {
		family = "IPv6"
	}
	m.Why = fmt.Sprintf("%d (%s) less %d for %s over %s", m.Underlay, source, m.Overhead, m.Tunnel, family)
	if host, live := n.liveMTU(in); live != 0 && live < m.Value && t.UnderlayMTU == 0 {
		m.Value, m.Underlay = live, live+m.Overhead
		m.Why = fmt.Sprintf("what %s has: it is not raised while hosts that may be the reason for it do not answer", host)
	}
	if m.Value < minMTU {
		return m, fmt.Errorf("the fabric's MTU would be %d: %s; at least %d is needed", m.Value, m.Why, minMTU)
	}
	return m, nil
}

// liveMTU is the smallest MTU that the fabric has on any host now, where not
// all of its hosts could be asked for the ways to their peers. It is 0 where
// they could, and on a fabric that is new.
func (n *network) liveMTU(in Input) (host string, mtu int) {
	if !slices.ContainsFunc(n.topology.Hosts, func(h topology.Host) bool { return in.Missing[h.Name] != "" }) {
		return "", 0
	}
	for _, h := range n.topology.Hosts {
		if s := in.Observed[h.Name].State.OVS; s != nil && s.MTU != 0 && (mtu == 0 || s.MTU < mtu) {
			host, mtu = h.Name, s.MTU
		}
	}
	return host, mtu
}

func tunnelName(t topology.Tunnel) string {
	name := map[topology.TunnelType]string{
		topology.VXLAN: "VXLAN", topology.GRE: "GRE", topology.Geneve: "Geneve",
	}[t.Type]
	if t.Type == topology.GRE && t.HasKey {
		name += " with key"
	}
	if t.Type == topology.GRE && t.Checksum {
		name += " with checksum"
	}
	return name
}

func (n *network) observedMTU(observed map[string]Observation) (mtu int, source string) {
	for _, h := range n.topology.Hosts {
		for _, l := range n.links[h.Name] {
			peer := other(l, h.Name)
			for _, path := range observed[h.Name].Facts.Underlay {
				if path.Peer != n.hosts[peer].Address || path.MTU == 0 {
					continue
				}
				if mtu == 0 || path.MTU < mtu {
					mtu, source = path.MTU, fmt.Sprintf("%s on %s towards %s", path.Device, h.Name, peer)
				}
			}
		}
	}
	if mtu != 0 {
		return mtu, source
	}
	// A fabric of one host has no way to any peer, and without having asked
	// the hosts none is known.
	return assumedUnderlayMTU, "assumed"
}

func chooseDatapath(wanted topology.Datapath, supported []string) string {
	switch {
	case wanted != topology.DatapathAuto:
		return string(wanted)
	case len(supported) == 0 || slices.Contains(supported, string(topology.DatapathSystem)): // an ovs-vswitchd that never ran names none
		return string(topology.DatapathSystem)
	default:
		return string(topology.DatapathNetdev)
	}
}

// datapathObstacles tells why tunnels could not carry anything on the
// chosen datapath.
func datapathObstacles(datapath string, f Facts) []Obstacle {
	if datapath != string(topology.DatapathNetdev) {
		found := slices.Clone(f.KernelLacks)
		if len(f.DatapathTypes) == 0 || slices.Contains(f.DatapathTypes, datapath) {
			return found
		}
		if len(found) == 0 {
			found = append(found, Obstacle{
				What: fmt.Sprintf("Open vSwitch has no %q datapath here, only %s", datapath, strings.Join(f.DatapathTypes, ", ")),
				Cure: "use an Open vSwitch that is built with it, such as the package openvswitch-switch",
			})
		}
		found[0].Cure += "; or set datapath: auto"
		return found
	}
	// The userspace datapath hands encapsulated packets to another bridge
	// of its own, never to the kernel's network stack.
	for _, path := range f.Underlay {
		if path.Device == "" || slices.Contains(f.NetdevBridges, path.Device) {
			continue
		}
		o := Obstacle{
			What: fmt.Sprintf("packets to %s leave by %s, which is no Open vSwitch bridge: the userspace datapath cannot send tunnels there", path.Peer, path.Device),
			Cure: "set datapath: system, or put the network card and its address on a bridge with datapath_type=netdev",
		}
		if len(f.KernelLacks) > 0 {
			o.What += fmt.Sprintf("; and the kernel's cannot be used: %s", f.KernelLacks[0].What)
			o.Cure = fmt.Sprintf("%s; or put the network card and its address on a bridge with datapath_type=netdev", f.KernelLacks[0].Cure)
		}
		return []Obstacle{o}
	}
	return nil
}

// sourceWarnings tells where packets leave with another address than the
// one that the peers' tunnels expect.
func sourceWarnings(h topology.Host, f Facts) []string {
	var warnings []string
	for _, path := range f.Underlay {
		if path.Source.IsValid() && path.Source != h.Address {
			warnings = append(warnings, fmt.Sprintf(
				"hosts.%s.address is %s, but its packets to %s leave as %s: unless something translates them, the tunnel's other end drops them",
				h.Name, h.Address, path.Peer, path.Source))
		}
	}
	return warnings
}

// impact says what the users of a host's containers feel.
func impact(o Observation, want HostState) []string {
	if !RestartsDocker(o.State.Docker, want.Docker) {
		return nil
	}
	onBridge := 0
	var gone []string
	for _, c := range o.Facts.Containers {
		if c.OnBridge {
			onBridge++
		}
		if c.AutoRemove {
			gone = append(gone, c.Name)
		}
	}
	var felt []string
	switch len(o.Facts.Containers) {
	case 0:
		felt = append(felt, "dockerd restarts")
	case 1:
		felt = append(felt, "dockerd restarts: 1 running container loses its network while it is stopped and started again")
	default:
		felt = append(felt, fmt.Sprintf("dockerd restarts: %d running containers lose their network while they are stopped and started again", len(o.Facts.Containers)))
	}
	if onBridge > 0 && want.Docker != nil {
		felt = append(felt, fmt.Sprintf("%d of them on the default bridge may get another address, out of the host's range", onBridge))
	}
	if len(gone) > 0 {
		felt = append(felt, fmt.Sprintf("started with --rm, and so deleted when stopped: %s", strings.Join(gone, ", ")))
	}
	return felt
}

// RestartsDocker reports whether dockerd has to be restarted to get from
// one state to the other: it reads none of the fabric's keys again later.
func RestartsDocker(observed, want *Docker) bool {
	if observed == nil || want == nil {
		return observed != want
	}
	return observed.Config != want.Config || observed.Live != want.Live
}
