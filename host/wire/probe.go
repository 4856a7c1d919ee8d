package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"time"
)

// ProbeRequest asks a host to try one thing. Exactly one member is set.
type ProbeRequest struct {
	Tree           *TreeRequest           `json:"tree,omitempty"`
	Ping           *PingRequest           `json:"ping,omitempty"`
	ARP            *ARPRequest            `json:"arp,omitempty"`
	IperfServer    *IperfServerRequest    `json:"iperf_server,omitempty"`
	IperfClient    *IperfClientRequest    `json:"iperf_client,omitempty"`
	ContainerStart *ContainerStartRequest `json:"container_start,omitempty"`
	ContainerPing  *ContainerPingRequest  `json:"container_ping,omitempty"`
	ContainerARP   *ContainerARPRequest   `json:"container_arp,omitempty"`
	ContainerStop  *ContainerStopRequest  `json:"container_stop,omitempty"`
}

// ProbeResult is the answer to a ProbeRequest: the member that fits the
// request is set. That a peer does not answer is a result; that the probe
// could not be made is an error.
type ProbeResult struct {
	Tree           *TreeStatus           `json:"tree,omitempty"`
	Ping           []PingResult          `json:"ping,omitempty"` // of Ping and ContainerPing
	ARP            []ARPResult           `json:"arp,omitempty"`  // of ARP and ContainerARP
	IperfServer    *IperfServerResult    `json:"iperf_server,omitempty"`
	IperfClient    *IperfClientResult    `json:"iperf_client,omitempty"`
	ContainerStart *ContainerStartResult `json:"container_start,omitempty"`
}

// ErrNotOne is what Validate returns for a request without exactly one
// member.
var ErrNotOne = errors.New("has exactly one member")

// Validate says whether exactly one member is set.
func (r ProbeRequest) Validate() error { return oneMember("a probe request", r) }

// oneMember looks at a struct of pointers.
func oneMember(what string, request any) error {
	members := reflect.ValueOf(request)
	set := 0
	for i := range members.NumField() {
		if !members.Field(i).IsNil() {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("%s %w, this one has %d: do both sides run the same build of fabric?", what, ErrNotOne, set)
	}
	return nil
}

// TreeRequest asks for the live spanning tree.
type TreeRequest struct{}

// PingRequest asks for ICMP echoes (RFC 792) to every target at once.
type PingRequest struct {
	Targets  []netip.Addr  `json:"targets"`
	Source   netip.Addr    `json:"source"`   // zero: as the routing table chooses
	Size     int           `json:"size"`     // IPv4 total length in bytes: 20 of IP, 8 of ICMP, the rest payload; 28 to 65535
	DF       bool          `json:"df"`       // set "don't fragment"
	Count    int           `json:"count"`    // echoes to each target
	Interval time.Duration `json:"interval"` // between two echoes to a target, at least
	Spacing  time.Duration `json:"spacing"`  // between two echoes, whatever their targets; 0: as fast as the replies can be read
	Timeout  time.Duration `json:"timeout"`  // for replies, after the last echo
}

// PingResult is what came back from one target.
type PingResult struct {
	Target   netip.Addr    `json:"target"`
	Sent     int           `json:"sent"`
	Received int           `json:"received"` // duplicates not counted
	Min      time.Duration `json:"min"`      // round-trip times; 0 without a reply
	Avg      time.Duration `json:"avg"`
	Max      time.Duration `json:"max"`
	MTU      int           `json:"mtu,omitempty"`   // bytes: what an echo that was too long would have to fit, as the kernel or a router said
	Error    string        `json:"error,omitempty"` // why an echo was not sent or not delivered: "message too long, mtu=1450"
}

// ARPRequest asks by ARP probes (RFC 5227, 2.1.1) who has the addresses. They
// are broadcast, whatever the host's neighbour table says.
type ARPRequest struct {
	Interface string        `json:"interface"` // the Docker bridge; within a container its own interface
	Addresses []netip.Addr  `json:"addresses"`
	Wait      time.Duration `json:"wait"`              // how long replies are collected
	Enough    bool          `json:"enough,omitempty"`  // no longer than until there is one for each address
	Spacing   time.Duration `json:"spacing,omitempty"` // between two probes
}

// ARPResult is who answered for one address. A host does not answer itself.
type ARPResult struct {
	Address netip.Addr `json:"address"`
	MACs    []string   `json:"macs"` // distinct, sorted, colon-separated lower case
}

// IperfServerRequest starts an iperf3 server for one test. It ends after
// the test, with the next IperfServerRequest, or with the session.
type IperfServerRequest struct {
	Address netip.Addr `json:"address"` // to listen on
}

// IperfServerResult is given when the server listens.
type IperfServerResult struct {
	Port uint16 `json:"port"`
}

// IperfClientRequest asks for a TCP throughput test against a server.
type IperfClientRequest struct {
	Server   netip.AddrPort `json:"server"`
	Source   netip.Addr     `json:"source"`
	Duration time.Duration  `json:"duration"` // whole seconds, at least 1
}

// IperfClientResult is the outcome of a throughput test.
type IperfClientResult struct {
	BitsPerSecond float64 `json:"bits_per_second"` // as the receiver counted them
	Retransmits   int     `json:"retransmits"`
	Error         string  `json:"error,omitempty"` // as iperf3 put it
}

// ContainerStartRequest asks for a container on Docker's default bridge,
// from an image that holds nothing but the running fabric binary. An
// earlier one of the same fabric is replaced. It ends with
// ContainerStopRequest or with the session.
type ContainerStartRequest struct {
	Fabric string `json:"fabric"`
}

// ContainerStartResult is given when the container runs.
type ContainerStartResult struct {
	Address netip.Addr `json:"address"`
}

// ContainerPingRequest asks for pings from within the container.
type ContainerPingRequest struct {
	Ping PingRequest `json:"ping"`
}

// ContainerARPRequest asks for ARP probes from within the container.
type ContainerARPRequest struct {
	ARP ARPRequest `json:"arp"`
}

// ContainerStopRequest removes the container and its image.
type ContainerStopRequest struct{}
