package plan

import (
	"cmp"
	"slices"

	"github.com/ovsfabric/fabric/topology"
)

// Outcome is what a fabric becomes after some failures.
type Outcome struct {
	Failures []string       `json:"failures"`
	Root     string         `json:"root"`      // of the largest piece that is left; empty where nothing is
	CutOff   []string       `json:"cut_off"`   // hosts that work, and are outside of that piece
	Diameter int            `json:"diameter"`  // bridges on the longest path, both ends counted
	Rerouted int            `json:"rerouted"`  // hosts that are reached over a link that carried nothing before
	OutageMS int            `json:"outage_ms"` // expected, until they are; 0: nothing stops
	Tree     *topology.Tree `json:"-"`         // what Fail leaves
}

// Fail predicts what all of the failures together leave.
func (p *Plan) Fail(failures ...topology.Failure) Outcome {
	tree := p.Tree.After(failures...)
	o := p.outcome(tree.Loss(p.Tree), failures...)
	o.Tree = tree
	return o
}

func (p *Plan) outcome(l topology.Loss, failures ...topology.Failure) Outcome {
	o := Outcome{
		Root: l.Root, CutOff: l.CutOff, Diameter: l.Diameter,
		Rerouted: l.Rerouted, OutageMS: p.outage(l.Hops, maxAge(p.Checked.WorstDepth), l.Circulates),
	}
	for _, f := range failures {
		o.Failures = append(o.Failures, f.String())
	}
	return o
}

// WorstFailures are the single failures that cut a host off or make traffic wait, the worst first: those that cut off the most
// hosts, then those that reroute the most, then the longest outages, then the longest paths. Their outcomes have no tree.
func (p *Plan) WorstFailures() []Outcome {
	worst := []Outcome{}
	for f, l := range p.Tree.Losses() {
		if o := p.outcome(l, f); o.OutageMS > 0 || len(o.CutOff) > 0 {
			worst = append(worst, o)
		}
	}
	slices.SortStableFunc(worst, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(len(b.CutOff), len(a.CutOff)), cmp.Compare(b.Rerouted, a.Rerouted),
			cmp.Compare(b.OutageMS, a.OutageMS), cmp.Compare(b.Diameter, a.Diameter))
	})
	return worst
}

// The timers that Open vSwitch has by default. The fabric sets no other but the age that the root's news may reach with RSTP.
const (
	defaultMaxAge = 20     // 802.1D-1998 table 8-3, seconds
	forwardDelay  = 15_000 // the same, milliseconds
	hello         = 2_000  // Open vSwitch has no other, milliseconds
	bfdMultiple   = 3      // RFC 5880 6.8.1, bfd.DetectMult; Open vSwitch has no other unless told
)

// handshake is what a proposal and its agreement are given to pass one link, in milliseconds: no timer is in it, only a way
// there and back and what two switches take to answer.
const handshake = 50

// outage is the time in milliseconds until traffic flows on another path, detection and convergence together. hops is how far
// from the root the farthest link is that has to begin to carry frames; age is the age in seconds that news of the root may reach;
// circulates tells of a lost root and a loop.
//
//   - RSTP: BFD gives a tunnel up after bfdMultiple intervals without a packet (RFC 5880 6.8.4). An alternate port then becomes
//     root port and forwards at once (802.1D-2004 17.29.2), and each designated port below forwards upon the agreement to its
//     proposal (17.29.3), so that convergence takes one handshake a hop:
//     bfdMultiple × interval + hops × handshake.
//     Where the root is lost and a loop remains, news of it go round, better than the truth by the old root's identifier,
//     until their message age reaches age (17.21.23), at a hop a second once a port has sent as many as it may
//     (transmit hold count, 17.13.12). Ports that changed their roles meanwhile may have missed the handshake and wait two hellos. Open
//     vSwitch took at most 3 × age + 3 × hello in meshes of 4, 5 and 8, but for one run that took 2 s longer: docs/adr/0011.
//   - STP: a tunnel has no carrier to lose, so that what a port knows of the root has to become defaultMaxAge old (802.1D-1998 8.7.4)
//     before another port is chosen, and that one listens and learns, forwardDelay each, before it forwards (8.7.5):
//     defaultMaxAge + 2 × forwardDelay.
func (p *Plan) outage(hops, age int, circulates bool) int {
	switch {
	case hops == 0 && !circulates:
		return 0
	case p.Protocol == string(topology.STP):
		return outageSTP
	case circulates:
		return 3*age*1000 + 3*hello
	}
	return bfdMultiple*p.bfd + hops*handshake
}

const outageSTP = defaultMaxAge*1000 + 2*forwardDelay
