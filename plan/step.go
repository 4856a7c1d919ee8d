package plan

import (
	"github.com/ovsfabric/fabric/topology"
)

// A Step is a state that all hosts that stay are brought to together: none begins
// it before all have taken the one before it, and before its conditions hold. After
// the last step of a plan the hosts are brought to what is desired, as if that were
// one more.
type Step struct {
	Name   string
	Await  []Condition          // before the step begins
	States map[string]HostState // by host
}

// A Condition is what has to be true of the live fabric before a step begins: one
// of Placed, Up, Heard and RootKnown.
type Condition interface{ condition() }

// Placed is ends of tunnels, and patch ports, that are up and have a place in the
// tree that lasts.
type Placed []Tunnel

// Up is ends of tunnels that are up, and so take part in the tree. A beginning
// does not wait for them for ever: why one stays down is told once all hosts are as
// planned.
type Up []Tunnel

// Heard is ends of tunnels whose BFD has heard of the other end (RFC 5880 6.2). They
// are waited for as those that are to be up.
type Heard []Tunnel

// RootKnown is a root that has taken its identity, and the hosts that have to know
// it.
type RootKnown struct {
	Root topology.Bridge
	By   []string
}

func (Placed) condition()    {}
func (Up) condition()        {}
func (Heard) condition()     {}
func (RootKnown) condition() {}

// Tunnel is one end of a tunnel, or a patch port: a port of a host's bridge.
type Tunnel struct {
	Host, Port string
}

// take has the hosts go through the steps, and await conditions before what is
// desired.
func (p *Plan) take(steps []Step, last ...Condition) {
	p.steps, p.last = steps, last
	for i := range p.Hosts {
		h := &p.Hosts[i]
		h.Between = nil
		for _, s := range steps {
			if state, takesPart := s.States[h.Name]; takesPart {
				h.Between = append(h.Between, state)
			}
		}
	}
}

// Await is what has to be true before a step, counted from 0. What is desired is
// the step after the last one.
func (p *Plan) Await(step int) []Condition {
	switch {
	case step < len(p.steps):
		return p.steps[step].Await
	case step == len(p.steps):
		return p.last
	}
	return nil
}

// StepName is the name of a step, counted from 0.
func (p *Plan) StepName(step int) string {
	if step < len(p.steps) {
		return p.steps[step].Name
	}
	return "all is as desired"
}

// step makes a step of the states that hosts get, which are those that stay.
func (p *Plan) step(name string, state func(Host) HostState, await ...Condition) Step {
	s := Step{Name: name, Await: await, States: make(map[string]HostState, len(p.Hosts))}
	for _, h := range p.Hosts {
		if !h.Removed {
			s.States[h.Name] = state(h)
		}
	}
	return s
}
