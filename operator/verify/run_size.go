package verify

import (
	"context"
	"net/netip"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

// largest finds, for each host whose packets of the MTU are lost on the way
// without a word, the size that still passes to all the targets concerned,
// by bisection on all hosts at once.
func (r *runner) largest(ctx context.Context) error {
	searches := r.searches()
	if len(searches) > 0 {
		r.progress("looking for the size that passes")
	}
	for {
		answers, err := r.each(ctx, func(host Host) *wire.ProbeRequest {
			s := searches[host.Name]
			if s == nil || s.low == s.high {
				return nil
			}
			return &wire.ProbeRequest{Ping: &wire.PingRequest{
				Targets: s.targets, Source: host.Address, Size: s.middle(), DF: true,
				Count: sizeCount, Interval: pingInterval, Timeout: patience.Stretch(ctx, searchTimeout),
			}}
		})
		if err != nil {
			return err
		}
		if len(answers) == 0 {
			break
		}
		for _, a := range answers {
			searches[a.host].take(a)
		}
	}
	r.res.Largest = make(map[string]int)
	for host, s := range searches {
		if !s.failed {
			r.res.Largest[host] = s.low
		}
	}
	return nil
}

// search is a bisection: low passes, everything over high does not.
type search struct {
	targets   []netip.Addr
	low, high int
	failed    bool
}

func (s *search) middle() int { return (s.low + s.high + 1) / 2 }

func (s *search) take(a answer) {
	if a.err != nil {
		s.failed, s.high = true, s.low
		return
	}
	for _, result := range a.result.Ping {
		if result.Received == 0 {
			s.high = s.middle() - 1
			return
		}
	}
	s.low = s.middle()
}

// searches gives the bisections to make, by host.
func (r *runner) searches() map[string]*search {
	answered := make(map[string]map[netip.Addr]bool)
	for host, results := range r.res.Pings.Small {
		answered[host] = make(map[netip.Addr]bool)
		for _, result := range results {
			answered[host][result.Target] = result.Received > 0
		}
	}
	searches := make(map[string]*search)
	for host, results := range r.res.Pings.Full {
		for _, result := range results {
			if result.Received > 0 || result.MTU > 0 || !answered[host][result.Target] || r.exp.MTU <= smallSize {
				continue
			}
			if searches[host] == nil {
				searches[host] = &search{low: smallSize, high: r.exp.MTU - 1}
			}
			searches[host].targets = append(searches[host].targets, result.Target)
		}
	}
	return searches
}
