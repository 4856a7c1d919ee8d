package lab

import (
	"testing"
)

func TestMirrorIsTheOneOfTheMachinesOwnRelease(t *testing.T) {
	targets := "nodistro main https://vendor.example/node\n" +
		"bookworm-security main http://mirror.example/debian-security/\n" +
		"bookworm contrib http://other.example/debian/\n" +
		"bookworm main http://mirror.example/debian/\n"
	tests := []struct{ codename, want string }{
		{"bookworm", "http://mirror.example/debian/"},
		{"trixie", ""},
	}
	for _, test := range tests {
		if got := mirrorOf(targets, test.codename); got != test.want {
			t.Errorf("mirror of %s = %q, want %q", test.codename, got, test.want)
		}
	}
}

func TestRecipesDifferInTheirHash(t *testing.T) {
	base := recipe{release: "trixie", driver: Nspawn, packages: []string{"a"}}
	changed := map[string]recipe{
		"another package":     {release: "trixie", driver: Nspawn, packages: []string{"a", "b"}},
		"another driver":      {release: "trixie", driver: QEMU, packages: []string{"a"}},
		"another sshd option": {release: "trixie", driver: Nspawn, packages: []string{"a"}, sshdOptions: []string{"x"}},
	}
	want, err := base.hash()
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range changed {
		if got, err := r.hash(); err != nil || got == want {
			t.Errorf("%s: hash = %s (%v), the same as without it", name, got, err)
		}
	}
}
