package wire

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/plan"
)

func TestWhatAHostSaysIsCleanedButForItsState(t *testing.T) {
	const evil = "\x1b[2J"
	state := plan.HostState{Links: &plan.Links{Name: evil}}
	reply := Reply{
		Progress: "a\n" + evil,
		Error:    &Error{Message: "a\n" + evil},
		Observation: &plan.Observation{
			State:     state,
			Facts:     plan.Facts{DatapathTypes: []string{evil}, Underlay: []plan.Path{{Source: netip.IPv6LinkLocalAllNodes().WithZone(evil), Device: evil}}},
			Obstacles: []plan.Obstacle{{What: evil}},
		},
		Probe: &ProbeResult{Tree: &TreeStatus{Ports: []TreePort{{Name: evil}}}},
	}
	reply.Clean()
	const harmless = `\x1b[2J`
	want := Reply{
		Progress: `a\x0a` + harmless,
		Error:    &Error{Message: "a\n" + harmless},
		Observation: &plan.Observation{
			State:     state,
			Facts:     plan.Facts{DatapathTypes: []string{harmless}, Underlay: []plan.Path{{Source: netip.IPv6LinkLocalAllNodes(), Device: harmless}}},
			Obstacles: []plan.Obstacle{{What: harmless}},
		},
		Probe: &ProbeResult{Tree: &TreeStatus{Ports: []TreePort{{Name: harmless}}}},
	}
	if diff := cmp.Diff(want, reply, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestAReplyHoldsNothingThatIsNotCleaned(t *testing.T) {
	seen := map[reflect.Type]bool{stateType: true}
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		if seen[of] {
			return
		}
		seen[of] = true
		switch of.Kind() {
		case reflect.Map, reflect.Interface, reflect.Array:
			t.Errorf("%s is a %s, which Clean does not look into", path, of)
		case reflect.Pointer, reflect.Slice:
			walk(path, of.Elem())
		case reflect.Struct:
			for i := range of.NumField() {
				if f := of.Field(i); f.IsExported() {
					walk(path+"."+f.Name, f.Type)
				}
			}
		}
	}
	walk("reply", reflect.TypeFor[Reply]())
}
