// Package plan works out, from values alone, what each host of a fabric
// shall look like and what has to change to get there.
package plan

import (
	"net/netip"
	"slices"

	"github.com/ovsfabric/fabric/templates"
)

// BridgeName is the Open vSwitch bridge that carries the tunnels: the trunk.
const BridgeName = "br0"

// HostState is the part of one host that the fabric owns. It serves as what
// was observed and as what is wanted; a nil part is one that does not exist
// or shall not.
type HostState struct {
	OVS    *OVS    `json:"ovs,omitempty"`
	Links  *Links  `json:"links,omitempty"`
	Boot   *Boot   `json:"boot,omitempty"`
	Docker *Docker `json:"docker,omitempty"`
}

// OVS is the fabric's part of Open vSwitch: the trunk, which has the tunnels
// and the tree, and a bridge for each network. Without a name there is no trunk,
// because somebody has deleted it.
type OVS struct {
	Bridge
	Access []Bridge `json:"access,omitempty"` // sorted by name
}

// Bridge is a bridge of Open vSwitch, in the terms of the Open_vSwitch
// database (ovs-vswitchd.conf.db(5)). The maps hold only the keys named in
// the Owned lists; any other key in the database is somebody else's.
type Bridge struct {
	Name         string            `json:"name"`
	DatapathType string            `json:"datapath_type"` // "system" or "netdev"
	STP          bool              `json:"stp_enable"`
	RSTP         bool              `json:"rstp_enable"`
	OtherConfig  map[string]string `json:"other_config"`
	ExternalIDs  map[string]string `json:"external_ids"`
	MTU          int               `json:"mtu_request"`            // of the bridge's internal port, bytes
	LocalVLANs   []int             `json:"local_trunks,omitempty"` // Port.trunks of the internal port; nil: all VLANs
	Ports        []Port            `json:"ports"`                  // the fabric's own tunnels, sorted by name
	Patches      []Port            `json:"patches,omitempty"`      // the fabric's own patch ports, sorted by name
}

// Port is a tunnel or patch port of a bridge with its one interface of the
// same name.
type Port struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`          // Interface.type: "vxlan", "gre", "geneve" or "patch"
	Tag         *int              `json:"tag,omitempty"` // Port.tag: the VLAN of an access port; nil: a port for all VLANs
	OtherConfig map[string]string `json:"other_config"`  // Port.other_config
	ExternalIDs map[string]string `json:"external_ids"`  // Port.external_ids
	Options     map[string]string `json:"options"`       // Interface.options
	BFD         map[string]string `json:"bfd"`           // Interface.bfd
	// Number is what Open vSwitch numbered a port in its STP that nobody did,
	// where it was made by hand; 0 elsewhere.
	Number int `json:"number,omitempty"`
}

// Keys of external_ids that mark a row as the fabric's.
const (
	OwnerKey   = "fabric"         // Bridge and Port: the fabric's name
	PeerKey    = "fabric-peer"    // Port: the host at the tunnel's other end
	NetworkKey = "fabric-network" // access Bridge and its patch ports: the network's name
)

// The keys that the fabric owns in each map column of its rows. An owned
// key that is not wanted is deleted; every other key is left alone.
var (
	OwnedBridgeOtherConfig = []string{
		"hwaddr", "rstp-address", "rstp-max-age", "rstp-priority", "stp-priority", "stp-system-id",
	}
	OwnedBridgeExternalIDs = []string{OwnerKey, NetworkKey}
	OwnedPortOtherConfig   = []string{
		edgeKey, holdKey, "rstp-path-cost", "rstp-port-num", "stp-path-cost", "stp-port-num",
	}
	OwnedPortExternalIDs = []string{OwnerKey, PeerKey, NetworkKey}
	// Options and BFD of an interface are the fabric's as a whole, and so is the
	// tag of a port.
)

// Links is the Linux bridge that containers are on.
type Links struct {
	Name    string       `json:"name"`
	Owner   string       `json:"owner"`   // the fabric's name, kept in the link's alias; "" is not the fabric's
	MAC     string       `json:"mac"`     // colon-separated, lower case
	MTU     int          `json:"mtu"`     // bytes
	Address netip.Prefix `json:"address"` // the host's address in the fabric; zero for none
	Member  string       `json:"member"`  // the internal port of an Open vSwitch bridge, one of Members, or ""
	Up      bool         `json:"up"`      // the bridge and the member are up
}

// Boot is what makes a host come back into the fabric by itself.
type Boot struct {
	Program string `json:"program"` // build of the installed fabric binary, as host/boot tells it
	Files   []File `json:"files"`   // sorted by path
}

// File is a whole file that the fabric owns.
type File = templates.File

// Docker is what the fabric sets in daemon.json and what dockerd made of it.
type Docker struct {
	Config  DockerConfig `json:"config"`
	Foreign bool         `json:"foreign,omitempty"` // somebody else has set Config, also by flags: what an adoption starts from
	Live    DockerLive   `json:"live"`              // observed: zero where dockerd does not run; wanted: zero for whatever dockerd makes of Config
}

// DockerConfig holds the keys of daemon.json that the fabric owns. A zero
// value is a key that is not in the file.
type DockerConfig struct {
	BIP       string `json:"bip,omitempty"`
	Bridge    string `json:"bridge,omitempty"`
	FixedCIDR string `json:"fixed-cidr,omitempty"`
	MTU       int    `json:"mtu,omitempty"`
}

// DockerLive is how the running dockerd describes its default bridge
// network.
type DockerLive struct {
	Bridge  string       `json:"bridge"`
	Gateway netip.Addr   `json:"gateway"`
	Pool    netip.Prefix `json:"pool"` // what containers get addresses from: IPRange, or the subnet without one
	MTU     int          `json:"mtu"`
}

// Query says what to look for on a host.
type Query struct {
	Fabric       string       `json:"fabric"`
	DockerBridge string       `json:"docker_bridge"`
	Network      netip.Prefix `json:"network"`
	Peers        []netip.Addr `json:"peers"`       // underlay addresses of the other hosts
	Tunnel       string       `json:"tunnel"`      // Port.Type of the tunnels
	TunnelPort   uint16       `json:"tunnel_port"` // UDP; 0 for GRE
	Members      []netip.Addr `json:"members"`     // underlay addresses of all hosts of the fabric
	// What the fabric is to have in Open vSwitch: whoever else has one of these
	// names is in the way.
	Bridges []string `json:"bridges,omitempty"`
	Ports   []string `json:"ports,omitempty"`
	// Adopt takes what somebody made by hand for the same purpose as the
	// fabric's state, and lets an apply change it in place.
	Adopt bool `json:"adopt,omitempty"`
}

// Observation is everything that a host answers: what the fabric owns
// there, what else a plan has to know, and what is in the way.
type Observation struct {
	State     HostState  `json:"state"`
	Facts     Facts      `json:"facts"`
	Obstacles []Obstacle `json:"obstacles,omitempty"`
}

// Facts is what a plan has to know of a host beside its own parts. Slices
// are sorted.
type Facts struct {
	OS            string      `json:"os"`               // PRETTY_NAME of os-release(5)
	Arch          string      `json:"arch"`             // as Go names it
	Kernel        string      `json:"kernel,omitempty"` // release of the running one, as uname(2) has it
	OVSVersion    string      `json:"ovs_version"`
	DatapathTypes []string    `json:"datapath_types"`          // what ovs-vswitchd supports here
	KernelLacks   []Obstacle  `json:"kernel_lacks,omitempty"`  // what keeps the kernel's datapath from carrying the tunnels
	ForeignPorts  []string    `json:"foreign_ports,omitempty"` // on the fabric's bridges, but not the fabric's, as "BRIDGE PORT"
	NetdevBridges []string    `json:"netdev_bridges"`          // bridges other than the fabric's on the userspace datapath
	LiveRestore   bool        `json:"live_restore"`
	NoRestart     []Obstacle  `json:"no_restart,omitempty"`   // what would keep dockerd from starting again
	SwarmPort     uint16      `json:"swarm_port,omitempty"`   // UDP, of the swarm's overlay networks; 0 where dockerd is in no swarm
	Interrupted   bool        `json:"interrupted,omitempty"`  // an apply was cut off here and has not been rolled back
	Containers    []Container `json:"containers,omitempty"`   // running ones
	Networks      []Network   `json:"networks,omitempty"`     // Docker's, the default bridge left out
	Routes        []Route     `json:"routes,omitempty"`       // IPv4 main table, the fabric's own and the default left out
	Underlay      []Path      `json:"underlay,omitempty"`     // one for each peer asked for
	TreeRoot      string      `json:"tree_root,omitempty"`    // STP or RSTP where the bridge is to be adopted and the root of that tree
	UDP           []UDPPort   `json:"udp,omitempty"`          // of the tunnels' port and SparePorts, those that somebody else has
	AlsoMadeBy    []string    `json:"also_made_by,omitempty"` // FILE:LINE of others that make one of the fabric's bridges at boot
}

// UDPPort is a UDP port that somebody else has.
type UDPPort struct {
	Port uint16 `json:"port"`
	By   string `json:"by"`   // "" for a kernel tunnel whose link is in another network namespace
	Cure string `json:"cure"` // what gives it up
}

// Container is a running container.
type Container struct {
	Name     string `json:"name"`
	OnBridge bool   `json:"on_bridge"` // attached to the default bridge network
	// AutoRemove is a container that is deleted when it stops (docker run
	// --rm): a restart of dockerd takes it away for good.
	AutoRemove bool `json:"auto_remove,omitempty"`
}

// Network is a Docker network.
type Network struct {
	Name    string         `json:"name"`
	Subnets []netip.Prefix `json:"subnets"`
}

// Route is an entry of the main routing table.
type Route struct {
	Prefix netip.Prefix `json:"prefix"`
	Device string       `json:"device"`
}

// Path is the route that packets to a peer take through the underlay.
type Path struct {
	Peer   netip.Addr `json:"peer"`
	Device string     `json:"device"` // "" where there is no route
	Source netip.Addr `json:"source"`
	MTU    int        `json:"mtu"` // bytes: the route's own, else the device's
}

// Obstacle is something on a host that is in the fabric's way.
type Obstacle struct {
	What string `json:"what"` // names the thing found
	Cure string `json:"cure"` // what the user can do about it
	// Always is an obstacle even to taking the fabric away.
	Always bool `json:"always,omitempty"`
	// Blind is an obstacle to taking away what else there is of a fabric: a
	// part of it cannot be seen, and going back would make that part go.
	Blind bool `json:"blind,omitempty"`
}

// Owner is the name of the fabric that the host is part of, "" for none.
func (s HostState) Owner() string {
	if s.OVS != nil {
		for _, b := range append([]Bridge{s.OVS.Bridge}, s.OVS.Access...) {
			if b.Name != "" {
				return b.ExternalIDs[OwnerKey]
			}
		}
	}
	if s.Links != nil && s.Links.Owner != "" {
		return s.Links.Owner
	}
	if s.Boot == nil {
		return ""
	}
	for _, f := range s.Boot.Files {
		if f.Path != templates.HostFile {
			continue
		}
		if h, err := DecodeHostFile([]byte(f.Content)); err == nil {
			return h.Fabric
		}
	}
	return ""
}

// Attainable is the state as it can be brought about again. How dockerd ran
// may not have been what its file said, because it had been stopped or not
// been restarted; what can be had is a dockerd that runs with its file.
func (s HostState) Attainable() HostState {
	if s.Docker != nil {
		s.Docker = &Docker{Config: s.Docker.Config, Foreign: s.Docker.Foreign}
	}
	return s
}

// InTheWay returns the obstacles to what is wanted of a host.
func InTheWay(now Observation, want HostState) []Obstacle {
	if want != (HostState{}) {
		return slices.Clone(now.Obstacles)
	}
	var in []Obstacle
	for _, o := range now.Obstacles {
		if o.Always || o.Blind && now.State != (HostState{}) {
			in = append(in, o)
		}
	}
	return in
}
