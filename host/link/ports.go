package link

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/ovsfabric/fabric/plan"
)

// ports tells who else takes the tunnels' UDP packets, or would take those of
// a port that could be proposed instead.
func (s snapshot) ports(q plan.Query) []plan.UDPPort {
	if q.TunnelPort == 0 {
		return nil
	}
	ports := append([]uint16{q.TunnelPort}, plan.SparePorts...)
	slices.Sort(ports)
	var held []plan.UDPPort
	for _, port := range slices.Compact(ports) {
		held = append(held, s.holders(port)...)
	}
	return held
}

// holders lists who has a port. The kernel datapath's own device is called
// vxlan_sys_PORT or genev_sys_PORT (netdev_vport_get_dpif_port in Open
// vSwitch's lib/netdev-vport.c); whose tunnels those are is for Open vSwitch
// to say. The userspace datapath holds no socket. A socket that neither a
// device nor a process explains serves a device that was moved to another
// network namespace, as Docker Swarm does.
func (s snapshot) holders(port uint16) []plan.UDPPort {
	var held []plan.UDPPort
	explained := false
	for _, l := range s.links {
		if tunnelPort(l) != int(port) {
			continue
		}
		explained = true
		name := l.Attrs().Name
		if name == fmt.Sprintf("vxlan_sys_%d", port) || name == fmt.Sprintf("genev_sys_%d", port) {
			continue
		}
		held = append(held, plan.UDPPort{
			Port: port, By: fmt.Sprintf("%s, a %s link,", name, l.Type()),
			Cure: fmt.Sprintf("ip link del %s, and what makes it", name),
		})
	}
	if explained {
		return held
	}
	for _, socket := range s.sockets {
		if socket.port != port {
			continue
		}
		one := plan.UDPPort{Port: port, Cure: "ip -all netns exec ip -d link show type vxlan shows it, unless its namespace has no name"}
		if process := owner(socket.inode); process != "" {
			one = plan.UDPPort{Port: port, By: process, Cure: fmt.Sprintf("ss -ulpn sport = :%d shows the process", port)}
		}
		if !slices.Contains(held, one) { // a socket of each family
			held = append(held, one)
		}
	}
	return held
}

// tunnelPort is the UDP port that a tunnel link listens on, or -1.
func tunnelPort(l netlink.Link) int {
	switch l := l.(type) {
	case *netlink.Vxlan:
		return l.Port
	case *netlink.Geneve:
		return int(l.Dport)
	}
	return -1
}

// owner names the process that has a socket, "" if none has.
func owner(inode string) string {
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is a good one
	for _, fd := range open {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		if name, err := os.ReadFile(filepath.Join(process, "comm")); err == nil {
			return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(process))
		}
	}
	return ""
}
