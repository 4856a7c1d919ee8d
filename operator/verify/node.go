package verify

import (
	"context"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
)

// Node is a session with a host. What one probe starts another uses and
// stops, so all probes of a session go to one process on the host, and what
// is left ends with it. Run makes one probe at a time on each.
type Node interface {
	Probe(context.Context, wire.ProbeRequest) (wire.ProbeResult, error)
}

// Options chooses what Run does beyond pings.
type Options struct {
	Iperf      bool
	Containers bool
	Parallel   int           // hosts at a time; 0: all
	Settle     time.Duration // how long the tree and the pings are given to come right; 0: one try
	Progress   func(string)  // is told what happens now; may be nil
}

// Sizes and times of the probes. A reply comes in well under a millisecond
// on a working fabric; the times only count where something is broken.
const (
	smallSize = 84 // bytes, what ping(8) sends

	pingCount    = 3
	pingInterval = 10 * time.Millisecond
	pingTimeout  = time.Second
	sizeCount    = 2

	// echoRate is how many echoes a second go through the whole fabric, and
	// echoTime how long all of a round take at most: on many hosts the rate is
	// higher.
	echoRate = 1000
	echoTime = 5 * time.Second

	searchTimeout = 300 * time.Millisecond
	arpWait       = 300 * time.Millisecond
	iperfDuration = 2 * time.Second

	// settlePause is between two looks at three hosts or less. At more it is
	// longer: where they are short of time, looks would keep BFD from coming up.
	settlePause        = 100 * time.Millisecond
	longestSettlePause = 3 * time.Second
	leastLooks         = 6 // in the time that there is
	// flapTime is how long full-size packets are given to come through once
	// the tree has settled: a tunnel that was down for a moment, as BFD has
	// it where a host is short of time, must not look like one that carries
	// less.
	flapTime = 3 * time.Second
	// stopTimeout bounds the removal of containers after ctx has ended.
	stopTimeout = 30 * time.Second
)
