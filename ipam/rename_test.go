package ipam_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ipam"
)

func TestAssignKeepsRangeOfRenamedHost(t *testing.T) {
	three := assign(t, network, ipam.Lock{}, "h1", "h2", "h3")
	two := assign(t, network, three, "h1", "h3")
	tests := []struct {
		name  string
		lock  ipam.Lock
		hosts []string
		want  []string
	}{
		{"renamed", three, []string{"h1", "paris<h2", "h3"},
			[]string{"h1#1 172.17.0.0/18", "h3#3 172.17.128.0/18", "paris#2 172.17.64.0/18"}},
		{"renamed and pinned where it is", three, []string{"h1", "paris<h2=172.17.64.0/18", "h3"},
			[]string{"h1#1 172.17.0.0/18", "h3#3 172.17.128.0/18", "paris#2 172.17.64.0/18"}},
		{"removed once and back under another name", two, []string{"h1", "paris<h2", "h3"},
			[]string{"h1#1 172.17.0.0/18", "h3#3 172.17.128.0/18", "paris#2 172.17.64.0/18"}},
		{"former name unknown", three, []string{"h1", "h2<h9", "h3"},
			[]string{"h1#1 172.17.0.0/18", "h2#2 172.17.64.0/18", "h3#3 172.17.128.0/18"}},
		{"former name of a host that has its range already", two, []string{"h1", "h3<h2"},
			[]string{"h1#1 172.17.0.0/18", "h3#3 172.17.128.0/18", "-h2#2 172.17.64.0/18"}},
		{"new host with a former name", ipam.Lock{}, []string{"h1", "paris<h2", "h3"},
			[]string{"h1#1 172.17.0.0/18", "h3#2 172.17.64.0/18", "paris#3 172.17.128.0/18"}},
		{"renamed while another host is removed", three, []string{"h0<h3", "h1"},
			[]string{"h0#3 172.17.128.0/18", "h1#1 172.17.0.0/18", "-h2#2 172.17.64.0/18"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lock := assign(t, network, tt.lock, tt.hosts...)
			if diff := cmp.Diff(tt.want, ranges(lock)); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(lock, assign(t, network, lock, tt.hosts...), prefixes); diff != "" {
				t.Errorf("changed where the former name stays in the file (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAssignRefusesRename(t *testing.T) {
	three := assign(t, network, ipam.Lock{}, "h1", "h2", "h3")
	tests := []struct {
		name  string
		lock  ipam.Lock
		hosts []string
		want  string
	}{
		{"of a host that is wanted still", three, []string{"h1", "h2", "h4<h2"}, "host h4 was h2, and there is a host h2 still"},
		{"to two names", three, []string{"h1", "h4<h2", "h5<h2"}, "hosts h4 and h5 both were h2"},
		{"to a name that a removed host has", assign(t, network, three, "h1", "h2"), []string{"h1", "h3<h2"},
			`host h3 was h2, and 172.17.128.0/18 is reserved for a removed host h3: "fabric release h3" frees that`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ipam.Assign(network, tt.lock, hosts(t, tt.hosts...)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v lacks %q", err, tt.want)
			}
		})
	}
}
