package plan

import (
	"maps"
	"slices"
)

// Joined groups the hosts between which packets shall pass while some of
// them are as the plan wants them and all others as they were observed: those
// that tunnels lead between which stand, and are of one kind, at both their
// ends. The groups and the hosts in them are in the order of the plan; hosts
// that have no address in the fabric, or were not observed, are in none.
func (p *Plan) Joined(applied map[string]bool) [][]string {
	hosts := make(map[string]Host, len(p.Hosts))
	for _, h := range p.Hosts {
		if s := h.State(applied[h.Name]); h.Observed && s.OVS != nil && s.Links != nil && s.Links.Address.IsValid() {
			hosts[h.Name] = h
		}
	}
	group := make(map[string]int) // by host, from 1
	var groups [][]string
	for _, h := range p.Hosts {
		if _, in := hosts[h.Name]; !in || group[h.Name] != 0 {
			continue
		}
		groups = append(groups, nil)
		group[h.Name] = len(groups)
		for left := []string{h.Name}; len(left) > 0; left = left[1:] {
			from := hosts[left[0]]
			for _, port := range from.State(applied[from.Name]).OVS.Ports {
				to, in := hosts[port.ExternalIDs[PeerKey]]
				if in && group[to.Name] == 0 && stands(from, to, port, applied) {
					group[to.Name] = len(groups)
					left = append(left, to.Name)
				}
			}
		}
	}
	for _, h := range p.Hosts {
		if n := group[h.Name]; n != 0 {
			groups[n-1] = append(groups[n-1], h.Name)
		}
	}
	return groups
}

// State is what the host is before or after its changes.
func (h Host) State(applied bool) HostState {
	if applied {
		return h.Desired
	}
	return h.From
}

// Before is what the host is before its changes, and After what it is then.
func (h Host) Before() HostState { return h.State(false) }

// After is what the host is after its changes.
func (h Host) After() HostState { return h.State(true) }

// stands reports whether a port of from's has its counterpart on to. Two
// trees of different protocols may take long to agree, so that nothing is
// promised of a tunnel between them.
func stands(from, to Host, port Port, applied map[string]bool) bool {
	a, b := from.State(applied[from.Name]).OVS, to.State(applied[to.Name]).OVS
	i := slices.IndexFunc(b.Ports, func(other Port) bool { return other.ExternalIDs[PeerKey] == from.Name })
	if i < 0 || a.RSTP != b.RSTP || a.STP != b.STP {
		return false
	}
	back := b.Ports[i]
	return port.Type == back.Type && maps.Equal(header(port), header(back)) &&
		port.Options[remoteIP] == to.Address.String() && back.Options[remoteIP] == from.Address.String()
}

// header is the options of a tunnel that both its ends have in common.
func header(p Port) map[string]string {
	options := maps.Clone(p.Options)
	delete(options, remoteIP)
	return options
}
