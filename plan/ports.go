package plan

import (
	"fmt"
	"slices"

	"github.com/ovsfabric/fabric/topology"
)

// SparePorts are the UDP ports that a plan proposes, the first that is free,
// where the tunnels' is not. 4791 is not among them: it is RoCE's, which
// network cards take for themselves, and 4792 is assigned as well (IANA).
var SparePorts = []uint16{4790, 4793, 4794, 4795}

// sparePort is the first that is free on all hosts that were asked, 0 if none
// is.
func sparePort(t *topology.Topology, observed map[string]Observation) uint16 {
	taken := map[uint16]bool{t.Tunnel.Port: true}
	for _, h := range t.Hosts {
		f := observed[h.Name].Facts
		taken[f.SwarmPort] = true
		for _, p := range f.UDP {
			taken[p.Port] = true
		}
	}
	if i := slices.IndexFunc(SparePorts, func(port uint16) bool { return !taken[port] }); i >= 0 {
		return SparePorts[i]
	}
	return 0
}

// PortObstacles tells who has the tunnels' UDP port on a host. Spare is the
// port to propose instead, 0 for none.
func PortObstacles(port, spare uint16, f Facts) []Obstacle {
	cure := "choose another tunnel.port"
	if spare != 0 {
		cure = fmt.Sprintf("set tunnel: {port: %d}, which is free on every host that was asked", spare)
	}
	var found []Obstacle
	for _, p := range f.UDP {
		if p.Port != port {
			continue
		}
		if p.By == "" {
			p.By = "a kernel tunnel in another network namespace"
			if f.SwarmPort == port {
				p.By, p.Cure = "Docker Swarm, for its overlay networks,", "docker swarm leave"
			}
		}
		found = append(found, Obstacle{
			What: fmt.Sprintf("%s holds UDP port %d", p.By, port),
			Cure: fmt.Sprintf("%s; or give up the other use of it: %s", cure, p.Cure),
		})
	}
	return found
}

// swarmWarnings tells where a swarm will want the tunnels' port, and does not
// have it now.
func swarmWarnings(host string, port, spare uint16, f Facts) []string {
	if port == 0 || f.SwarmPort != port || len(PortObstacles(port, spare, f)) > 0 {
		return nil
	}
	w := fmt.Sprintf("%s: dockerd is in a swarm, whose overlay networks take UDP port %d, as the fabric's tunnels do: only one of the two works", host, port)
	if spare != 0 {
		w += fmt.Sprintf("; tunnel: {port: %d} is free on every host that was asked", spare)
	}
	return []string{w}
}
