package ovsdb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

func TestTheKernelsDatapathIsThereWhereTheKernelHasIt(t *testing.T) {
	have := &snapshot{root: vswitch.OpenvSwitch{DatapathTypes: []string{"system", "netdev"}}}
	if diff := cmp.Diff([]string{"netdev", "system"}, datapathTypes(have, true)); diff != "" {
		t.Errorf("with the module (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"netdev"}, datapathTypes(have, false)); diff != "" {
		t.Errorf("without (-want +got):\n%s", diff)
	}
}

func TestASwitchThatDoesNotRunForWantOfItsModuleSaysSo(t *testing.T) {
	lacks := []plan.Obstacle{{What: "openvswitch is not installed", Cure: "apt-get install it"}}
	if got := notRunning(false, lacks).Cure; !strings.Contains(got, "openvswitch is not installed: apt-get install it") {
		t.Errorf("without its module: %s", got)
	}
	if got := notRunning(true, lacks).Cure; strings.Contains(got, "install") {
		t.Errorf("with its module, without a tunnel's: %s", got)
	}
}
