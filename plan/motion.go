package plan

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/topology"
)

// holdKey takes a port out of the tree at once and on its own side only (rstp_port_set_administrative_bridge_port in Open
// vSwitch's lib/rstp.c): its bridge chooses another root port in the same moment, where a deleted port keeps its last news of the
// root for up to 2 s, and a raised cost counts from the next second on.
const holdKey = "rstp-admin-port-state"

const (
	standbyCost     = 20_000_000 // of a new tunnel that must not draw traffic yet; more than any path of the file's costs that a tree could have
	standbyPriority = 61440      // of a host that must not be the root yet, or any more; the worst of 802.1D-2004 9.2.5
)

// Move is a host that changes its place in the tree, with all hosts that reach the others through it.
type Move struct {
	Host     string   `json:"host"`
	From     string   `json:"from"`      // the host that it is reached over now; where an old root is demoted, the one that it will be
	Behind   []string `json:"behind"`    // itself and the hosts that are reached through it, as many as stay
	Pairs    int      `json:"pairs"`     // of hosts that stay, whose path the move changes
	OutageMS int      `json:"outage_ms"` // at most, expected
	Why      string   `json:"why"`
	Joins    bool     `json:"joins,omitempty"` // the tree stays: the host's containers are joined to it by another bridge
}

const inSteps = ", in steps"

// What a move costs, in milliseconds; docs/adr/0011 has the measurements.
const (
	// stepOutage is for a move in steps: what was learned from frames that were under way lasts until the steps have the hosts forget it.
	stepOutage = 300
	// remakeOutage is for tunnels that are made anew under the same name: until both ends have changed, BFD has come up, which sends
	// once a second until then (RFC 5880 6.8.3), and the tree with it.
	remakeOutage = 4000
	// aloneOutage is for hosts that change each on its own: a port that is deleted keeps its last news of the root for up to 2 s.
	aloneOutage = 2500
)

// plannedMoves fills in Moves, and where the tree can be moved without letting go of it, the states that the hosts go through
// together between From and Desired:
//
//  1. New tunnels stand beside the old ones, at a cost that draws no traffic. Tunnels that carry nothing, and will not, are held out
//     of the tree, so that news of a lost root cannot go round in what the next step leaves.
//     Priorities that get better are the new ones, where that makes no other root.
//  2. Costs are the new ones, and the other priorities that get better. Each host whose way to the root is not in the new tree leaves it;
//     of those that leave a removed root all but one.
//  3. The other ends let go. Hosts whose priority gets worse have the worst one, now that there is no loop for the news of a root that is
//     none any more to go round in. To its neighbours a bridge of another priority is another bridge, with worse news, and they would hold on
//     to what they know until it has aged: so those that need its news let go of it, in this step, and
//  4. take it back, as it is.
//
// Desired then takes the old tunnels away, and lets those that are no part of the tree take part in it again.
func (p *Plan) plannedMoves() {
	if !slices.ContainsFunc(p.Hosts, func(h Host) bool { return h.trunk() != nil }) {
		p.beginning()
		return
	}
	if p.Protocol == string(topology.STP) && slices.ContainsFunc(p.Hosts, Host.adopts) {
		p.rootFirst()
		return
	}
	m := newMotion(p)
	if len(m.leaving) == 0 && len(m.demoted) == 0 && m.old.Root == p.Tree.Root {
		return
	}
	outage, why := stepOutage, "goes another way"+inSteps
	switch {
	case m.stp:
		outage, why = outageSTP, "STP waits for news of the root to age, and for ports to listen and learn"
	case !m.beside():
		outage, why = remakeOutage, "tunnels are made anew under the same names"
	default:
		p.take(m.steps())
	}
	p.Moves = m.moves(outage, why)
}

// motion is the way from one tree to the next.
type motion struct {
	plan    *Plan
	old     *topology.Tree
	root    *Host             // of the old tree
	stp     bool              // one of the trees is not RSTP's
	parent  map[string]string // in the old tree
	leaving map[string]bool   // hosts whose way to the root is not in the new tree
	last    string            // the one of them that leaves a removed root after the others
	next    map[[2]string]bool
	demoted map[string]bool    // hosts that their neighbours have to let go of to believe their worse priority
	cut     map[[2]string]bool // tunnels that the first host lets go of because the second one is demoted
}

func newMotion(p *Plan) *motion {
	m := &motion{
		plan: p, stp: p.Protocol != string(topology.RSTP), parent: make(map[string]string), leaving: make(map[string]bool),
		next: make(map[[2]string]bool), demoted: make(map[string]bool), cut: make(map[[2]string]bool),
	}
	m.old = m.present()
	for _, n := range p.Tree.Nodes {
		if n.Parent != "" {
			m.next[[2]string{n.Name, n.Parent}], m.next[[2]string{n.Parent, n.Name}] = true, true
		}
	}
	desired := make(map[string]map[string]Port, len(p.Hosts))
	for _, h := range p.Hosts {
		desired[h.Name] = h.Desired.OVS.byPeer()
	}
	for i, h := range p.Hosts {
		if h.Name == m.old.Root {
			m.root = &p.Hosts[i]
		}
		parent := m.old.Node(h.Name).Parent
		if parent == "" {
			continue
		}
		m.parent[h.Name] = parent
		was := h.trunk().byPeer()[parent]
		if !h.Removed && (!m.next[[2]string{h.Name, parent}] || was.remade(desired[h.Name][parent])) {
			m.leaving[h.Name] = true
		}
	}
	m.last = m.lastOfRemovedRoot()
	m.demote()
	return m
}

// lastOfRemovedRoot is the neighbour of a removed root that is nearest to the new one. Those that leave before it reach the old root
// through it, and know the new one as the way there already. Where it left at once with them, they would tell it, and each other, of
// the root that they had a moment before, until a switch had sent all that it may in a second (TxHoldCount, 802.1D-2004 17.13.12).
func (m *motion) lastOfRemovedRoot() string {
	if !m.root.Removed {
		return ""
	}
	last := ""
	for _, n := range m.plan.Tree.Nodes {
		if m.leaving[n.Name] && m.parent[n.Name] == m.old.Root && (last == "" || n.Depth < m.plan.Tree.Node(last).Depth) {
			last = n.Name
		}
	}
	return last
}

// present predicts the tree of the hosts as they were observed.
func (m *motion) present() *topology.Tree {
	var bridges []topology.Bridge
	ports := make(map[string]map[string]Port)
	for _, h := range m.plan.Hosts {
		if h.trunk() == nil {
			continue
		}
		m.stp = m.stp || !h.trunk().RSTP
		bridges = append(bridges, h.trunk().treeBridge(h.Name))
		ports[h.Name] = h.trunk().byPeer()
	}
	var edges []topology.Edge
	for _, b := range bridges {
		for _, peer := range slices.Sorted(maps.Keys(ports[b.Name])) {
			back, both := ports[peer][b.Name]
			if !both || peer < b.Name {
				continue
			}
			there := ports[b.Name][peer]
			e := topology.Edge{A: b.Name, B: peer}
			e.PortA, e.CostA = there.place()
			e.PortB, e.CostB = back.place()
			edges = append(edges, e)
		}
	}
	return topology.Simulate(bridges, edges)
}

// byPeer lists the tunnels of a bridge by the host at their other end.
func (s *OVS) byPeer() map[string]Port {
	if s == nil {
		return nil
	}
	ports := make(map[string]Port, len(s.Ports))
	for _, p := range s.Ports {
		ports[p.ExternalIDs[PeerKey]] = p
	}
	return ports
}

// treeBridge is the bridge as the tree knows it. What cannot be read is zero: a bridge that nobody configured so.
func (s *OVS) treeBridge(name string) topology.Bridge {
	b := topology.Bridge{Name: name}
	address, priority := s.OtherConfig["rstp-address"], s.OtherConfig["rstp-priority"]
	if s.STP {
		address, priority = s.OtherConfig["stp-system-id"], s.OtherConfig["stp-priority"]
	}
	if mac, err := net.ParseMAC(address); err == nil {
		copy(b.MAC[:], mac)
	}
	n, _ := strconv.ParseUint(priority, 10, 16)
	b.Priority = uint16(n)
	return b
}

// place is the number and the cost of a port in the tree.
func (p Port) place() (number uint16, cost uint32) {
	of := func(key string, bits int) uint64 {
		text, ok := p.OtherConfig["rstp-"+key]
		if !ok {
			text = p.OtherConfig["stp-"+key]
		}
		n, _ := strconv.ParseUint(text, 10, bits)
		return n
	}
	return uint16(of("port-num", 16)), uint32(of("path-cost", 32))
}

// remade tells whether the tunnel is another one under the new configuration.
func (p Port) remade(want Port) bool {
	return p.Name != want.Name || p.Type != want.Type || !maps.Equal(p.Options, want.Options)
}

// demote finds the hosts that get a worse priority while others have news from them that the new tree is made of: the old root, if it
// loses to no other before, and every host with others below it.
func (m *motion) demote() {
	root := m.root.trunk().treeBridge("")
	beaten := m.root.Removed || m.old.Root == m.plan.Tree.Root
	for _, h := range m.plan.Hosts {
		if h.Removed || beaten {
			continue
		}
		b := h.Desired.OVS.treeBridge("")
		if h.trunk() != nil {
			b.Priority = min(b.Priority, h.trunk().treeBridge("").Priority)
		}
		beaten = b.Compare(root) < 0
	}
	for _, h := range m.plan.Hosts {
		if h.Removed || h.trunk() == nil || h.trunk().treeBridge("").Priority >= h.Desired.OVS.treeBridge("").Priority {
			continue
		}
		for _, n := range m.plan.Tree.Nodes {
			if n.Parent == h.Name || h.Name == m.old.Root && !beaten && m.next[[2]string{n.Name, h.Name}] {
				m.cut[[2]string{n.Name, h.Name}], m.demoted[h.Name] = true, true
			}
		}
	}
}

// beside tells whether all new tunnels can stand beside the old ones: none has the name of another one, or its number.
func (m *motion) beside() bool {
	for _, h := range m.plan.Hosts {
		if h.trunk() == nil || h.Desired.OVS == nil {
			continue
		}
		named, numbered := make(map[string]Port), make(map[string]string)
		for _, p := range h.trunk().Ports {
			named[p.Name], numbered[p.OtherConfig["rstp-port-num"]] = p, p.Name
		}
		for _, want := range h.Desired.OVS.Ports {
			if p, there := named[want.Name]; there && p.remade(want) {
				return false
			}
			if name, taken := numbered[want.OtherConfig["rstp-port-num"]]; taken && name != want.Name {
				return false
			}
		}
	}
	return true
}

// steps are those of plannedMoves, in its order.
func (m *motion) steps() []Step {
	var joining Placed
	beside := m.step("new tunnels stand beside the old ones", func(h Host, was *OVS) *OVS {
		s, joins := m.add(h, was)
		joining = append(joining, joins...)
		return s
	})
	steps := []Step{beside, m.step("each host leaves its old way to the root", m.leave)}
	steps[1].Await = []Condition{joining}
	if len(m.demoted) > 0 {
		steps = append(steps, m.step("neighbours let go of a host whose priority gets worse", m.apart))
	}
	return append(steps, m.step("the other ends let go", m.part))
}

// step makes a step of bridges: of what a host's is to be, given the host and what
// its bridge was. All else is as desired, but that packets grow only once there are
// only tunnels that carry them.
func (m *motion) step(name string, bridge func(h Host, was *OVS) *OVS) Step {
	return m.plan.step(name, func(h Host) HostState {
		was := m.newcomer(h.Desired.OVS)
		if h.trunk() != nil {
			was = h.trunk().joined(h.Desired.OVS)
		}
		s := h.Desired
		if h.trunk() != nil && h.From.Links != nil && h.Desired.OVS.MTU > h.trunk().MTU {
			s = h.From
		}
		mtu := s.OVS.MTU
		s.OVS = bridge(h, was)
		s.OVS.setMTU(mtu)
		return s
	})
}

// names are those of ports.
func names(ports []Port) map[string]bool {
	all := make(map[string]bool, len(ports))
	for _, p := range ports {
		all[p.Name] = true
	}
	return all
}

// onTree tells which ports of a host are a part of the new tree.
func (m *motion) onTree(h Host) func(Port) bool {
	wanted := names(h.Desired.OVS.Ports)
	return func(p Port) bool { return wanted[p.Name] && m.next[[2]string{h.Name, p.ExternalIDs[PeerKey]}] }
}

// add is the bridge that was, with the new tunnels. Those of the new tree have a
// cost that draws no traffic, and are told as such; all others that carry nothing
// are held out of it.
func (m *motion) add(h Host, was *OVS) (s *OVS, joining []Tunnel) {
	onTree, there := m.onTree(h), names(was.Ports)
	s = was.clone()
	for i, p := range s.Ports {
		if !onTree(p) && m.old.Port(h.Name, p.ExternalIDs[PeerKey]).Role == topology.RoleAlternate {
			s.Ports[i] = p.held()
		}
	}
	for _, p := range h.Desired.OVS.Ports {
		switch {
		case there[p.Name]:
		case onTree(p):
			s.Ports = append(s.Ports, p.with("rstp-path-cost", strconv.Itoa(standbyCost)))
			joining = append(joining, Tunnel{h.Name, p.Name})
		default:
			s.Ports = append(s.Ports, p.held())
		}
	}
	sortPorts(s.Ports)
	if m.rises(h) {
		s.OtherConfig["rstp-priority"] = h.Desired.OVS.OtherConfig["rstp-priority"]
	}
	return s, joining
}

// both is the bridge as it is desired, with the old tunnels too.
func (m *motion) both(h Host, was *OVS) *OVS {
	s, wanted := h.Desired.OVS.clone(), names(h.Desired.OVS.Ports)
	for _, p := range was.Ports {
		if !wanted[p.Name] {
			s.Ports = append(s.Ports, p)
		}
	}
	sortPorts(s.Ports)
	return s
}

// leave has the costs that are desired, and holds the host's own end of its old way
// to the root. A priority that gets worse is still the old one.
func (m *motion) leave(h Host, was *OVS) *OVS {
	onTree, there := m.onTree(h), names(was.Ports)
	s := m.both(h, was)
	if was.treeBridge("").Priority < s.treeBridge("").Priority {
		s.OtherConfig["rstp-priority"] = was.OtherConfig["rstp-priority"]
	}
	for i, p := range s.Ports {
		if !onTree(p) && (!there[p.Name] || m.leaves(h.Name, p.ExternalIDs[PeerKey])) {
			s.Ports[i] = p.held()
		}
	}
	return s
}

// part holds every tunnel that is no part of the new tree. A host whose priority
// gets worse, and of which others have news, has the worst one.
func (m *motion) part(h Host, was *OVS) *OVS {
	onTree := m.onTree(h)
	s := m.both(h, was)
	for i, p := range s.Ports {
		if !onTree(p) {
			s.Ports[i] = p.held()
		}
	}
	if m.demoted[h.Name] {
		s.OtherConfig["rstp-priority"] = strconv.Itoa(standbyPriority)
	}
	return s
}

// apart is that, and has the host let go of each neighbour whose news it would else
// hold on to.
func (m *motion) apart(h Host, was *OVS) *OVS {
	s := m.part(h, was)
	for i, p := range s.Ports {
		if m.cut[[2]string{h.Name, p.ExternalIDs[PeerKey]}] {
			s.Ports[i] = p.held()
		}
	}
	return s
}

// rises tells whether a host gets a better priority that does not make it the root as long as the old one is there. It gets that while
// nothing else moves: a bridge of another priority that has just lost the root would not be believed by its neighbours, which know better.
func (m *motion) rises(h Host) bool {
	if h.trunk() == nil {
		return false
	}
	was, will := h.trunk().treeBridge(""), h.Desired.OVS.treeBridge("")
	return will.Priority < was.Priority && m.root.trunk().treeBridge("").Compare(will) < 0
}

// newcomer is the bridge of a host that joins, without tunnels yet.
func (m *motion) newcomer(want *OVS) *OVS {
	s := want.clone()
	s.Ports = nil
	s.OtherConfig["rstp-priority"] = strconv.Itoa(standbyPriority)
	return s
}

// leaves tells whether the host's own end of a tunnel that is no part of the new tree carries nothing, or is what the host moves
// away from. The other end of such a tunnel forwards, for others.
func (m *motion) leaves(host, peer string) bool {
	if m.parent[host] == peer {
		return m.leaving[host] && host != m.last
	}
	return m.old.Port(host, peer).Role == topology.RoleAlternate
}

func sortPorts(ports []Port) {
	slices.SortFunc(ports, func(a, b Port) int { return strings.Compare(a.Name, b.Name) })
}

func (s *OVS) clone() *OVS {
	c := *s
	c.OtherConfig = maps.Clone(s.OtherConfig)
	c.Ports, c.Patches, c.Access = slices.Clone(s.Ports), slices.Clone(s.Patches), slices.Clone(s.Access)
	return &c
}

func (p Port) held() Port { return p.with(holdKey, "false") }

func (p Port) with(key, value string) Port {
	config := map[string]string{key: value}
	for other, has := range p.OtherConfig {
		if other != key {
			config[other] = has
		}
	}
	p.OtherConfig = config
	return p
}

// moves lists who waits, for how long.
func (m *motion) moves(outage int, why string) []Move {
	stays := make(map[string]bool)
	for _, h := range m.plan.Hosts {
		stays[h.Name] = !h.Removed && h.trunk() != nil
	}
	below := make(map[string][]string)
	staying := 0
	for _, n := range m.old.Nodes {
		if !stays[n.Name] {
			continue
		}
		staying++
		for at := n.Name; at != ""; at = m.parent[at] {
			if m.leaving[at] {
				below[at] = append(below[at], n.Name)
			}
		}
	}
	var moves []Move
	for _, n := range m.old.Nodes {
		if behind := below[n.Name]; m.leaving[n.Name] && len(behind) < staying {
			moves = append(moves, Move{
				Host: n.Name, From: m.parent[n.Name], Behind: behind, Pairs: len(behind) * (staying - len(behind)), OutageMS: outage,
				Why: "leaves " + m.parent[n.Name] + " and " + why,
			})
		}
	}
	for _, n := range m.plan.Tree.Nodes {
		if m.demoted[n.Name] && outage == stepOutage {
			moves = append(moves, m.demotion(n.Name, stays))
		}
	}
	return moves
}

// demotion is what the neighbours of a demoted host cut off for a moment.
func (m *motion) demotion(host string, stays map[string]bool) Move {
	move := Move{Host: host, From: m.plan.Tree.Node(host).Parent, OutageMS: stepOutage, Why: "gets a worse priority" + inSteps}
	together := make(map[string]int)
	for _, n := range m.plan.Tree.Nodes {
		if !stays[n.Name] {
			continue
		}
		at := n.Name
		for parent := m.plan.Tree.Node(at).Parent; parent != "" && !m.cut[[2]string{at, parent}] && !m.cut[[2]string{parent, at}]; {
			at, parent = parent, m.plan.Tree.Node(parent).Parent
		}
		for _, seen := range together {
			move.Pairs += seen
		}
		move.Pairs -= together[at]
		together[at]++
		if at != m.plan.Tree.Root {
			move.Behind = append(move.Behind, n.Name)
		}
	}
	return move
}

// Apart has every host go straight to what is desired, so that one can fail without the others: nothing holds the tree together
// meanwhile.
func (p *Plan) Apart() {
	p.take(nil)
	for i := range p.Moves {
		if m := &p.Moves[i]; m.Joins && p.Protocol == string(topology.STP) {
			m.OutageMS = 2 * forwardDelay // the patch port listens and learns while it is needed
		}
		p.Moves[i].OutageMS = max(p.Moves[i].OutageMS, aloneOutage)
		p.Moves[i].Why = strings.TrimSuffix(p.Moves[i].Why, inSteps)
	}
}
