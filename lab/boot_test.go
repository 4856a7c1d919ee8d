package lab

import (
	"net/netip"
	"testing"
)

func TestInitIsPID1OneLevelDown(t *testing.T) {
	tests := []struct {
		name, status string
		want         bool
	}{
		{"init of a host", "Name:\tsystemd\nNSpid:\t4711\t1\n", true},
		{"another process of a host", "NSpid:\t4712\t27\n", false},
		{"init of a container in a host", "NSpid:\t4713\t300\t1\n", false},
		{"the machine's init", "NSpid:\t1\n", false},
		{"nothing known", "", false},
	}
	for _, test := range tests {
		if got := isInit(test.status); got != test.want {
			t.Errorf("%s: isInit = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestStartTimeComesAfterANameWithSpaces(t *testing.T) {
	stat := "42 (a) b (c)) S 1 42 42 0 -1 4194560 5 6 7 8 9 10 11 12 20 0 1 0 987654 1 2"
	if got := startTime(stat); got != "987654" {
		t.Errorf("start time = %q, want 987654", got)
	}
}

func TestMACHoldsTheAddress(t *testing.T) {
	h := Host{Address: netip.MustParseAddr("192.0.2.11")}
	if got, want := macOf(h), "02:00:c0:00:02:0b"; got != want {
		t.Errorf("MAC = %s, want %s", got, want)
	}
}
