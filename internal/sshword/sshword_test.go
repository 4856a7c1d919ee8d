package sshword_test

import (
	"testing"

	"github.com/ovsfabric/fabric/internal/sshword"
)

func TestWhatSSHMayBeGiven(t *testing.T) {
	for _, tc := range []struct {
		kind string
		is   func(string) bool
		good []string
		bad  []string
	}{
		{
			"host", sshword.Host,
			[]string{"192.0.2.11", "2001:db8::1", "fe80::1%eth0", "h1", "h_1.example.net", "größe"},
			[]string{"", "-oProxyCommand=x", "ops@h1", "ssh://h1", "h1 h2", "h1\n", "$(id)", "`id`", "h1;id", "h1|id", "'", `"`, `h\1`, "{a,b}"},
		},
		{
			"user", sshword.User,
			[]string{"ops", "ops-1", "o.p_s", `CORP\ops`, "ops@corp.example"},
			[]string{"", "-l", "o ps", "ops\t", "$(id)", "ops;id", "%h", `ops\`, "'ops'"},
		},
		{
			"path", sshword.Path,
			[]string{"~/.ssh/id", "/keys/my key", "../größe", "it's"},
			[]string{"", "-i", "/keys/%h", "/keys/${HOME}", "/keys/a\nb"},
		},
	} {
		for _, s := range tc.good {
			if !tc.is(s) {
				t.Errorf("%q is a %s", s, tc.kind)
			}
		}
		for _, s := range tc.bad {
			if tc.is(s) {
				t.Errorf("%q is no %s", s, tc.kind)
			}
		}
	}
}
