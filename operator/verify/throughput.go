package verify

import (
	"fmt"
)

// stalled is the rate, in bits per second, under which a TCP connection is
// taken to hang: only its first packets and some repeats came through.
const stalled = 100_000

// throughput checks that TCP carries data, where that was asked for.
func (e *evaluation) throughput() {
	e.errors(CheckThroughput)
	for _, test := range e.res.Transfers {
		switch {
		case test.Error == "" && test.BitsPerSecond >= stalled:
			e.pass(CheckThroughput, test.From, test.To)
		case !e.small.ok(test.Pair):
			e.skip(CheckThroughput, test.From, test.To, "no ping passes at all")
		default:
			detail := test.Error
			if detail == "" {
				detail = fmt.Sprintf("TCP hangs: %.0f bit/s", test.BitsPerSecond)
			}
			e.fault(Fail, CheckThroughput, test.From, test.To, detail, e.whyStalled(test.Pair))
		}
	}
}

func (e *evaluation) whyStalled(pair Pair) diagnosis {
	if full, known := e.full[pair]; known && full.Received == 0 {
		return diagnosis{
			cause: "packets of the fabric's MTU do not pass",
			cure:  "see to the mtu check first",
		}
	}
	if e.hosts[pair.From].Userspace || e.hosts[pair.To].Userspace {
		return diagnosis{
			cause: "ping passes and TCP does not: on the userspace datapath, a device leaves checksums to hardware that packets never meet",
			cure:  "switch it off on the devices of the underlay and between it and Open vSwitch, on both hosts: ethtool -K DEV tx off",
		}
	}
	return diagnosis{
		cause: "ping passes and TCP does not: a firewall drops TCP, or a device leaves checksums to hardware that does not know the tunnel",
		cure:  fmt.Sprintf("look at iptables -S INPUT on %s; then try ethtool -K DEV tx off on the underlay's devices", pair.To),
	}
}

func (e *evaluation) rates() []Throughput {
	rates := []Throughput{}
	for _, test := range e.res.Transfers {
		if test.Error == "" {
			rates = append(rates, Throughput{
				From: test.From, To: test.To,
				BitsPerSecond: test.BitsPerSecond, Retransmits: test.Retransmits,
			})
		}
	}
	return rates
}
