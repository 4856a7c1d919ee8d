package link

import (
	"fmt"
	"slices"

	"github.com/ovsfabric/fabric/plan"
)

func (s snapshot) obstacles(q plan.Query) []plan.Obstacle {
	return slices.Concat(s.bridgeObstacles(q), s.switchObstacles(q), s.networkObstacles(q))
}

// bridgeObstacles looks at the containers' bridge and who else uses it.
func (s snapshot) bridgeObstacles(q plan.Query) []plan.Obstacle {
	var found []plan.Obstacle
	for _, l := range s.links {
		m, ok := parseMark(l.Attrs().Alias)
		if ok && l.Attrs().Name != q.DockerBridge {
			found = append(found, plan.Obstacle{
				What: fmt.Sprintf("the bridge of fabric %s on this host is %s, not %s", m.owner, l.Attrs().Name, q.DockerBridge),
				Cure: fmt.Sprintf("destroy that fabric here first, or set docker.bridge: %s", l.Attrs().Name),
			})
		}
	}
	bridge := s.link(q.DockerBridge)
	if bridge == nil {
		return found
	}
	if bridge.Type() != "bridge" {
		return append(found, plan.Obstacle{
			What: fmt.Sprintf("%s is a %s link, not a Linux bridge", q.DockerBridge, bridge.Type()),
			Cure: "rename or delete it, or choose another name with docker.bridge",
		})
	}
	m, marked := parseMark(bridge.Attrs().Alias)
	if marked && m.owner != "" && m.owner != q.Fabric {
		found = append(found, plan.Obstacle{
			What: fmt.Sprintf("%s belongs to fabric %s", q.DockerBridge, m.owner),
			Cure: "destroy that fabric here first, or choose another name with docker.bridge",
		})
	}
	for _, l := range s.links {
		if l.Attrs().MasterIndex != bridge.Attrs().Index || l.Type() == "veth" || isMember(l.Attrs().Name) {
			continue
		}
		found = append(found, plan.Obstacle{
			What: fmt.Sprintf("%s has the member %s, a %s link that is no container's", q.DockerBridge, l.Attrs().Name, l.Type()),
			Cure: fmt.Sprintf("take it out with `ip link set %s nomaster`, or choose another bridge with docker.bridge", l.Attrs().Name),
		})
	}
	had := s.on(bridge)
	chosen := choose(had, m.addresses, q.Network)
	// dockerd keeps to its bip on docker0; on any other bridge it may take
	// the wrong address.
	if marked && m.owner == q.Fabric && q.DockerBridge == "docker0" {
		return found
	}
	for _, p := range had {
		if p == chosen || q.Network.Contains(p.Addr()) || slices.Contains(m.addresses, p) {
			continue
		}
		found = append(found, plan.Obstacle{
			What: fmt.Sprintf("%s has a second address, %s", q.DockerBridge, p),
			Cure: fmt.Sprintf("remove it with `ip address del %s dev %s`, and from what sets it", p, q.DockerBridge),
		})
	}
	return found
}

// switchObstacles looks at links that have the name of a bridge of the fabric's
// in Open vSwitch. The internal port of one is an "openvswitch" link on the kernel
// datapath and a TAP on the userspace datapath; whether Open vSwitch made that TAP
// is for its database to say.
func (s snapshot) switchObstacles(q plan.Query) []plan.Obstacle {
	var found []plan.Obstacle
	for _, name := range plan.Members() {
		l := s.link(name)
		if l == nil {
			continue
		}
		if t := l.Type(); t != "openvswitch" && t != "tuntap" {
			found = append(found, plan.Obstacle{
				What: fmt.Sprintf("%s is a %s link, not Open vSwitch's", name, t),
				Cure: fmt.Sprintf("rename it: the fabric needs the name %s", name),
			})
			continue
		}
		master := s.name(l.Attrs().MasterIndex)
		if l.Attrs().MasterIndex != 0 && master != q.DockerBridge {
			found = append(found, plan.Obstacle{
				What: fmt.Sprintf("%s is a member of %s", name, master),
				Cure: fmt.Sprintf("take it out with `ip link set %s nomaster`, or set docker.bridge: %s", name, master),
			})
		}
	}
	return found
}

// networkObstacles looks for addresses of the fabric that already lead
// elsewhere.
func (s snapshot) networkObstacles(q plan.Query) []plan.Obstacle {
	var found []plan.Obstacle
	const cure = "choose another network: in the fabric's file, or renumber what is there"
	routed := make(map[string]bool)
	for _, r := range s.foreignRoutes(q.DockerBridge) {
		if !r.Prefix.Overlaps(q.Network) {
			continue
		}
		routed[r.Device] = true
		found = append(found, plan.Obstacle{
			What: fmt.Sprintf("the route to %s by %s overlaps the fabric's network %s", r.Prefix, r.Device, q.Network),
			Cure: cure,
		})
	}
	for _, a := range s.addresses {
		device := s.name(a.link)
		if device == q.DockerBridge || isMember(device) || routed[device] || !q.Network.Contains(a.prefix.Addr()) {
			continue
		}
		found = append(found, plan.Obstacle{
			What: fmt.Sprintf("%s has the address %s, inside the fabric's network %s", device, a.prefix, q.Network),
			Cure: cure,
		})
	}
	return found
}

func pathObstacles(paths []plan.Path) []plan.Obstacle {
	var found []plan.Obstacle
	for _, p := range paths {
		switch p.Device {
		case "":
			found = append(found, plan.Obstacle{
				What: fmt.Sprintf("no route to %s", p.Peer),
				Cure: "check the address in the fabric's file and this host's routes",
			})
		case "lo":
			found = append(found, plan.Obstacle{
				What: fmt.Sprintf("%s, a peer's address, is this host's own", p.Peer),
				Cure: "check the addresses in the fabric's file and on this host's links",
			})
		}
	}
	return found
}
