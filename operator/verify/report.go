package verify

import (
	"time"
)

// Status is how a check came out.
type Status string

// The values of Status.
const (
	Pass    Status = "pass"
	Warn    Status = "warn"    // works, but not well
	Fail    Status = "fail"    // does not work
	Skipped Status = "skipped" // could not be told, because of another failure
)

// The names of checks, in the order of the report.
const (
	CheckTree       = "tree"       // the live spanning tree is the predicted one; per host and per tunnel
	CheckPing       = "ping"       // hosts reach each other; per direction
	CheckBroadcast  = "broadcast"  // a frame to all reaches each host, and each host's container; per direction
	CheckMTU        = "mtu"        // packets of exactly the fabric's MTU pass; per direction
	CheckOversize   = "oversize"   // packets of one byte more are refused; per direction
	CheckAddresses  = "addresses"  // each host's address is on one machine only; per host
	CheckThroughput = "throughput" // TCP by iperf3; per measured pair
	CheckRemoved    = "removed"    // nothing of the fabric is left on a host that was removed from it; per host where something is
	CheckContainers = "containers" // containers reach each other, at the MTU and not over it; per host and per direction
)

func checkNames() []string {
	return []string{
		CheckTree, CheckPing, CheckBroadcast, CheckMTU, CheckOversize,
		CheckAddresses, CheckRemoved, CheckThroughput, CheckContainers,
	}
}

// Report is the outcome of a verification. Its JSON form is for machines;
// the field names stay.
type Report struct {
	Fabric string `json:"fabric"`
	Passed bool   `json:"passed"` // no check failed
	MTU    int    `json:"mtu"`    // of the fabric, bytes
	Root   string `json:"root"`   // the predicted root bridge's host
	// Blocked counts the ports that the live tree keeps from forwarding.
	Blocked int      `json:"blocked"`
	Hosts   []string `json:"hosts"`
	Checks  []Check  `json:"checks"` // in the order of their names, then of hosts
	RTTs    []RTT    `json:"rtts"`   // of pings between hosts, through the fabric
	// UnderlayRTTs are of pings between the ends of tunnels, beside the
	// fabric. Where the underlay answers none they are those through the
	// fabric between neighbours in its tree.
	UnderlayRTTs []RTT        `json:"underlay_rtts"`
	Throughput   []Throughput `json:"throughput"` // empty unless asked for
}

// Check is one thing that was tried.
type Check struct {
	Name   string `json:"name"` // one of the Check constants
	Host   string `json:"host"`
	Peer   string `json:"peer,omitempty"` // empty where the check is about the host alone
	Status Status `json:"status"`
	Detail string `json:"detail,omitempty"` // what was found
	Cause  string `json:"cause,omitempty"`  // of a fail or a warn: where it comes from
	Cure   string `json:"cure,omitempty"`   // of a fail or a warn: what to do
}

// RTT is the round-trip time between two hosts.
type RTT struct {
	From string        `json:"from"`
	To   string        `json:"to"`
	Min  time.Duration `json:"min_ns"`
	Avg  time.Duration `json:"avg_ns"`
	Max  time.Duration `json:"max_ns"`
}

// Throughput is what TCP carries from one host to another.
type Throughput struct {
	From          string  `json:"from"`
	To            string  `json:"to"`
	BitsPerSecond float64 `json:"bits_per_second"` // as the receiver counted them
	Retransmits   int     `json:"retransmits"`
}
