package lab

import "testing"

func TestLabOwnsOnlyItsOwnNamespaces(t *testing.T) {
	tests := []struct {
		lab, netns string
		want       bool
	}{
		{"three", "lab-three-h1", true},
		{"three", "lab-three-ul", true},
		{"three", "lab-three-hosts-h1", false},
		{"three-hosts", "lab-three-hosts-h1", true},
		{"three", "lab-three-", false},
		{"three", "lab-threeh1", false},
		{"three", "h1", false},
	}
	for _, test := range tests {
		if got := names(test.lab).ownsNetns(test.netns); got != test.want {
			t.Errorf("lab %s owns %s = %v, want %v", test.lab, test.netns, got, test.want)
		}
	}
}

func TestLabNamesThatWouldBreakAPathAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "-a", "a-", "A", "a b", "averylongnameofalabthatnobodywouldevertype"} {
		if validateName(name) == nil {
			t.Errorf("name %q is taken", name)
		}
	}
}
