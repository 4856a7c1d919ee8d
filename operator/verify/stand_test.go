package verify_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/operator/verify/verifytest"
	"github.com/ovsfabric/fabric/plan"
)

// threesRoot is the root of verifytest.Three.
var threesRoot = wire.BridgeID{MAC: "0a:00:00:00:00:01"}

func stand(t *testing.T, fabric *verifytest.Fabric, footing verify.Footing) []string {
	t.Helper()
	lacking, err := verify.Stand(t.Context(), fabric.Nodes(), footing, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return lacking
}

// waits checks that the count-th look at host is the first one with the
// footing that tree makes of the fabric.
func waits(t *testing.T, footing verify.Footing, host string, count int, tree func(count int, tree *wire.TreeStatus)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		looks := 0
		fabric.Tree = func(asked string, count int, status *wire.TreeStatus) {
			if asked == host {
				looks = count
				tree(count, status)
			}
		}
		if lacking := stand(t, fabric, footing); len(lacking) > 0 || looks != count {
			t.Errorf("after %d looks %q is lacking", looks, lacking)
		}
	})
}

func TestStandWaitsUntilTunnelsAreUp(t *testing.T) {
	footing := verify.Footing{Tunnels: []plan.Tunnel{{Host: "h2", Port: "t-h1"}}}
	waits(t, footing, "h2", 10, func(count int, tree *wire.TreeStatus) {
		if count < 10 {
			tree.Ports[0].BFD = "down"
		}
	})
}

func TestStandWaitsUntilPortsTakePartInTheTree(t *testing.T) {
	footing := verify.Footing{Up: []plan.Tunnel{{Host: "h2", Port: "t-h1"}}}
	waits(t, footing, "h2", 10, func(count int, tree *wire.TreeStatus) {
		switch p := &tree.Ports[0]; {
		case count < 5:
			p.BFD = "init"
		case count < 10:
			p.Role, p.State = "disabled", "disabled"
		default:
			p.Role, p.State = "designated", "discarding"
		}
	})
}

func TestStandWaitsUntilBFDHasHeardOfTheOtherEnd(t *testing.T) {
	footing := verify.Footing{Heard: []plan.Tunnel{{Host: "h2", Port: "t-h1"}}}
	waits(t, footing, "h2", 5, func(count int, tree *wire.TreeStatus) {
		tree.Ports[0].BFD = "init"
		if count < 5 {
			tree.Ports[0].BFD = "down"
		}
	})
}

func TestStandWaitsUntilHostsKnowTheRoot(t *testing.T) {
	footing := verify.Footing{Root: threesRoot, Know: []string{"h1", "h3"}}
	waits(t, footing, "h3", 10, func(count int, tree *wire.TreeStatus) {
		if count < 10 {
			tree.Root = tree.Bridge
		}
	})
}

func TestStandNamesWhatIsLacking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		fabric.Fail = func(host string, _ wire.ProbeRequest) error {
			if host == "h2" {
				return errors.New("ovsdb-server does not answer")
			}
			return nil
		}
		fabric.Tree = func(host string, _ int, tree *wire.TreeStatus) {
			if host == "h3" {
				tree.Root = wire.BridgeID{Priority: 8192, MAC: "0a:00:00:00:00:09"}
				tree.Ports[0].State = "learning"
			}
		}
		footing := verify.Footing{
			Tunnels: []plan.Tunnel{{Host: "h3", Port: "t-h1"}, {Host: "h1", Port: "t-h9"}, {Host: "h9", Port: "t-h1"}},
			Root:    threesRoot, Know: []string{"h1", "h2", "h3"},
		}
		want := []string{
			"h2: ovsdb-server does not answer",
			"h9: it was not asked",
			"h3: port t-h1: it is root, learning",
			"h1: port t-h9: it is gone: somebody else deleted it",
			"h3: its root is 0a:00:00:00:00:09 of priority 8192, not 0a:00:00:00:00:01 of priority 0",
		}
		if diff := cmp.Diff(want, stand(t, fabric, footing)); diff != "" {
			t.Error(diff)
		}
	})
}
