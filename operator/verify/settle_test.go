package verify_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/operator/verify/verifytest"
)

// Three's hosts reach each other through h1, and between h2 and h3 h3 blocks.
func TestSettleWaitsForTheTunnelsThatCarryTraffic(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  func(host string, tree *wire.TreeStatus) // what h1 to h3 see at the first looks
		settled bool
	}{
		{"the way to the root learns", func(host string, tree *wire.TreeStatus) {
			if host == "h3" {
				tree.Ports[0].State = "learning"
			}
		}, false},
		{"the root's end is discarding", func(host string, tree *wire.TreeStatus) {
			if host == "h1" {
				tree.Ports[1].State = "discarding"
			}
		}, false},
		{"another root", func(host string, tree *wire.TreeStatus) {
			if host == "h3" {
				tree.Root = tree.Bridge
			}
		}, false},
		{"both ends of the spare tunnel discard", func(host string, tree *wire.TreeStatus) {
			switch host {
			case "h2":
				tree.Ports[1].State = "discarding"
			case "h3":
				tree.Ports[1].Role = "designated"
			}
		}, true},
		{"the spare tunnel forwards", func(host string, tree *wire.TreeStatus) {
			if host == "h3" {
				tree.Ports[1].Role, tree.Ports[1].State = "designated", "forwarding"
			}
		}, false},
		{"the spare tunnel is down", func(_ string, tree *wire.TreeStatus) { tree.Ports[1].BFD = "down" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fabric := verifytest.New(verifytest.Three())
				looks := 0
				fabric.Tree = func(host string, count int, tree *wire.TreeStatus) {
					looks = max(looks, count)
					if count < 10 {
						c.before(host, tree)
					}
				}
				failed, err := verify.Settle(t.Context(), fabric.Nodes(), fabric.Expected, verify.Options{Settle: time.Minute})
				if err != nil || len(failed) > 0 {
					t.Fatal(failed, err)
				}
				if settled := looks == 1; settled != c.settled || !settled && looks != 10 {
					t.Errorf("settled after %d looks", looks)
				}
			})
		})
	}
}

func TestSettleNamesTheCauseWhereNoFrameToAllPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		for i := range fabric.Expected.Hosts {
			fabric.Expected.Hosts[i].Member, fabric.Expected.Hosts[i].Switch = "br0", "4.0.0"
		}
		fabric.Floods = func(verify.Pair) bool { return false }
		for _, reached := range []bool{true, false} { // whether the hosts know each other's MAC addresses
			fabric.Carries = func(verify.Pair, int) bool { return reached }
			failed, err := verify.Settle(t.Context(), fabric.Nodes(), fabric.Expected, verify.Options{Settle: time.Second})
			if err != nil || len(failed) == 0 {
				t.Fatalf("reached %v: failed %v, error %v", reached, failed, err)
			}
			for _, check := range failed {
				if !strings.Contains(check.Cause, "Open vSwitch 4.0.0 floods nothing to a port that takes no part in the tree") {
					t.Errorf("reached %v: %+v", reached, check)
				}
			}
		}
	})
}
