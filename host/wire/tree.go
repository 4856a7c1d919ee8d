// Package wire is what the two sides of fabric say to each other: versioned
// JSON values.
package wire

import "fmt"

// TreeStatus is the spanning tree as one host's bridge sees it at a moment.
// It is zero where the fabric has no bridge.
type TreeStatus struct {
	Protocol     string     `json:"protocol"` // "rstp", "stp", or "" where no tree runs
	Bridge       BridgeID   `json:"bridge"`   // the host's own
	Root         BridgeID   `json:"root"`     // whom the bridge takes for the root
	RootPathCost int        `json:"root_path_cost"`
	Ports        []TreePort `json:"ports"` // sorted by name, the bridge's internal port left out
}

// BridgeID is a bridge identifier (IEEE 802.1D-2004, 9.2.5). It is zero as
// long as the switch has not reported one.
type BridgeID struct {
	Priority int    `json:"priority"` // 0 to 65535, the system ID extension included
	MAC      string `json:"mac"`      // colon-separated, lower case
}

func (b BridgeID) String() string { return fmt.Sprintf("%s of priority %d", b.MAC, b.Priority) }

// TreePort is a port of the bridge. One that does not carry the mark of the
// fabric has neither peer nor network.
//
// STP's blocking and listening are both "discarding", as in table 17-1 of
// IEEE 802.1D-2004: a tree has settled when each root and designated port is
// forwarding and each other one is not.
type TreePort struct {
	Name string `json:"name"`
	Peer string `json:"peer,omitempty"` // the host at the tunnel's other end
	// Network is whose access bridge the port leads to.
	Network string `json:"network,omitempty"`
	Role    string `json:"role"`            // "root", "designated", "alternate", "backup", "disabled", or "" without a tree
	State   string `json:"state"`           // "forwarding", "learning", "discarding", "disabled", or "" without a tree
	Link    string `json:"link"`            // "up", "down", or "" where it is not known
	BFD     string `json:"bfd,omitempty"`   // "up", "down", "init", "admin_down", or "" without BFD
	OFPort  int    `json:"ofport"`          // OpenFlow port number, -1 where the port could not be made, 0 where not yet
	Error   string `json:"error,omitempty"` // why it could not
}
