package verify

import (
	"fmt"

	"github.com/ovsfabric/fabric/host/wire"
)

// mtu checks that packets of exactly the fabric's MTU pass.
func (e *evaluation) mtu() {
	e.errors(CheckMTU)
	carried := e.carried()
	for _, pair := range Matrix(e.exp) {
		result, known := e.full[pair]
		switch {
		case !known:
			e.skip(CheckMTU, pair.From, pair.To, notAsked(pair.From))
		case result.Received > 0:
			e.pass(CheckMTU, pair.From, pair.To)
		case !e.small.ok(pair):
			e.skip(CheckMTU, pair.From, pair.To, "no ping passes at all")
		default:
			e.fault(Fail, CheckMTU, pair.From, pair.To, unanswered(result), e.whyTooLong(pair, result, carried))
		}
	}
}

// whyTooLong says why a packet of the MTU does not pass where short ones
// do, carried being the bytes that do pass, if known.
func (e *evaluation) whyTooLong(pair Pair, result wire.PingResult, carried int) diagnosis {
	if d, shared := e.sharedAddress(pair); shared {
		return d
	}
	if result.Sent == 0 && result.MTU > 0 {
		// The kernel refused it before it left.
		return diagnosis{
			cause: fmt.Sprintf("%s on %s has an MTU of %d instead of %d", e.exp.Bridge, pair.From, result.MTU, e.exp.MTU),
			cure:  "run fabric apply, and find out what sets another MTU if it comes back",
		}
	}
	d := diagnosis{
		cause: fmt.Sprintf("the underlay carries less than the %d bytes that a packet of %d takes with its tunnel", e.exp.MTU+e.exp.Overhead, e.exp.MTU),
		cure: fmt.Sprintf("set underlay.mtu in the fabric's file to what the underlay carries and run fabric apply, or raise the underlay's MTU to %d",
			e.exp.MTU+e.exp.Overhead),
	}
	if carried > 0 {
		d.cause += fmt.Sprintf(": no more than %d pass", carried)
		d.cure = fmt.Sprintf("set underlay.mtu in the fabric's file to %d and run fabric apply, or raise the underlay's MTU to %d",
			carried+e.exp.Overhead, e.exp.MTU+e.exp.Overhead)
	}
	return d
}

// carried gives the largest size, in bytes, that passes everywhere where
// the MTU does not; 0 if it is not known. The fabric has one MTU, so the
// worst path counts.
func (e *evaluation) carried() int {
	least := 0
	take := func(size int) {
		if size > 0 && (least == 0 || size < least) {
			least = size
		}
	}
	for _, size := range e.res.Largest {
		take(size)
	}
	for _, result := range e.full {
		if result.Received == 0 && result.Sent > 0 {
			take(result.MTU)
		}
	}
	return least
}

// oversize checks that packets over the MTU are refused by the sender's own
// kernel. One that gets through or vanishes on the way means that the
// sender believes in another MTU than the fabric has.
func (e *evaluation) oversize() {
	e.errors(CheckOversize)
	for _, pair := range Matrix(e.exp) {
		result, known := e.over[pair]
		switch {
		case !known:
			e.skip(CheckOversize, pair.From, pair.To, notAsked(pair.From))
		case result.Received == 0 && result.MTU > 0:
			e.pass(CheckOversize, pair.From, pair.To)
		case result.Received == 0 && !e.small.ok(pair):
			e.skip(CheckOversize, pair.From, pair.To, "no ping passes at all")
		case result.Received == 0 && result.Error != "":
			e.fault(Fail, CheckOversize, pair.From, pair.To, result.Error, diagnosis{
				cause: "the packet was refused for another reason than its length",
				cure:  fmt.Sprintf("look at the firewall of %s: iptables -S OUTPUT", pair.From),
			})
		default:
			detail := fmt.Sprintf("%d bytes pass", e.exp.MTU+1)
			if result.Received == 0 {
				detail = fmt.Sprintf("%d bytes are sent and vanish", e.exp.MTU+1)
			}
			d, shared := e.sharedAddress(pair)
			if !shared {
				d = diagnosis{
					cause: fmt.Sprintf("%s on %s has an MTU over %d", e.exp.Bridge, pair.From, e.exp.MTU),
					cure:  "run fabric apply, and find out what sets another MTU if it comes back",
				}
			}
			e.fault(Fail, CheckOversize, pair.From, pair.To, detail, d)
		}
	}
}
