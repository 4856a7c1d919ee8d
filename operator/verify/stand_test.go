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

func TestStandWaitsUntilTunnelsAreUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		looks := 0
		fabric.Tree = func(_ string, count int, tree *wire.TreeStatus) {
			looks = count
			if count < 10 {
				tree.Ports[0].BFD = "down"
			}
		}
		if lacking := stand(t, fabric, verify.Footing{Tunnels: []verify.Tunnel{{Host: "h2", Port: "t-h1"}}}); len(lacking) > 0 || looks != 10 {
			t.Errorf("after %d looks %q is lacking", looks, lacking)
		}
	})
}

func TestStandWaitsUntilPortsTakePartInTheTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		looks := 0
		fabric.Tree = func(_ string, count int, tree *wire.TreeStatus) {
			looks = count
			switch p := &tree.Ports[0]; {
			case count < 5:
				p.BFD = "init"
			case count < 10:
				p.Role, p.State = "disabled", "disabled"
			default:
				p.Role, p.State = "designated", "discarding"
			}
		}
		if lacking := stand(t, fabric, verify.Footing{Up: []verify.Tunnel{{Host: "h2", Port: "t-h1"}}}); len(lacking) > 0 || looks != 10 {
			t.Errorf("after %d looks %q is lacking", looks, lacking)
		}
	})
}

func TestStandWaitsUntilBFDHasHeardOfTheOtherEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		looks := 0
		fabric.Tree = func(_ string, count int, tree *wire.TreeStatus) {
			looks = count
			tree.Ports[0].BFD = "init"
			if count < 5 {
				tree.Ports[0].BFD = "down"
			}
		}
		if lacking := stand(t, fabric, verify.Footing{Heard: []verify.Tunnel{{Host: "h2", Port: "t-h1"}}}); len(lacking) > 0 || looks != 5 {
			t.Errorf("after %d looks %q is lacking", looks, lacking)
		}
	})
}

func TestStandWaitsUntilHostsKnowTheRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		looks := 0
		fabric.Tree = func(host string, count int, tree *wire.TreeStatus) {
			if host == "h3" {
				looks = count
			}
			if host == "h3" && count < 10 {
				tree.Root = tree.Bridge
			}
		}
		if lacking := stand(t, fabric, verify.Footing{Root: threesRoot, Know: []string{"h1", "h3"}}); len(lacking) > 0 || looks != 10 {
			t.Errorf("after %d looks %q is lacking", looks, lacking)
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
			Tunnels: []verify.Tunnel{{Host: "h3", Port: "t-h1"}, {Host: "h1", Port: "t-h9"}, {Host: "h9", Port: "t-h1"}},
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
